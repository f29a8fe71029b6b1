"""A run as its folder recorded it: every row of every log, or an error that names what is wrong."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from atesd.arguments import nested
from atesd.errors import UserError
from atesd.statistics import Values

Row = dict[str, Any]
RUN_FILES = ("config.yaml", "summary.json", "metrics.jsonl")
LOGS = ("metrics", "decisions", "evaluations", "verdicts", "rollouts")
# What pages and comparisons read of config.yaml, and of the summary of a complete run.
SECTIONS = ("baseline", "controller", "data", "env", "model", "seed")
ENTRIES = ("commit", "method", "seconds", "seed", "updates")


class Unusable(UserError):
    """A run that cannot be read, or not be used.

    Attributes:
        reason: what is wrong, without the folder and the next step.
    """

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder}: {reason}; put it back, run it again, or give another folder")
        self.reason = reason


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
    verdicts: list[Row]
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

    @cached_property
    def columns(self) -> dict[str, Values]:
        """Return every metric per update; nan where it was not measured or is not finite."""
        keys = dict.fromkeys(key for row in self.metrics for key in row if key != "update")
        # nan and infinities are logged as text, which becomes a number here
        columns = {key: np.array([row.get(key) for row in self.metrics], np.float64) for key in keys}
        return {key: np.where(np.isfinite(values), values, np.nan) for key, values in columns.items()}

    def column(self, key: str) -> list[float | None]:
        """Return a metric per update as figures take it; None where it was not measured or is not finite."""
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


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the runs that paths are or hold, each once; those below one path sorted.

    Raises:
        UserError: a path holds none.
    """
    found = {folder.resolve(): folder for path in paths for folder in _expand(path)}
    return list(found.values())


def _expand(path: Path) -> list[Path]:
    found = sorted(Path(folder) for folder in _below(path))
    if not found:
        raise UserError(f"{path} holds no run (no {', '.join(RUN_FILES)} in it or below); give folders of runs")
    return found


def _below(path: Path) -> Iterator[str]:
    seen = set()
    for folder, inner, files in os.walk(path, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link to a folder above
            inner.clear()
        elif set(files) & set(RUN_FILES):
            inner.clear()  # a run holds no runs
            yield folder
        seen.add(real)


def read(folder: Path) -> RecordedRun:
    """Return the run in a folder.

    Raises:
        Unusable: there is none, it has not been evaluated yet, or a file is missing, cut off or damaged.
    """
    summary = read_summary(folder)
    if not (folder / "config.yaml").is_file():
        raise Unusable(folder, "config.yaml is missing")
    settings = _text(folder, "config.yaml")
    logs = {name: _rows(folder, f"{name}.jsonl") for name in LOGS}
    run = RecordedRun(folder, bool(summary.get("complete")), settings, _config(folder, settings), summary, **logs)
    _check(run)
    return run


def _text(folder: Path, file: str) -> str:
    try:
        return (folder / file).read_text()
    except UnicodeDecodeError as error:
        raise Unusable(folder, f"{file} is damaged ({error})") from error


def _config(folder: Path, settings: str) -> Row:
    try:
        config = nested(settings)
    except yaml.YAMLError as error:
        raise Unusable(folder, f"config.yaml is damaged ({' '.join(str(error).split())})") from error
    missing = [key for key in SECTIONS if not isinstance(config, dict) or key not in config]
    if missing:
        raise Unusable(folder, f"config.yaml is damaged: it has no {missing[0]}")
    return dict(config)


def read_summary(folder: Path) -> Row:
    """Return what the run in a folder came to.

    Raises:
        Unusable: it is missing or damaged.
    """
    if not (folder / "summary.json").is_file():
        raise Unusable(folder, "summary.json is missing")
    try:
        summary = json.loads(_text(folder, "summary.json"))
    except json.JSONDecodeError as error:
        raise Unusable(folder, f"summary.json is damaged ({error})") from error
    needed = ENTRIES if isinstance(summary, dict) and summary.get("complete") else ()
    missing = [key for key in needed if key not in summary]
    if missing or not isinstance(summary, dict):
        raise Unusable(folder, f"summary.json is damaged: it has no {missing[0] if missing else 'entry'}")
    return summary


def _rows(folder: Path, log: str) -> list[Row]:
    """Return the rows of a log; a run that made no such rows has none."""
    lines = _text(folder, log).split("\n") if (folder / log).is_file() else [""]
    if lines.pop():
        raise Unusable(folder, f"{log} is cut off: row {len(lines) + 1} has no end")
    try:
        rows: list[Row] = json.loads(f"[{','.join(lines)}]")  # a call per row takes half as long again
    except json.JSONDecodeError:
        rows = []
    if len(rows) == len(lines) and all(isinstance(row, dict) for row in rows):
        return rows
    return [_row(folder, log, number, line) for number, line in enumerate(lines, 1)]


def _row(folder: Path, log: str, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise Unusable(folder, f"{log} is damaged in row {number} ({error})") from error
    if not isinstance(row, dict):
        raise Unusable(folder, f"{log} is damaged in row {number}: {line!r} is no object")
    return row


def _check(run: RecordedRun) -> None:
    """Raise ``Unusable`` unless the logs hold what the run says it did."""
    if not run.evaluations:
        raise Unusable(run.folder, "evaluations.jsonl has no row: the run has not evaluated its base model yet")
    if run.updates != list(range(1, len(run.metrics) + 1)):
        raise Unusable(run.folder, "metrics.jsonl skips or repeats a student update")
    if not run.complete:
        return
    updates = run.summary["updates"]
    windows = math.ceil(updates / run.config["env"]["hold_window"]) * len(run.groups)
    _holds(run, "metrics.jsonl", len(run.metrics), f"{updates} student updates", updates)
    _holds(run, "decisions.jsonl", len(run.decisions), f"{windows} decisions", windows)
    last = run.evaluations[-1]["update"]
    _holds(run, "evaluations.jsonl", last, f"the evaluation after update {updates}", updates)
    if run.verdicts:  # which runs of an older version did not keep
        asked = [(row["update"], row["problems"]) for row in run.evaluations]
        if [(row["update"], len(row["right"]) + len(row["wrong"])) for row in run.verdicts] != asked:
            raise Unusable(run.folder, "verdicts.jsonl does not hold the problems of every evaluation")


def _holds(run: RecordedRun, log: str, found: int, what: str, expected: int) -> None:
    if found != expected:
        told = f"{log} does not hold {what} but ends at {found}, though summary.json says the run is complete"
        raise Unusable(run.folder, told)


def common_metrics(runs: Iterable[RecordedRun]) -> list[str]:
    """Return the metrics that every run measured at some update, in the first one's order."""
    first, *others = (run.columns for run in runs)
    return [key for key in first if all(key in columns for columns in others)]
