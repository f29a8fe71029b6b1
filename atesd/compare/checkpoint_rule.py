"""Which state of a run speaks for it: one rule for all runs, and never the best on the evaluation set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from atesd.compare.archive import Finished
from atesd.errors import UserError


@dataclass(frozen=True)
class Outcome:
    """How a run did.

    Attributes:
        update: the student update after which it is judged.
        accuracy: share of evaluation problems answered right.
        right: the verdict on each problem; None for a run that kept none.
        by_difficulty: accuracy per difficulty, on all problems of that evaluation.
    """

    run: Finished
    update: int
    accuracy: float
    right: dict[str, bool] | None
    by_difficulty: dict[str, float]

    @property
    def pair(self) -> tuple[str, int]:
        """Return what the run shares with those it is paired with: task and seed."""
        return self.run.task, self.run.seed

    @property
    def problems(self) -> int:
        """Return how many problems it was judged on."""
        return int(self._row["problems"]) if self.right is None else len(self.right)

    @property
    def _row(self) -> dict[str, Any]:
        return next(row for row in self.run.evaluations[::-1] if row["update"] == self.update)


class CheckpointRule(Enum):
    """When a run is judged: after its ``last`` update, or after the evaluated one with the lowest probe NLL.

    Evaluations during training ask fewer problems than the last, so ``best_probe`` judges every run on the problems
    that all its evaluations share; the probe problems are no evaluation problems.
    """

    last = "last"
    best_probe = "best_probe"

    @property
    def outcome(self) -> Callable[[Finished], Outcome]:
        """Return the rule: a run to its outcome."""
        return {CheckpointRule.last: last, CheckpointRule.best_probe: best_probe}[self]


def last(run: Finished) -> Outcome:
    """Judge a run by its last evaluation, on all final problems."""
    row = run.evaluations[-1]
    return Outcome(run, row["update"], row["mean"], run.verdicts.get(row["update"]), _difficulties(row))


def best_probe(run: Finished) -> Outcome:
    """Judge a run by its evaluated update with the lowest probe NLL, the first of equals.

    Raises:
        UserError: the run kept no verdicts.
    """
    rows = [row for row in run.evaluations if row["update"]] or run.evaluations
    if not run.verdicts:
        raise UserError(
            f"checkpoint_rule=best_probe: {run.folder} kept no verdicts.jsonl (it is of an older version); leave it "
            "out, or use checkpoint_rule=last"
        )
    chosen = min(rows, key=lambda row: run.probe_nll.get(row["update"], 0.0))
    shared = set.intersection(*(set(run.verdicts[row["update"]]) for row in rows))
    right = {problem: correct for problem, correct in run.verdicts[chosen["update"]].items() if problem in shared}
    accuracy = float(np.mean(list(right.values())))
    return Outcome(run, chosen["update"], accuracy, right, _difficulties(chosen))


def _difficulties(row: dict[str, Any]) -> dict[str, float]:
    return {level: found["mean"] for level, found in row["by_difficulty"].items()}
