"""The samples of an evaluation: which there are to draw, in which batches, and the file they are appended to.

A sample's randomness is a function of (seed, problem, sample), and its batch of the plan, so an evaluation that was
killed goes on with the numbers it would have had.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from atesd.errors import UserError
from atesd.tasks.problem import Problem
from atesd.verify import Grade


@dataclass(frozen=True)
class Sample:
    """One completion of one problem: ``finished`` where it ended by itself, not at the limit of tokens."""

    problem: str
    sample: int
    grade: str
    answer: str | None
    tokens: int
    finished: bool
    text: str

    @property
    def right(self) -> bool:
        return self.grade == Grade.right.value


@dataclass(frozen=True)
class Wanted:
    """A sample to draw: the problem's place in the list, and the sample's number."""

    index: int
    sample: int


def plan(prompts: Sequence[Sequence[int]], samples: int, batch_size: int) -> list[list[Wanted]]:
    """Return the batches of an evaluation; prompts of like length share one, so that little of it is padding.

    >>> [[(wanted.index, wanted.sample) for wanted in batch] for batch in plan([[1, 2], [1]], 2, 3)]
    [[(1, 0), (1, 1), (0, 0)], [(0, 1)]]
    """
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    wanted = [Wanted(index, sample) for index in order for sample in range(samples)]
    return [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]


def key(seed: int, problem: Problem, sample: int) -> tuple[int, int, int, int]:
    """Return all the randomness of a sample, as ``atesd.training.rollout.SampleKey``; an evaluation has no update."""
    return (seed, 0, zlib.crc32(problem.id.encode()), sample)


class SampleFile:
    """``samples.jsonl``: one line per sample, written whole batches at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[tuple[str, int], Sample]:
        """Return the samples by problem and number; a last line that a kill cut short is taken off the file.

        Raises:
            UserError: a line is no sample, or one is there twice.
        """
        if not self.path.exists():
            return {}
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        found: dict[tuple[str, int], Sample] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                sample = Sample(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{self.path} line {number} is no sample ({error}); start in a new output_dir"
                ) from None
            if (sample.problem, sample.sample) in found:
                raise UserError(
                    f"{self.path} line {number} repeats sample {sample.sample} of {sample.problem}; "
                    "start in a new output_dir"
                )
            found[sample.problem, sample.sample] = sample
        return found

    def append(self, samples: Sequence[Sample]) -> None:
        """Append samples and wait until the disk has them."""
        with self.path.open("a") as file:
            file.write("".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
            file.flush()
            os.fsync(file.fileno())
