"""A task of problems read from rows, and the settings such tasks share.

A hash of the problem's text decides the split, as in the embedded testbed. Problems that share a run of words go
together, by the text that comes first in the alphabet, so neither duplicates nor near-duplicates straddle two splits.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from atesd.errors import UserError
from atesd.registry import Config, config_of, names
from atesd.tasks import overlap, records
from atesd.tasks.arithmetic import split_of
from atesd.tasks.overlap import Found, OverlapConfig
from atesd.tasks.problem import Problem, Split, Task
from atesd.tasks.records import Columns
from atesd.tasks.rows import Row, read, read_hub
from atesd.text import cut_after


class Invalid(Enum):
    """What a malformed row leads to."""

    refuse = "refuse"
    skip = "skip"


class Collection(Task):
    """A list of problems; the training stream is a fresh permutation of its split every epoch."""

    def __init__(self, name: str, problems: list[Problem], step_pattern: str, seed: int, n: int) -> None:
        self.name = name
        self.seed = seed
        self.epoch = -1
        self.step_pattern = re.compile(step_pattern)
        self.splits = split(problems, n)
        if empty := [split.value for split, rows in self.splits.items() if not rows]:
            raise UserError(
                f"data={name}: {len(problems)} rows leave the {' and '.join(empty)} split empty; "
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
                f"data={self.name}: {count} {split.value} problems wanted, {len(rows)} in the data; lower "
                "eval.problems, eval.final_problems or reward.probe_problems"
            )
        return rows[:count]

    def steps(self, reference: str) -> list[str]:
        return cut_after(self.step_pattern, reference)

    def listed(self) -> dict[Split, list[Problem]]:
        return self.splits


def split(problems: list[Problem], n: int) -> dict[Split, list[Problem]]:
    """Return the problems of each split; those that share a run of n words stay together."""
    families = overlap.families([problem.text for problem in problems], n)
    names: dict[int, str] = {}
    for family, problem in zip(families, problems, strict=True):
        names[family] = min(names.get(family, problem.text), problem.text)
    places = [split_of(names[family]) for family in families]
    return {split: [p for p, place in zip(problems, places, strict=True) if place is split] for split in Split}


@dataclass
class CollectionConfig(Config):
    """Settings of a task made of rows.

    Attributes:
        path: a JSONL, CSV or parquet file; empty for the hub's data set.
        columns: which fields hold what.
        answer_marker: what the final answer follows in the reference, where ``columns.answer`` is empty.
        step_pattern: a regular expression that matches the end of a step.
        invalid: ``refuse`` a malformed row, the default, or ``skip`` such rows and say how many.
        overlap: the check against evaluation sets.
        hub: name of a data set on the hub.
        subset: its configuration, where it has several.
        train_split: its split to train on.
        test_split: its split that ``atesd.evaluate`` asks.
        revision: its commit, tag or branch.
    """

    path: str = ""
    columns: Columns = field(default_factory=Columns)
    answer_marker: str = ""
    step_pattern: str = r"\n+"
    invalid: Invalid = Invalid.refuse
    overlap: OverlapConfig = field(default_factory=OverlapConfig)
    hub: str = ""
    subset: str = ""
    train_split: str = "train"
    test_split: str = "test"
    revision: str = "main"

    def __post_init__(self) -> None:
        try:
            re.compile(self.step_pattern)
        except re.error as error:
            raise UserError(f"data.step_pattern={self.step_pattern!r} is not a regular expression: {error}") from None
        if self.answer_marker and self.columns.answer:
            raise UserError(
                f"data.answer_marker={self.answer_marker} takes the answer out of the reference, and "
                f"data.columns.answer={self.columns.answer} out of a column of its own; add data.columns.answer= to "
                "the command, or leave the marker out"
            )

    def build(self, seed: int) -> Collection:
        """Return the task to train on.

        Raises:
            UserError: a row is malformed, a reference does not reach its answer, or problems overlap with an evaluation
                set.
        """
        problems = self._supported(self._problems(self.train_split, self._worked))
        task = Collection(self.name, problems, self.step_pattern, seed, self.overlap.n)
        trained = task.splits[Split.training] + task.splits[Split.probe]
        for name in self.overlap.against:
            self._compare(trained, name)
        return task

    def benchmark(self, count: int | None) -> list[Problem]:
        """Return the first ``count`` problems that ``atesd.evaluate`` asks: all rows of the file or of the test split.

        Raises:
            UserError: a row is malformed, or there are fewer than ``count``.
        """
        problems = self._problems(self.test_split, lambda row: records.posed(row, self.columns, self.answer_marker))
        if count is not None and count > len(problems):
            raise UserError(f"problems={count} wanted, but data={self.name} has {len(problems)}; lower problems")
        return problems[:count]

    def clean(self, reference: str) -> str:
        """Return a reference without what is not part of its text; here, all of it."""
        return reference

    def _worked(self, row: Row) -> Problem:
        problem = records.worked(row, self.columns, self.answer_marker)
        return Problem(problem.id, problem.text, self.clean(problem.reference), problem.answer, problem.difficulty)

    def _rows(self, split: str) -> Iterator[Row]:
        if self.path:
            return read(Path(self.path))
        columns = [self.columns.problem, self.columns.answer or self.columns.reference]
        return read_hub(self.hub, self.subset, split, self.revision, columns)

    def _problems(self, split: str, make: Callable[[Row], Problem]) -> list[Problem]:
        problems, refused = [], []
        for row in self._rows(split):
            try:
                problems.append(make(row))
            except UserError as error:
                refused.append(error)
        self._judge(refused, len(problems) + len(refused))
        if not problems:
            raise UserError(f"data.path={self.path or self.hub} is empty; give at least one row")
        return problems

    def _supported(self, problems: list[Problem]) -> list[Problem]:
        """Return the problems whose reference reaches their answer; an answer taken from the reference does."""
        if not self.columns.answer:
            return problems
        wrong = set(records.unsupported(problems))
        errors = [records.unsupported_error(problems[index], self.columns) for index in sorted(wrong)]
        self._judge(errors, len(problems))
        return [problem for index, problem in enumerate(problems) if index not in wrong]

    def _judge(self, refused: list[UserError], rows: int) -> None:
        """Raise the first error, or say how many rows are left out where that is asked for."""
        if refused and self.invalid is Invalid.refuse:
            raise refused[0]
        if refused:
            print(f"data={self.name}: {len(refused)} of {rows} rows skipped, the first: {refused[0]}", file=sys.stderr)

    def _compare(self, trained: list[Problem], name: str) -> None:
        found = overlap.shared(trained, evaluation_set(name), self.overlap.n)
        if not found:
            return
        message = overlap.message(found, self.overlap.n, name)
        if self.overlap.found is Found.refuse:
            raise UserError(f"data={self.name}: {message}; take them out, or go on with data.overlap.found=report")
        print(f"data={self.name}: {message}", file=sys.stderr)


def evaluation_set(name: str) -> list[Problem]:
    """Return the problems of a registered evaluation set, or of a file, whose answers are not asked for.

    Raises:
        UserError: there is neither.
    """
    if name in names("data"):
        problems: list[Problem] = config_of("data", name)(name=name).benchmark(None)
        return problems
    if not Path(name).is_file():
        raise UserError(f"data.overlap.against={name} is neither a file nor one of {', '.join(names('data'))}")
    columns = Columns(answer="problem")
    return [records.posed(row, columns, "") for row in read(Path(name))]
