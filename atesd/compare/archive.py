"""The complete runs below folders; those that cannot be compared are named and left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from atesd.arguments import dotted
from atesd.budget import Budget
from atesd.compare.labels import label_all
from atesd.recorded_run import RecordedRun, Row, Unusable, read, read_summary, run_folders


@dataclass(frozen=True)
class Finished:
    """A complete run.

    Attributes:
        name: the settings' short name for the method (``atesd.compare.labels``).
        config: dotted settings.
    """

    recorded: RecordedRun
    name: str
    config: dict[str, Any]

    @property
    def folder(self) -> str:
        return str(self.recorded.folder)

    @property
    def seed(self) -> int:
        return int(self.recorded.summary["seed"])

    @property
    def commit(self) -> str:
        return str(self.recorded.summary["commit"])

    @property
    def evaluations(self) -> list[Row]:
        """Return the rows of ``evaluations.jsonl``."""
        return self.recorded.evaluations

    @cached_property
    def probe_nll(self) -> dict[int, float]:
        """Return the probe's NLL after each student update, in nats per token."""
        return {row["update"]: row["probe/nll_nats_per_token"] for row in self.recorded.metrics}

    @cached_property
    def verdicts(self) -> dict[int, dict[str, bool]]:
        """Return after which update which problem was answered right; empty for a run that did not say."""
        return {row["update"]: _answers(row) for row in self.recorded.verdicts}

    @cached_property
    def spent(self) -> dict[Budget, float | None]:
        """Return what it spent of every budget; None where it did not count."""
        return {budget: self.recorded.summary.get(budget.value) for budget in Budget} | {
            Budget.updates: self.recorded.summary["updates"]
        }

    @property
    def trained(self) -> bool:
        """Return whether the student was updated at all; otherwise the run is its base model."""
        return bool(self.spent[Budget.updates])

    @property
    def task(self) -> str:
        """Return the settings of its problems, as text."""
        chosen = {key.removeprefix("data."): value for key, value in self.config.items() if key.startswith("data.")}
        name = chosen.pop("name", "?")
        return " ".join([str(name), *(f"{key}={value}" for key, value in sorted(chosen.items()))])


def collect(paths: Sequence[Path]) -> tuple[list[Finished], list[dict[str, str]]]:
    """Return the complete runs in these folders, each once, and a row with folder and reason for every other one.

    Raises:
        UserError: a path holds no run at all.
    """
    found, excluded = [], []
    for folder in run_folders(paths):
        try:
            found.append(read_complete(folder))
        except Unusable as why:
            excluded.append({"run": str(folder), "reason": why.reason})
    configs = [dotted(run.config) for run in found]
    names = label_all([(run.summary["method"], config) for run, config in zip(found, configs, strict=True)])
    return list(map(Finished, found, names, configs)), excluded


def read_complete(folder: Path) -> RecordedRun:
    """Return the complete run in a folder.

    Raises:
        Unusable: it is not complete, or its files are damaged.
    """
    if not read_summary(folder).get("complete"):  # asked first: the logs of a run that still goes may end anywhere
        raise Unusable(folder, "still going, or stopped: summary.json says it is not complete")
    return read(folder)


def _answers(row: dict[str, Any]) -> dict[str, bool]:
    return dict.fromkeys(row["right"], True) | dict.fromkeys(row["wrong"], False)
