"""Finished runs, read from their folders; those that cannot be compared are named and left out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atesd.arguments import flat
from atesd.budget import Budget
from atesd.errors import UserError
from atesd.labels import label_all

RUN_FILES = ("config.yaml", "summary.json", "metrics.jsonl")


class LeftOut(Exception):
    """A run that cannot be compared, and why."""


@dataclass(frozen=True)
class Finished:
    """A complete run.

    Attributes:
        name: the settings' short name for the method (``atesd.labels``).
        config: dotted settings.
        evaluations: the rows of ``evaluations.jsonl``.
        probe_nll: after each student update, in nats per token.
        verdicts: after which update which evaluation problem was answered right; empty for a run that did not say.
        spent: every budget; None for one the run did not count.
    """

    folder: str
    name: str
    seed: int
    commit: str
    config: dict[str, Any]
    evaluations: list[dict[str, Any]]
    probe_nll: dict[int, float]
    verdicts: dict[int, dict[str, bool]]
    spent: dict[Budget, float | None]

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
    folders = {folder.resolve(): folder for path in paths for folder in expand(path)}
    found, excluded = [], []
    for folder in folders.values():
        try:
            found.append((folder, *read(folder)))
        except LeftOut as left_out:
            excluded.append({"run": str(folder), "reason": str(left_out)})
    names = label_all([(summary["method"], config) for _, summary, config, _ in found])
    return [finished(*parts, name) for parts, name in zip(found, names, strict=True)], excluded


def expand(path: Path) -> list[Path]:
    """Return the run a path is, or the runs below it, sorted.

    Raises:
        UserError: there is none.
    """
    found = sorted(Path(folder) for folder in _below(path))
    if not found:
        raise UserError(f"{path} holds no run (no {', '.join(RUN_FILES)} in it or below); give folders of runs")
    return found


def _below(path: Path) -> Iterator[str]:
    for folder, inner, files in os.walk(path):
        if set(files) & set(RUN_FILES):
            inner.clear()  # a run holds no runs
            yield folder


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return a complete run's summary, dotted settings, and rows per log.

    Raises:
        LeftOut: it is not complete, or its files are damaged.
    """
    summary = _summary(folder)
    if not (folder / "config.yaml").is_file():
        raise LeftOut("config.yaml is missing")
    rows = {log: _rows(folder / log) for log in ("metrics.jsonl", "evaluations.jsonl", "verdicts.jsonl")}
    if len(rows["metrics.jsonl"]) != summary["updates"]:
        raise LeftOut(f"metrics.jsonl has {len(rows['metrics.jsonl'])} of {summary['updates']} rows")
    if not rows["evaluations.jsonl"] or rows["evaluations.jsonl"][-1]["update"] != summary["updates"]:
        raise LeftOut(f"evaluations.jsonl does not hold the evaluation after update {summary['updates']}")
    return summary, flat((folder / "config.yaml").read_text()), rows


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    if not path.is_file():
        raise LeftOut("summary.json is missing")
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise LeftOut(f"summary.json is damaged ({error})") from error
    if not summary.get("complete"):
        raise LeftOut("still going, or stopped: summary.json says it is not complete")
    return summary


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().split("\n") if path.is_file() else [""]
    if lines.pop():
        raise LeftOut(f"{path.name} is truncated: its last row has no end")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise LeftOut(f"{path.name} is damaged in row {number} ({error})") from error
    return rows


def finished(
    folder: Path, summary: dict[str, Any], config: dict[str, Any], rows: dict[str, list[dict[str, Any]]], name: str
) -> Finished:
    """Return the run with these contents."""
    spent = {budget: summary.get(budget.value) for budget in Budget}
    return Finished(
        folder=str(folder),
        name=name,
        seed=summary["seed"],
        commit=summary["commit"],
        config=config,
        evaluations=rows["evaluations.jsonl"],
        probe_nll={row["update"]: row["probe/nll_nats_per_token"] for row in rows["metrics.jsonl"]},
        verdicts={row["update"]: _answers(row) for row in rows["verdicts.jsonl"]},
        spent=spent | {Budget.updates: summary["updates"]},
    )


def _answers(row: dict[str, Any]) -> dict[str, bool]:
    return dict.fromkeys(row["right"], True) | dict.fromkeys(row["wrong"], False)
