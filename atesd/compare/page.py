"""The page of a comparison: ``report.html``, from ``compare.json``'s content and the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atesd.compare.archive import Finished
from atesd.compare.table import base_notes, left_out, number, span
from atesd.report import comparison as report_comparison
from atesd.report.page import Table

Row = dict[str, Any]


def write(result: Row, runs: Sequence[Finished], path: Path) -> None:
    """Write the page of a comparison of these runs."""
    recorded = {run.folder: run.recorded for run in runs}
    methods = {row["method"]: [recorded[run["run"]] for run in row["runs"]] for row in result["methods"]}
    report_comparison.page(methods, list(tables(result))).write(path)


def tables(result: Row) -> Iterator[Table]:
    """Yield the methods as they are judged, and the contrasts, and what to beware of, where there are any."""
    budget = "{matched} ({low:g} to {high:g})".format(**result["budget"])
    yield Table(
        "Judged",
        f"What the contrasts are made of: accuracy by checkpoint_rule={result['checkpoint_rule']} at matched {budget}, "
        f"on {', '.join(result['evaluation_set'])}; t-intervals over seeds, the interquartile mean (IQM) with a "
        f"stratified bootstrap's interval, and the probability of improvement over {result['reference']}.",
        ("method", "runs", "mean", "sd", "95 %", "IQM", "95 %", f"P(> {result['reference']})"),
        [_judged(row) for row in result["methods"]],
    )
    if result["contrasts"]:
        yield Table(
            "Contrasts",
            "Gain in accuracy, paired by seed, with its 95 % t-interval; p of the "
            f"{result['settings']['test']} test, before and after Holm's correction; the smallest gain that this test "
            "would have shown on so many seeds with power .8, where it could show any; and p of the t test paired by "
            "problem.",
            ("contrast", "pairs", "gain", "95 %", "p", "p, Holm", "detectable", "p by problem"),
            [_contrast(row) for row in result["contrasts"]],
        )
    noted = [("base", note) for note in base_notes(result)]
    noted += [("warning", warning) for warning in result["warnings"]]
    if result["excluded"]:
        noted.append(("left out", left_out(result)))
    noted += [("left out", f"{row['run']}: {row['reason']}") for row in result["excluded"]]
    if noted:
        yield Table("Beware", "What weakens this comparison, and the runs that are not in it.", ("", ""), noted)


def _contrast(row: Row) -> list[str]:
    tested = [number(row[column]) for column in ("p", "p_holm", "detectable")]
    found = row["by_problem"]
    problems = number(found and found["p"], ".2g")
    return [row["contrast"], str(row["n"]), number(row["mean"], "+.3f"), span(row, ""), *tested, problems]


def _judged(row: Row) -> list[str]:
    cells = [row["method"], str(row["n"]), number(row["mean"]), number(row["sd"]), span(row, "")]
    return [*cells, number(row["iqm"]), span(row, "iqm_"), number(row["probability_of_improvement"], ".2f")]
