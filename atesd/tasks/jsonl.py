"""Problems from a JSON Lines file: one object per line with a problem, its worked reference and its final answer.

A hash of the problem's text decides the split, as in the embedded testbed, so duplicates of a problem never straddle
two splits. Every malformed row stops the run with its file, row, field and reason; no row is skipped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from atesd.errors import UserError
from atesd.registry import Config, register
from atesd.tasks.arithmetic import split_of
from atesd.tasks.problem import Problem, Split, Task
from atesd.text import cut_after
from atesd.verify import last_boxed

# JSON can spell a lone surrogate, which no text file can hold.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass
class Columns:
    """Which fields of a row hold what. An empty ``answer`` takes the last ``\\boxed{}`` of the reference."""

    problem: str = "problem"
    reference: str = "reference"
    answer: str = "answer"


def read_problems(path: Path, columns: Columns) -> list[Problem]:
    """Read every row of a file.

    Raises:
        UserError: the file is missing or empty, or a row is malformed; names file, row, field and reason.
    """
    if not path.is_file():
        raise UserError(f"data.path={path} is not a file; give a JSONL file with the fields of data.columns")
    with path.open("rb") as lines:
        problems = [_problem(path, row, line, columns) for row, line in enumerate(lines, start=1)]
    if not problems:
        raise UserError(f"data.path={path} is empty; it needs at least one row in each of its three splits")
    return problems


def _fields(path: Path, row: int, line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{path} row {row}: not UTF-8 ({error}); save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:  # no object, a number too long, or nested too deep
        raise UserError(f"{path} row {row}: not JSON ({error}); write one object per line") from None
    if not isinstance(fields, dict):
        raise UserError(f"{path} row {row}: a {type(fields).__name__}, not an object; write one object per line")
    return fields


def _problem(path: Path, row: int, line: bytes, columns: Columns) -> Problem:
    fields = _fields(path, row, line)

    def text(column: str) -> str:
        value = fields.get(column)
        if isinstance(value, str) and value.strip() and not _HALF_CHARACTER.search(value):
            return value
        if column not in fields:
            reason = "missing"
        elif isinstance(value, str) and value.strip():
            reason = f"{value!r} holds half a character, so it is not text"
        else:
            reason = f"{value!r}, not a non-empty string"
        raise UserError(f"{path} row {row} field {column!r}: {reason}; mend the row or set data.columns")

    reference = text(columns.reference)
    answer = text(columns.answer) if columns.answer else last_boxed(reference)
    if answer is None or not answer.strip():
        raise UserError(
            f"{path} row {row} field {columns.reference!r}: no \\boxed{{}} answer; name data.columns.answer"
        )
    steps = len([piece for piece in reference.splitlines() if piece.strip()])
    return Problem(f"{path.name}:{row}", text(columns.problem), reference, answer, steps)


class Jsonl(Task):
    """Rows of a file; the training stream is a fresh permutation of its split every epoch."""

    def __init__(self, problems: list[Problem], step_pattern: str, seed: int) -> None:
        self.seed = seed
        self.epoch = -1
        try:
            self.step_pattern = re.compile(step_pattern)
        except re.error as error:
            raise UserError(f"data.step_pattern={step_pattern!r} is not a regular expression: {error}") from None
        self.splits = {split: [p for p in problems if split_of(p.text) is split] for split in Split}
        if empty := [split.value for split, rows in self.splits.items() if not rows]:
            raise UserError(
                f"data=jsonl: {len(problems)} rows leave the {' and '.join(empty)} split empty; "
                "a hash of the text puts about 80/5/15 % in training/probe/evaluation, so give more rows"
            )

    def training_problem(self, position: int) -> Problem:
        rows = self.splits[Split.training]
        epoch, offset = divmod(position, len(rows))
        return rows[int(self._order(epoch)[offset])]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.splits[Split.training]))
        return self.order

    def held_out(self, split: Split, count: int) -> list[Problem]:
        rows = self.splits[split]
        if count > len(rows):
            raise UserError(
                f"data=jsonl: {count} {split.value} problems wanted, {len(rows)} in the file; lower eval.problems, "
                "eval.final_problems or reward.probe_problems"
            )
        return rows[:count]

    def steps(self, reference: str) -> list[str]:
        return cut_after(self.step_pattern, reference)


@register("data", "jsonl")
@dataclass
class JsonlConfig(Config):
    """Settings of a JSONL task; ``step_pattern`` is a regular expression that matches the end of a step."""

    path: str = "???"
    columns: Columns = field(default_factory=Columns)
    step_pattern: str = r"\n"

    def build(self, seed: int) -> Jsonl:
        return Jsonl(read_problems(Path(self.path), self.columns), self.step_pattern, seed)
