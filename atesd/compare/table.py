"""A comparison as text: for the terminal, as CSV, and as LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
COLUMNS: tuple[str, ...] = (
    "method",
    "n",
    "mean",
    "sd",
    "low",
    "high",
    "iqm",
    "iqm_low",
    "iqm_high",
    "probability_of_improvement",
)
COLUMNS += ("probability_of_improvement_low", "probability_of_improvement_high")
CONTRAST = ("a", "b", "n", "mean", "sd", "low", "high", "test", "p", "p_holm", "detectable")
AGAINST = ("gain", "gain_low", "gain_high", "p", "p_holm", "detectable")


def number(value: float | None, form: str = ".3f") -> str:
    """Return a number as text, a dash where there is none.

    >>> number(0.5), number(None)
    ('0.500', '-')
    """
    return "-" if value is None else format(value, form)


def span(row: Row, column: str) -> str:
    """Return an interval as text."""
    low, high = row[f"{column}low"], row[f"{column}high"]
    return "-" if low is None else f"[{low:.3f}, {high:.3f}]"


def lines(result: Row) -> Iterator[str]:
    """Yield the comparison as the terminal shows it."""
    yield "accuracy at matched {matched} ({low:g} to {high:g})".format(**result["budget"])
    yield from (f"base: {note}" for note in base_notes(result))
    yield f"judged: checkpoint_rule={result['checkpoint_rule']}, {', '.join(result['evaluation_set'])}"
    yield ""
    width = max(len("method"), *(len(row["method"]) for row in result["methods"]))
    heads = f"{'n':>3}  {'mean':>6}  {'sd':>6}  {'95 % interval':<16}{'IQM':>6}  {'95 % interval':<16}"
    yield f"{'method':<{width}}  {heads}P(> {result['reference']})"
    for row in result["methods"]:
        cells = f"{row['n']:>3}  {number(row['mean']):>6}  {number(row['sd']):>6}  {span(row, ''):<16}"
        cells += f"{number(row['iqm']):>6}  {span(row, 'iqm_'):<16}{number(row['probability_of_improvement'], '.2f')}"
        yield f"{row['method']:<{width}}  {cells}"
    if result["contrasts"]:
        yield ""
        yield from contrasts(result["contrasts"])
    yield ""
    if result["excluded"]:
        yield left_out(result)
    yield from (f"left out: {row['run']}: {row['reason']}" for row in result["excluded"])
    yield from (f"warning: {warning}" for warning in result["warnings"])


def base_notes(result: Row) -> list[str]:
    """Return what to know of each base model among the methods.

    >>> base_notes({"bases": ["none"]})
    ['none is the untrained model, held to no budget']
    """
    return [f"{name} is the untrained model, held to no budget" for name in result["bases"]]


def left_out(result: Row) -> str:
    """Return how many runs are not in the comparison.

    >>> left_out({"excluded": [{}], "methods": [{"n": 5}, {"n": 4}]})
    '1 of 10 runs left out'
    """
    count = len(result["excluded"])
    return f"{count} of {count + sum(row['n'] for row in result['methods'])} runs left out"


def contrasts(rows: list[Row]) -> Iterator[str]:
    """Yield the table of contrasts; ``detect`` is the smallest difference the test would have found with power .8."""
    width = max(len("contrast"), *(len(row["contrast"]) for row in rows))
    heads = (
        f"{'n':>3}  {'gain':>6}  {'95 % interval':<18}{'p':>7}  {'Holm':>7}  {'detect':>6}  by problem: p, won, lost"
    )
    yield f"{'contrast':<{width}}  {heads}"
    for row in rows:
        cells = f"{row['n']:>3}  {row['mean']:>+6.3f}  {span(row, ''):<18}{row['p']:>7.4f}  {row['p_holm']:>7.4f}"
        found = row["by_problem"]
        problems = "{p:.2g}, {won:.3f}, {lost:.3f}".format(**found) if found else "-"
        yield f"{row['contrast']:<{width}}  {cells}  {number(row['detectable']):>6}  {problems}"


def table(result: Row) -> list[Row]:
    """Return a flat row per method, with its contrast to the reference where there is one."""
    against = {row["a"]: row for row in result["contrasts"] if row["b"] == result["reference"]}
    rows = []
    for method in result["methods"]:
        row = {column: method[column] for column in COLUMNS}
        if contrast := against.get(method["method"]):
            row |= {"gain": contrast["mean"], "gain_low": contrast["low"], "gain_high": contrast["high"]}
            row |= {column: contrast[column] for column in ("p", "p_holm", "detectable")}
        rows.append(row)
    return rows


def csv_text(result: Row) -> str:
    """Return the table as CSV; what does not exist is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *AGAINST], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table(result))
    return text.getvalue()


def contrasts_csv(result: Row) -> str:
    """Return every declared contrast as CSV, also those that are not against the reference."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CONTRAST, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(result["contrasts"])
    return text.getvalue()


def latex(result: Row) -> str:
    """Return the table for LaTeX with booktabs, accuracies in %; a second one where it has no place for a contrast."""
    heads = r"Method & $n$ & Accuracy (\%) & 95\,\% interval & IQM (\%) & Gain & $p_\mathrm{Holm}$ \\"
    rows = [latex_row(row) for row in table(result)]
    note = "Reference: {reference}. Matched budget: {budget[matched]}. Checkpoint: {checkpoint_rule}.".format(**result)
    note = " ".join([note, *(f"{base}." for base in base_notes(result))])
    begin = [
        r"% needs \usepackage{booktabs}",
        f"% {note}",
        r"\begin{tabular}{lrrrrrr}",
        r"\toprule",
        heads,
        r"\midrule",
    ]
    told = [*begin, *rows, r"\bottomrule", r"\end{tabular}"]
    if any(row["b"] != result["reference"] for row in result["contrasts"]):
        told += latex_contrasts(result["contrasts"])
    return "\n".join(told) + "\n"


def latex_contrasts(rows: list[Row]) -> list[str]:
    """Return the lines of a table of contrasts, gains in points of accuracy."""
    body = [
        f"{escaped(row['a'])} $-$ {escaped(row['b'])} & {row['n']} & ${100 * row['mean']:+.1f}$ & "
        rf"{_percent(row)} & {row['p']:.3f} & {row['p_holm']:.3f} \\"
        for row in rows
    ]
    heads = r"Contrast & pairs & Gain & 95\,\% interval & $p$ & $p_\mathrm{Holm}$ \\"
    return [
        r"\begin{tabular}{lrrrrr}",
        r"\toprule",
        heads,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _percent(row: Row) -> str:
    return "--" if row["low"] is None else f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def latex_row(row: Row) -> str:
    """Return one method's row.

    >>> blank = dict.fromkeys(COLUMNS)
    >>> latex_row(blank | {"method": "a_b", "n": 2, "mean": 0.5, "sd": 0.1, "iqm": 0.5})
    'a\\\\_b & 2 & $50.0 \\\\pm 10.0$ & -- & 50.0 & -- & -- \\\\\\\\'
    """
    spread = "" if row["sd"] is None else rf" \pm {100 * row['sd']:.1f}"
    gain = f"${100 * row['gain']:+.1f}$" if "gain" in row else "--"
    p_value = f"{row['p_holm']:.3f}" if "gain" in row else "--"
    mean = rf"${100 * row['mean']:.1f}{spread}$"
    cells = [escaped(row["method"]), str(row["n"]), mean, _percent(row), f"{100 * row['iqm']:.1f}", gain, p_value]
    return " & ".join(cells) + r" \\"


def escaped(text: str) -> str:
    r"""Return text with the characters LaTeX reserves escaped.

    >>> escaped("fixed a_b=5%")
    'fixed a\\_b=5\\%'
    """
    special: dict[str, str | int | None] = {letter: "\\" + letter for letter in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return text.translate(str.maketrans(special))
