"""What a run would need, without loading a weight: ``python -m atesd.dry_run preset=opsd_v3 model=qwen3_1_7b``.

Takes the settings of ``atesd.run``. Builds the model from its architecture on the meta device, lets DeepSpeed check its
own settings, and prints memory per device for 1 to 16 devices. Where ``model.path`` is a folder, the first batch of the
data is rendered with its tokenizer and checked, and its lengths are counted; otherwise lengths are assumed. Formulas:
``atesd.training.memory``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import atesd.run  # noqa: F401 (registers every choice)
from atesd.command import command
from atesd.config import RunConfig
from atesd.errors import UserError

if TYPE_CHECKING:
    from atesd.training.memory import Lengths

DEVICES = (1, 2, 4, 8, 16)
# Prompt lengths where no tokenizer is at hand, in tokens. ours
ASSUMED = (256, 2048)


def plan(run: RunConfig) -> list[dict[str, float]]:
    """Check a run's parts against each other and return the memory per device in GiB, a row per number of devices.

    Raises:
        UserError: the model is a surrogate or not at hand, or a prompt does not serve.
    """
    from atesd.models import ModelConfig
    from atesd.training import memory

    if not isinstance(run.model, ModelConfig):
        raise UserError(f"model={run.model.name} has no weights, so it needs no dry run; choose another model")
    model, lengths = memory.shape(run), _lengths(run)
    rows = []
    for devices in (count for count in DEVICES if run.train.batch_size % count == 0):
        check_deepspeed(run, devices)
        needed = memory.count(run, model, devices, lengths)
        parts = {name: getattr(needed, name) for name in ("states", "rollout", "update", "total")}
        rows.append({"devices": devices} | {name: size / memory.GIB for name, size in parts.items()})
    return rows


def check_deepspeed(run: RunConfig, devices: int) -> None:
    """Let DeepSpeed read the settings that ``devices`` processes would give it.

    Raises:
        UserError: DeepSpeed refuses them.
    """
    from deepspeed.runtime.config import DeepSpeedConfig as Reader

    micro_batches = math.ceil(run.train.batch_size // devices / run.train.micro_batch_size)
    settings = run.deepspeed.settings(run.train, micro_batches, run.model.dtype)
    try:
        read = Reader(settings)
    except Exception as error:  # it raises assertions, its own errors and pydantic's
        raise UserError(f"deepspeed={run.deepspeed.name} on {devices} devices: DeepSpeed refuses: {error}") from error
    assert read.zero_optimization_stage == run.deepspeed.stage


def _lengths(run: RunConfig) -> Lengths:
    from atesd.training.memory import Lengths

    longest = run.rollout.max_new_tokens
    return Lengths(*_prompt_lengths(run), longest) if run.model.folder().is_dir() else Lengths(*ASSUMED, longest)


def _prompt_lengths(run: RunConfig) -> tuple[int, int]:
    """Render the first batch of prompts at full exposure and return the longest of student and teacher."""
    from atesd.training import language_model
    from atesd.training.sequences import collate

    words = replace(language_model.words(run.model), room=run.rollout.max_new_tokens)
    task = run.data.build(run.seed)
    problems = [task.training_problem(position) for position in range(run.train.batch_size)]
    student = [words.student_prompt(problem) for problem in problems]
    teacher = [words.teacher_prompt(problem, problem.reference) for problem in problems]
    completions = [words.reference_completion(problem) for problem in problems]
    for prompts in (student, teacher):
        batch = collate(prompts, completions, words.pad_id)
        assert batch.completion_mask_BT.sum(1).tolist() == list(map(len, completions))
        assert batch.mask.sum(1).tolist() == [len(p) + len(c) for p, c in zip(prompts, completions, strict=True)]
    return max(map(len, student)), max(map(len, teacher))


def _print(run: RunConfig, plain: dict[str, Any]) -> None:
    from atesd.run import quiet

    quiet()
    rows = plan(run)
    lengths = _lengths(run)
    source = "rendered" if run.model.folder().is_dir() else "assumed"
    print(f"{run.model.folder()}, {run.model.dtype.value}, ZeRO {run.deepspeed.stage}, GiB per device; tokens of the")
    print(f"longest prompts ({source}) and completion: {lengths.student}, {lengths.teacher}, {lengths.completion}")
    print("| devices | states | rollout | update | total |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['devices']:.0f} | " + " | ".join(f"{row[name]:.1f}" for name in list(row)[1:]) + " |")


def main() -> None:
    """Run the command line."""
    command("config", _print)


if __name__ == "__main__":
    main()
