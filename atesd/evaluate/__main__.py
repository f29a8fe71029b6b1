"""Ask a model a benchmark, n samples per problem: ``python -m atesd.evaluate model=… data=aime24 output_dir=…``.

Leaves ``samples.jsonl`` (every completion with its grade, appended as it is made), ``evaluation.json`` (Average@n,
unbiased pass@k, majority@n, intervals, and a row per problem) and ``problems.csv``. The same command started again goes
on where it was stopped, and gives the same numbers.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore

import atesd.models
import atesd.tasks
import atesd.training.rollout
from atesd.arguments import dotted
from atesd.command import command
from atesd.errors import UserError
from atesd.evaluate import samples, scores
from atesd.evaluate.samples import Sample, SampleFile, Wanted
from atesd.logbook import provenance
from atesd.tasks.problem import Problem

if TYPE_CHECKING:
    from atesd.training.language_model import LanguageModel
    from atesd.training.rollout import Rollout


@dataclass
class EvaluationConfig:
    """Everything ``python -m atesd.evaluate`` takes.

    Attributes:
        seed: of the samples; 0 is a seed.
        samples: n, samples per problem; 12 is the paper's.
        problems: ask the first so many only; null asks all.
        batch_size: samples generated at once.
        threads: CPU threads; 0 leaves torch's own choice.
        output_dir: where the evaluation is written.
        rollout: how samples are drawn; ``max_new_tokens`` is shortened where the model's context is.
    """

    seed: int = 0
    samples: int = 12
    problems: int | None = None
    batch_size: int = 32
    threads: int = 1
    output_dir: str = "???"
    model: Any = "???"
    data: Any = "???"
    rollout: Any = "???"

    def __post_init__(self) -> None:
        for key, least in (("seed", 0), ("samples", 1), ("batch_size", 1), ("threads", 0)):
            if getattr(self, key) < least:
                raise UserError(f"{key} must be at least {least}, got {getattr(self, key)}")
        if self.problems is not None and self.problems < 1:
            raise UserError(f"problems must be at least 1, or null for all, got {self.problems}")


class Evaluation:
    """One model, one list of problems, and the samples there are so far."""

    def __init__(self, config: EvaluationConfig, language: LanguageModel, problems: list[Problem]) -> None:
        self.config = config
        self.language = language
        self.problems = problems
        self.prompts = [language.evaluation_prompt(problem) for problem in problems]
        self.rollout = self._rollout()
        self.file = SampleFile(Path(config.output_dir) / "samples.jsonl")
        self.drawn = self.file.read()

    def _rollout(self) -> Rollout:
        """Return the sampler, its completions no longer than the context leaves after the longest prompt."""
        asked = self.config.rollout.max_new_tokens
        longest = max(range(len(self.prompts)), key=lambda index: len(self.prompts[index]))
        room = self.language.context - len(self.prompts[longest])
        if room < 1:
            raise UserError(
                f"problem {self.problems[longest].id}: its prompt fills the model's context of {self.language.context} "
                "tokens; leave the problem out or take another model"
            )
        if room < asked:
            print(f"completions end after {room} tokens, not {asked}: the model's context is {self.language.context}")
        rollout: Rollout = dataclasses.replace(self.config.rollout, max_new_tokens=min(asked, room)).build(
            self.language
        )
        return rollout

    def play(self) -> None:
        """Draw, grade and write the samples that are missing, batch by batch."""
        from rich.console import Console
        from rich.progress import track

        batches = samples.plan(self.prompts, self.config.samples, self.config.batch_size)
        missing = [batch for batch in batches if not all(map(self._has, batch))]
        console = Console(stderr=True)
        for batch in track(missing, "sampling", console=console, disable=not sys.stderr.isatty()):
            # The whole batch, although a kill may have left some of it: its rounding is part of the numbers.
            made = [sample for wanted, sample in zip(batch, self._draw(batch), strict=True) if not self._has(wanted)]
            self.file.append(made)
            self.drawn |= {(sample.problem, sample.sample): sample for sample in made}

    def _has(self, wanted: Wanted) -> bool:
        return (self.problems[wanted.index].id, wanted.sample) in self.drawn

    def _draw(self, batch: list[Wanted]) -> list[Sample]:
        problems = [self.problems[wanted.index] for wanted in batch]
        keys = [samples.key(self.config.seed, p, wanted.sample) for p, wanted in zip(problems, batch, strict=True)]
        completions = self.rollout.generate([self.prompts[wanted.index] for wanted in batch], keys)
        texts = list(map(self.language.decode, completions))
        grades = self.language.style.grade(problems, texts)
        return [
            Sample(
                problem=problem.id,
                sample=wanted.sample,
                grade=grade.value,
                answer=self.language.style.final_answer(text),
                tokens=len(ids),
                finished=ids[-1] == self.language.eos_id,
                text=text,
            )
            for problem, wanted, grade, ids, text in zip(problems, batch, grades, completions, texts, strict=True)
        ]

    def summary(self) -> dict[str, Any]:
        """Return the scores of all samples."""
        compare = self.language.style.compare
        groups = [[self.drawn[p.id, n] for n in range(self.config.samples)] for p in self.problems]
        rows = [scores.problem_row(p, group, compare) for p, group in zip(self.problems, groups, strict=True)]
        return scores.summary(rows, [[sample.right for sample in group] for group in groups])


def evaluate(config: EvaluationConfig, settings: dict[str, Any]) -> None:
    """Evaluate, or go on evaluating, and write the results."""
    if not isinstance(config.model, atesd.models.ModelConfig):
        raise UserError(f"model={config.model.name} answers no problems; name a language model, such as model=tiny")
    problems = config.data.benchmark(config.problems)
    import torch

    from atesd.training import language_model, weights

    if config.threads:
        torch.set_num_threads(config.threads)
    language = language_model.load(config.model)
    language.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    folder = Path(config.output_dir)
    begin(folder, settings, weights.fingerprint(language.model), problems)
    evaluation = Evaluation(config, language, problems)
    evaluation.play()
    found = evaluation.summary()
    write(folder, found | provenance())
    low, high = found["intervals"]["average_at_n"]["problems"]
    average = f"Average@{found['n']} {found['average_at_n']:.4f} [{low:.4f}, {high:.4f}]"
    print(f"{folder}: {average} on {len(problems)} problems")


def begin(folder: Path, settings: dict[str, Any], model: str, problems: list[Problem]) -> None:
    """Make the folder of a new evaluation, or check that it holds this one.

    Raises:
        UserError: the folder holds something else; names every difference.
    """
    asked = [[problem.id, problem.text, problem.answer] for problem in problems]
    content = f"{zlib.crc32(json.dumps(asked).encode()):08x}"
    inputs = {**dotted(settings), "model weights": model, "problems' content": content}
    inputs.pop("output_dir")
    stored = folder / "inputs.json"
    if stored.is_file():
        old = json.loads(stored.read_text())
        changed = [key for key in sorted(old | inputs) if old.get(key) != inputs.get(key)]
        if changed:
            differences = ", ".join(f"{key} was {old.get(key)} and is {inputs.get(key)}" for key in changed)
            raise UserError(f"output_dir={folder} holds another evaluation: {differences}; choose another folder")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"output_dir={folder} exists and holds no evaluation; choose another")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        replace(stored, json.dumps(inputs, indent=2) + "\n")


def write(folder: Path, found: dict[str, Any]) -> None:
    """Write the results, each file whole or not at all."""
    replace(folder / "evaluation.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    with (folder / "problems.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(found["problems"][0]))
        table.writeheader()
        table.writerows(found["problems"])


def replace(path: Path, text: str) -> None:
    """Write a file such that a kill leaves the old one or the new one."""
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


ConfigStore.instance().store(name="evaluation", node=EvaluationConfig)
REGISTERED = (atesd.models, atesd.tasks, atesd.training.rollout)


def main() -> None:
    """Run the command line."""
    command("evaluate", evaluate)


if __name__ == "__main__":
    main()
