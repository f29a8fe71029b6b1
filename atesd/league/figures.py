"""The figures of a league, drawn from ``league.json`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from atesd.statistics import iqm

INK, SECOND = "#1b3a5c", "#c8553d"


def draw(result: dict[str, Any], folder: Path) -> None:
    """Write ``regret.png``, one ``families_noise_*.png`` per noise, and ``twins.png`` where a controller has a twin."""
    bars(
        result["table"],
        "regret",
        "regret against the best fixed exposure (points, lower is better)",
        folder / "regret.png",
    )
    for noise in sorted({row["noise"] for row in result["rows"]}):
        heat([row for row in result["rows"] if row["noise"] == noise], folder / f"families_noise_{noise:g}.png")
    twins = [row for row in result["table"] if "twin_gain" in row]
    if twins:
        bars(twins, "twin_gain", "gain over the own twin that does not learn (points)", folder / "twins.png")


def bars(table: list[dict[str, Any]], column: str, label: str, path: Path) -> None:
    """Draw a column of the table with its intervals, a panel per noise, all in the first panel's order."""
    noises = sorted({row["noise"] for row in table})
    order = [row["controller"] for row in table if row["noise"] == noises[0]][::-1]
    size = (3 + 3 * len(noises), 1.5 + 0.25 * len(order))
    figure, axes = plt.subplots(1, len(noises), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, noise in zip(axes[0], noises, strict=True):
        found = {row["controller"]: row for row in table if row["noise"] == noise}
        rows = [found[name] for name in order]
        values = np.array([row[column] for row in rows])
        spread = np.abs(np.array([[row[f"{column}_low"], row[f"{column}_high"]] for row in rows]).T - values)
        axis.errorbar(values, order, xerr=spread, fmt="o", color=INK, capsize=2, ms=4)
        axis.axvline(0, color=SECOND, lw=1)
        axis.set_title(f"noise {noise:g}")
        axis.grid(axis="x", alpha=0.3)
    figure.supxlabel(f"{label}, 95 % interval")
    _save(figure, path)


def heat(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the interquartile mean regret of every controller on every family."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    names = list(dict.fromkeys(row["controller"] for row in rows))
    cells: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        cells.setdefault((row["controller"], row["family"]), []).append(row["regret"])
    values = np.array([[float(iqm(cells[name, family])) for family in families] for name in names])
    size = (3 + 0.9 * len(families), 1.5 + 0.28 * len(names))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    limit = max(1.0, float(np.abs(values).max()))
    mesh = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_xticks(range(len(families)), families, rotation=30, ha="right")
    axis.set_yticks(range(len(names)), names)
    for (y, x), value in np.ndenumerate(values):
        axis.text(
            x, y, f"{value:.1f}", ha="center", va="center", fontsize=7, color="w" if abs(value) > limit / 2 else "k"
        )
    figure.colorbar(mesh, label="regret against the best fixed exposure (points)")
    axis.set_title(f"noise {rows[0]['noise']:g}")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130)
    plt.close(figure)
