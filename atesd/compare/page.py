"""The page of a comparison: ``report.html``, from ``compare.json``'s content and the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atesd.compare.archive import Finished
from atesd.compare.table import base_notes, number, span
from atesd.report import comparison as report_comparison
from atesd.report.page import Table

Row = dict[str, Any]


def write(result: Row, runs: Sequence[Finished], path: Path) -> None:
    """Write the page of a comparison of these runs."""
    recorded = {run.folder: run.recorded for run in runs}
    methods = {row["method"]: [recorded[run["run"]] for run in row["runs"]] for row in result["methods"]}
    report_comparison.page(methods, list(tables(result))).write(path)


def tables(result: Row) -> Iterator[Table]:
    """Yield the contrasts, and what to beware of, where there are any."""
    if result["contrasts"]:
        yield Table(
            "Contrasts",
            "Gain in accuracy, paired by seed, with its 95 % t-interval; p of the test, before and after Holm's "
            "correction; and the smallest gain that this many seeds would have shown with power .8.",
            ("contrast", "pairs", "gain", "95 %", "p", "p, Holm", "detectable"),
            [_contrast(row) for row in result["contrasts"]],
        )
    noted = [("base", note) for note in base_notes(result)]
    noted += [("warning", warning) for warning in result["warnings"]]
    noted += [("left out", f"{row['run']}: {row['reason']}") for row in result["excluded"]]
    if noted:
        yield Table("Beware", "What weakens this comparison, and the runs that are not in it.", ("", ""), noted)


def _contrast(row: Row) -> list[str]:
    tested = [number(row[column]) for column in ("p", "p_holm", "detectable")]
    return [row["contrast"], str(row["n"]), number(row["mean"], "+.3f"), span(row, ""), *tested]
