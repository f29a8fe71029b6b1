"""The figure of a calibration: the fitted law over a sweep's evaluations, and its order of exposures against theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from atesd.calibrate.recordings import Recording


def draw(runs: Sequence[Recording], curves: NDArray[np.float64], result: dict[str, Any], path: Path) -> None:
    """Draw evaluations and the law's curves [T + 1, R] over updates, and final accuracy per policy."""
    figure, (along, ends) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    policies = [row["policy"] for row in result["policies"]]
    colours = dict(zip(policies, plt.colormaps["viridis"](np.linspace(0, 0.9, len(policies))), strict=True))
    for run, curve in zip(runs, curves.T, strict=True):
        along.plot(curve, color=colours[run.policy], lw=1)
        along.plot(run.updates, run.accuracies, "o", color=colours[run.policy], ms=3, label=run.policy)
    handles, labels = along.get_legend_handles_labels()
    along.legend(*zip(*dict(zip(labels, zip(handles, labels, strict=True), strict=True)).values(), strict=True))
    along.set(xlabel="student updates", ylabel="accuracy; lines: the law", ylim=(0, 1), title=result["family"])
    places = np.arange(len(policies))
    for run in runs:
        ends.plot(policies.index(run.policy), run.accuracies[-1], "k_", ms=14)
    for column, mark in (("measured", "ks"), ("fitted", "C0o"), ("held_out", "C1x")):
        ends.plot(places, [row[column] for row in result["policies"]], mark, label=column.replace("_", " "))
    ends.set(xlabel="exposure or controller", ylabel="accuracy after training; a dash per run", ylim=(0, 1))
    ends.set_xticks(places, policies)
    ends.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)
