"""Make the embedded base models: ``python -m atesd.pretrain output_dir=… save_at=[…]``.

The testbed's model learns the task from scratch in both forms it will meet: 60 % bare problems, the rest with a random
share of the reference revealed, with extra weight on none and all of it, so that it can use a reference the way a large
model can. Only training problems are used. One run saves a model folder at each update in ``save_at``.

The first digit of each result, which needs a carry, is learned last: weighed like every other token it stays at chance
for a thousand updates, so it weighs more.
"""

from __future__ import annotations

import copy
import hashlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from atesd.errors import UserError


@dataclass
class PretrainConfig:
    """Settings, all ours.

    Attributes:
        output_dir: where ``update_N/`` folders are written; must not exist.
        save_at: updates after which a model is saved, rounded to bf16 and evaluated.
        bare_share: share of examples without a reference.
        end_share: share of the others that show none or all of the reference, half each.
        result_weight: weight in the loss of the token after each ``=``; of the others, 1.
    """

    output_dir: str = "???"
    seed: int = 0
    save_at: list[int] = field(default_factory=lambda: [500, 750, 1000])
    batch_size: int = 48
    learning_rate: float = 1e-3
    second_moment_decay: float = 0.99
    warmup: int = 20
    bare_share: float = 0.6
    end_share: float = 0.5
    result_weight: float = 9.0
    evaluation_problems: int = 2000


def exposure_of(rng: np.random.Generator, config: PretrainConfig) -> float | None:
    """Draw how much of the reference an example shows; None is a bare problem."""
    if rng.random() < config.bare_share:
        return None
    if rng.random() < config.end_share:
        return float(rng.integers(2))
    return float(rng.random())


def pretrain(config: PretrainConfig) -> None:
    """Train from scratch and save a model folder at every update of ``save_at``."""
    import torch

    from atesd.exposure import reveal
    from atesd.losses import token_log_probs
    from atesd.tasks.arithmetic import Arithmetic
    from atesd.tasks.problem import Split
    from atesd.training import testbed_model
    from atesd.training.evaluation import answer
    from atesd.training.language_model import LanguageModel
    from atesd.training.rollout import HfRolloutConfig
    from atesd.training.sequences import collate, completion_logits

    folder = Path(config.output_dir)
    if folder.exists():
        raise UserError(f"output_dir={folder} exists; choose another or remove it")
    task = Arithmetic(config.seed)
    student = testbed_model.initialise(config.seed)
    optimizer = torch.optim.AdamW(
        student.model.parameters(), lr=config.learning_rate, betas=(0.9, config.second_moment_decay)
    )
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: min(1.0, (update + 1) / config.warmup))
    [equals] = student.encode("=", "vocabulary")

    def example(position: int) -> tuple[list[int], list[int]]:
        problem = task.training_problem(position)
        exposure = exposure_of(np.random.default_rng([config.seed, position]), config)
        if exposure is None:
            prompt = student.student_prompt(problem)
        else:
            prompt = student.teacher_prompt(problem, reveal(task.steps(problem.reference), exposure).text)
        return prompt, student.reference_completion(problem)

    def update(number: int) -> float:
        rows = [example(number * config.batch_size + row) for row in range(config.batch_size)]
        batch = collate([prompt for prompt, _ in rows], [completion for _, completion in rows], student.pad_id)
        ids_BT = batch.completion_ids_BT
        losses_BT = -token_log_probs(completion_logits(student.model, batch), ids_BT)
        follows_equals_BT = torch.nn.functional.pad(ids_BT == equals, (1, 0))[:, :-1]
        weights_BT = (1 + (config.result_weight - 1) * follows_equals_BT) * batch.completion_mask_BT
        loss = (losses_BT * weights_BT).sum() / weights_BT.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
        optimizer.step()
        warmup.step()
        return float(loss.detach())

    def save(number: int) -> None:
        target = folder / f"update_{number}"
        rounded = LanguageModel(copy.deepcopy(student.model).to(torch.bfloat16), student.tokenizer, student.style)
        rounded.save(target)
        saved = LanguageModel(rounded.model.to(torch.float32), student.tokenizer, student.style)
        problems = task.held_out(Split.evaluation, config.evaluation_problems)
        verdicts = answer(HfRolloutConfig().build(saved), saved, problems, batch_size=250)
        checksum = hashlib.sha256((target / "model.safetensors").read_bytes()).hexdigest()
        print(f"{target}: accuracy {np.mean(verdicts.correct):.4f}, model.safetensors sha256 {checksum}", flush=True)

    for number in range(max(config.save_at)):
        loss = update(number)
        if (number + 1) % 50 == 0:
            print(f"update {number + 1}: loss {loss:.4f}", flush=True)
        if number + 1 in config.save_at:
            save(number + 1)


def main() -> None:
    settings = OmegaConf.merge(OmegaConf.structured(PretrainConfig), OmegaConf.from_cli())
    config = OmegaConf.to_object(settings)
    assert isinstance(config, PretrainConfig)
    pretrain(config)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
