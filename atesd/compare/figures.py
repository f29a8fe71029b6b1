"""The figures of a comparison, drawn from ``compare.json`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

INK, SECOND = "#1b3a5c", "#c8553d"


def draw(result: dict[str, Any], folder: Path) -> None:
    """Write ``methods.png``, ``curves.png`` and, where there are contrasts, ``contrasts.png``."""
    with plt.rc_context({"text.parse_math": False}):  # a method's name may hold dollars
        methods(result["methods"], folder / "methods.png")
        curves(result["methods"], folder / "curves.png")
        if result["contrasts"]:
            contrasts(result["contrasts"], folder / "contrasts.png")
        else:  # an earlier comparison's
            (folder / "contrasts.png").unlink(missing_ok=True)


def methods(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw every run of each method, and the interquartile mean with its interval."""
    figure, axis = plt.subplots(figsize=(8, 1.5 + 0.35 * len(rows)), layout="constrained")
    for height, row in enumerate(reversed(rows)):
        accuracies = [run["accuracy"] for run in row["runs"]]
        axis.plot(
            accuracies, [height] * len(accuracies), "|", color=SECOND, ms=9, label="a run" if not height else None
        )
        known = row["iqm_low"] is not None
        spread = [[row["iqm"] - row["iqm_low"]], [row["iqm_high"] - row["iqm"]]] if known else None
        label = "interquartile mean, 95 % interval" if not height else None
        axis.errorbar(row["iqm"], height, xerr=spread, fmt="o", color=INK, capsize=3, ms=5, label=label)
    axis.set_yticks(range(len(rows)), [row["method"] for row in reversed(rows)])
    axis.set(xlabel="accuracy")
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    _save(figure, path)


def curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw mean accuracy over updates, with a 95 % band over seeds."""
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    colours = plt.colormaps["viridis"](np.linspace(0, 0.9, len(rows)))
    for row, colour in zip(rows, colours, strict=True):
        updates = [point["update"] for point in row["curve"]]
        axis.plot(
            updates, [point["mean"] for point in row["curve"]], color=colour, marker="o", ms=3, label=row["method"]
        )
        if row["n"] > 1:
            low, high = ([point[end] for point in row["curve"]] for end in ("low", "high"))
            axis.fill_between(updates, low, high, color=colour, alpha=0.12, lw=0)
    axis.set(xlabel="student updates", ylabel="accuracy, mean over seeds, 95 % interval")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    _save(figure, path)


def contrasts(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the gain of every contrast per pair and on average, with its interval and corrected p-value."""
    figure, axis = plt.subplots(figsize=(8, 1.5 + 0.35 * len(rows)), layout="constrained")
    for height, row in enumerate(reversed(rows)):
        axis.plot([100 * gain for gain in row["gains"]], [height] * row["n"], "|", color=SECOND, ms=9)
        bounds = [row["mean"] if row[end] is None else row[end] for end in ("low", "high")]
        spread = 100 * np.abs(np.array(bounds) - row["mean"])[:, None]
        axis.errorbar(100 * row["mean"], height, xerr=spread, fmt="o", color=INK, capsize=3, ms=5)
    axis.axvline(0, color="grey", lw=1, ls=":")
    names = [f"{row['contrast']}\nHolm p {row['p_holm']:.3f}" for row in reversed(rows)]
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.set(xlabel="gain (points of accuracy), 95 % interval; a dash per seed")
    axis.grid(axis="x", alpha=0.3)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130)
    plt.close(figure)
