"""A recorded run as a report reads it: every row of it, or an error that names what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atesd.arguments import nested
from atesd.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class RecordedRun:
    """The files of one run.

    Attributes:
        complete: whether the run is; one that is not still goes, or was stopped.
        settings: ``config.yaml``, as text.
        config: the same, nested.
        metrics: row i is student update i + 1.
    """

    folder: Path
    complete: bool
    settings: str
    config: Row
    summary: Row
    metrics: list[Row]
    decisions: list[Row]
    evaluations: list[Row]
    rollouts: list[Row]

    @property
    def method(self) -> str:
        """Return the name of the baseline or controller."""
        return str((self.config["baseline"] or self.config["controller"])["name"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def updates(self) -> list[int]:
        """Return the numbers of the student updates that metrics hold."""
        return [row["update"] for row in self.metrics]

    @property
    def groups(self) -> list[int]:
        """Return the difficulty groups that decisions were made for; one where nothing says otherwise."""
        return sorted({int(row.get("group", 0)) for row in self.decisions}) or [0]

    def has(self, key: str) -> bool:
        """Return whether every update measured this."""
        return bool(self.metrics) and all(row.get(key) is not None for row in self.metrics)

    def column(self, key: str) -> list[float | None]:
        """Return a metric per update; None where it was not measured or is not finite."""
        return [number(row.get(key)) for row in self.metrics]

    def mean(self, key: str) -> float | None:
        """Return a metric's mean over the updates that measured it; None where none did."""
        known = [value for value in self.column(key) if value is not None]
        return sum(known) / len(known) if known else None

    def seconds(self) -> dict[str, float]:
        """Return the seconds of every phase, the total left out; of a run that is not complete, up to its last row."""
        if self.complete:
            return {name: spent for name, spent in self.summary["seconds"].items() if name != "total"}
        names = dict.fromkeys(key for row in self.metrics for key in row if key.startswith("time/"))
        return {
            name.removeprefix("time/").removesuffix("_seconds"): sum(row.get(name, 0.0) for row in self.metrics)
            for name in names
        }


def number(value: Any) -> float | None:
    """Return a logged number; logs spell out those that are not finite, which no axis can show.

    >>> number(0.5), number("inf"), number(None)
    (0.5, None, None)
    """
    return float(value) if value is not None and math.isfinite(float(value)) else None


def read(folder: Path) -> RecordedRun:
    """Return the run in a folder.

    Raises:
        UserError: there is none, it has not been evaluated yet, or a file is missing, cut off or damaged.
    """
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} holds no run: there is no config.yaml; give the folder of one run")
    summary = _summary(folder / "summary.json")
    settings = (folder / "config.yaml").read_text()
    config = nested(settings)
    logs = {name: _rows(folder / f"{name}.jsonl") for name in ("metrics", "decisions", "evaluations", "rollouts")}
    run = RecordedRun(folder, bool(summary.get("complete")), settings, config, summary, **logs)
    _check(run)
    return run


def _summary(path: Path) -> Row:
    if not path.is_file():
        raise UserError(f"{path} is missing, so nobody knows whether the run is complete; run it again")
    try:
        summary: Row = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); put it back or run it again") from error
    return summary


def _rows(path: Path) -> list[Row]:
    """Return the rows of a log; a run that made no such rows has none."""
    lines = path.read_text().split("\n") if path.is_file() else [""]
    if lines.pop():
        raise UserError(
            f"{path} is cut off: row {len(lines) + 1} has no end; put it back, or wait if the run still goes"
        )
    return [_row(path, row, line) for row, line in enumerate(lines, 1)]


def _row(path: Path, row: int, line: str) -> Row:
    try:
        found: Row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged in row {row} ({error}); put it back or run it again") from error
    return found


def _check(run: RecordedRun) -> None:
    """Raise ``UserError`` unless the logs hold what the run says it did."""
    if not run.evaluations:
        raise UserError(f"{run.folder} has not evaluated its base model yet; wait for its first evaluation")
    if run.updates != list(range(1, len(run.metrics) + 1)):
        raise UserError(f"{run.folder}/metrics.jsonl skips or repeats a student update; put it back or run it again")
    if not run.complete:
        return
    updates = run.summary["updates"]
    windows = math.ceil(updates / run.config["env"]["hold_window"]) * len(run.groups)
    _holds(run, "metrics.jsonl", len(run.metrics), f"{updates} student updates", updates)
    _holds(run, "decisions.jsonl", len(run.decisions), f"{windows} decisions", windows)
    last = run.evaluations[-1]["update"]
    _holds(run, "evaluations.jsonl", last, f"the evaluation after update {updates}", updates)


def _holds(run: RecordedRun, log: str, found: int, what: str, expected: int) -> None:
    if found != expected:
        raise UserError(
            f"{run.folder}/{log} does not hold {what} but ends at {found}, though summary.json says the run is "
            "complete; put it back or run it again"
        )


def common_metrics(runs: Iterable[RecordedRun]) -> list[str]:
    """Return the metrics that every run measured at some update, in the first one's order."""
    measured = [dict.fromkeys(key for row in run.metrics for key in row if key != "update") for run in runs]
    return [key for key in measured[0] if all(key in others for others in measured)]
