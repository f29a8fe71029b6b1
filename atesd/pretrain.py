"""Make the embedded base models: ``python -m atesd.pretrain output_dir=… save_at=[…]``.

The testbed's model learns the task from scratch in both forms it will meet: 40 % bare problems, the rest with a random
share of the reference revealed, with extra weight on none and all of it, so that it can use a reference the way a large
model can: with 60 % bare problems the teacher of a middling student was right on 72 % of the problems it was shown the
reference of. Only training problems are used. One run saves a model folder at each update in ``save_at``.

The first digit of each result needs a carry and is learned last. With AdamW alone it stays at chance for a thousand
updates; Muon (Jordan et al., 2024) on the weight matrices learns it within a few hundred. Its rate never falls, so
single states are noisy; what is saved is a running average of the weights.
"""

from __future__ import annotations

import copy
import hashlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from atesd.arguments import dotlist, run_main, settings
from atesd.errors import UserError
from atesd.exposure import reveal
from atesd.losses import token_log_probs
from atesd.tasks.arithmetic import PRETRAINING, Arithmetic
from atesd.tasks.problem import Split
from atesd.training import testbed_model
from atesd.training.evaluation import answer
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import HfRolloutConfig
from atesd.training.sequences import collate, completion_logits


@dataclass
class PretrainConfig:
    """Settings, all ours.

    Attributes:
        output_dir: where ``update_N/`` folders are written; must not exist.
        save_at: updates after which a model is saved, rounded to bf16 and evaluated.
        matrix_learning_rate: of Muon, for the weight matrices.
        learning_rate: of AdamW, for embeddings and norms.
        averaging: share of the old average in each step of the running average of the weights that is saved.
        bare_share: share of examples without a reference.
        end_share: share of the others that show none or all of the reference, half each.
    """

    output_dir: str = "???"
    seed: int = 0
    save_at: list[int] = field(default_factory=lambda: [500])
    batch_size: int = 48
    matrix_learning_rate: float = 0.02
    learning_rate: float = 2e-3
    averaging: float = 0.95
    bare_share: float = 0.4
    end_share: float = 0.7
    evaluation_problems: int = 2000


def exposure_of(rng: np.random.Generator, config: PretrainConfig) -> float | None:
    """Draw how much of the reference an example shows; None is a bare problem."""
    if rng.random() < config.bare_share:
        return None
    if rng.random() < config.end_share:
        return float(rng.integers(2))
    return float(rng.random())


class Pretraining:
    """A model from scratch and its optimizers."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self.task = Arithmetic(config.seed, PRETRAINING)
        self.student = testbed_model.initialise(config.seed)
        self.average = AveragedModel(self.student.model, multi_avg_fn=get_ema_multi_avg_fn(config.averaging))
        named = dict(self.student.model.named_parameters())
        matrices = [weight for name, weight in named.items() if weight.dim() == 2 and "embed" not in name]
        others = [weight for name, weight in named.items() if weight.dim() != 2 or "embed" in name]
        self.optimizers = [
            torch.optim.Muon(matrices, lr=config.matrix_learning_rate, weight_decay=0.01),
            torch.optim.AdamW(others, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.01),
        ]

    def example(self, position: int) -> tuple[list[int], list[int]]:
        """Return prompt and completion at a position of the training stream."""
        problem = self.task.training_problem(position)
        exposure = exposure_of(np.random.default_rng([self.config.seed, position]), self.config)
        completion = self.student.reference_completion(problem)
        if exposure is None:
            return self.student.student_prompt(problem), completion
        shown = reveal(self.task.steps(problem.reference), exposure)
        return self.student.teacher_prompt(problem, shown.text), completion

    def update(self, number: int) -> float:
        """Make update ``number``, from 0, and return its loss."""
        first = number * self.config.batch_size
        rows = [self.example(first + row) for row in range(self.config.batch_size)]
        prompts, completions = ([row[side] for row in rows] for side in (0, 1))
        batch = collate(prompts, completions, self.student.pad_id)
        log_probs_BT = token_log_probs(completion_logits(self.student.model, batch), batch.completion_ids_BT)
        loss = -log_probs_BT[batch.completion_mask_BT.bool()].mean()
        self.student.model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update_parameters(self.student.model)
        return float(loss.detach())

    def save(self, folder: Path) -> None:
        """Save the average in bf16 and print how well what was saved answers, and answers shown the whole reference."""
        rounded = copy.deepcopy(self.average.module).to(torch.bfloat16)
        LanguageModel(rounded, self.student.tokenizer, self.student.style).save(folder)
        saved = LanguageModel(rounded.to(torch.float32), self.student.tokenizer, self.student.style)
        problems = self.task.held_out(Split.evaluation, self.config.evaluation_problems)
        rollout = HfRolloutConfig().build(saved)
        bare, exposed = (
            np.mean(answer(rollout, saved, problems, 256, prompt).correct)
            for prompt in (saved.student_prompt, lambda problem: saved.teacher_prompt(problem, problem.reference))
        )
        checksum = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        print(
            f"{folder}: accuracy {bare:.4f}, with the reference {exposed:.4f}, model.safetensors sha256 {checksum}",
            flush=True,
        )


def pretrain(config: PretrainConfig) -> None:
    """Train from scratch and save a model folder at every update of ``save_at``."""
    folder = Path(config.output_dir)
    if folder.exists():
        raise UserError(f"output_dir={folder} exists; choose another or remove it")
    pretraining = Pretraining(config)
    for number in range(1, max(config.save_at) + 1):
        loss = pretraining.update(number - 1)
        if number % 50 == 0:
            print(f"update {number}: loss {loss:.4f}", flush=True)
        if number in config.save_at:
            pretraining.save(folder / f"update_{number}")


def main() -> None:
    """Read ``key=value`` settings from the command line."""
    pretrain(settings(PretrainConfig, dotlist(sys.argv[1:])))


if __name__ == "__main__":
    run_main(main)
