"""The figure of an oracle's study, drawn from ``oracle.json`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

INK, SECOND = "#1b3a5c", "#c8553d"


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw look-ahead gains and the best exposure along each run, a column per run, and the rewards' agreement."""
    runs = list(dict.fromkeys(state["run"] for state in result["states"]))
    height = 6 + 0.14 * len(result["correlations"])
    figure = plt.figure(figsize=(max(8.0, 5.0 * len(runs)), height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[6, height - 6])
    axes = above.subplots(2, len(runs), sharex="col", sharey="row", squeeze=False)
    for column, run in enumerate(runs):
        _run([state for state in result["states"] if state["run"] == run], axes[0, column], axes[1, column])
        axes[0, column].set_title(run, fontsize=8)
    axes[0, 0].set_ylabel("look-ahead gain (points of accuracy)")
    axes[1, 0].set_ylabel("best exposure")
    axes[0, 0].legend(title="exposure", fontsize=7)
    _correlations(result["correlations"], below.subplots())
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _run(states: list[dict[str, Any]], gains: Any, best: Any) -> None:
    updates = [state["update"] for state in states]
    exposures = [branch["exposure"] for branch in states[0]["branches"]]
    colours = plt.colormaps["viridis"](np.linspace(0, 0.9, len(exposures)))
    for index, (exposure, colour) in enumerate(zip(exposures, colours, strict=True)):
        found = [state["branches"][index]["gain"]["lookahead"] for state in states]
        means, errors = ([100 * each[key] for each in found] for key in ("mean", "error"))
        gains.errorbar(updates, means, errors, color=colour, marker="o", ms=3, lw=1, label=f"{exposure:g}")
    gains.axhline(0, color="grey", lw=1, ls=":")
    best.step(updates, [state["best_exposure"] for state in states], where="post", color=INK, marker="o", ms=3)
    best.plot(updates, [state["run_exposure"] for state in states], "x", color=SECOND, label="of the run itself")
    best.set(xlabel="student updates", ylim=(-0.05, 1.05))
    best.legend(fontsize=7)


def _correlations(correlations: dict[str, dict[str, Any]], axis: Any) -> None:
    known = {name: found for name, found in correlations.items() if found["mean"] is not None}
    order = sorted(known, key=lambda name: float(known[name]["mean"]))
    means = np.array([known[name]["mean"] for name in order])
    spread = np.abs(np.array([[known[name]["low"], known[name]["high"]] for name in order]).T - means) if order else 0
    axis.errorbar(means, order, xerr=spread, fmt="o", color=INK, capsize=2, ms=3)
    axis.axvline(0, color=SECOND, lw=1)
    axis.tick_params(axis="y", labelsize=6)
    axis.set(xlabel="rank correlation with the look-ahead gain, 95 % interval", xlim=(-1.05, 1.05))
