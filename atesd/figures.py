"""The figures of one run, drawn from its logs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from atesd.logbook import Logbook

INK, SECOND = "#1b3a5c", "#c8553d"
DENSITY_LEVELS = 121
NAMES = ("asked", "realised")


def draw(logbook: Logbook) -> None:
    """Write every figure into ``figures/``."""
    folder = logbook.folder / "figures"
    folder.mkdir(exist_ok=True)
    metrics = logbook.rows("metrics.jsonl")
    progress(logbook.rows("evaluations.jsonl"), metrics, folder / "progress.png")
    exposed = [row for row in metrics if row.get("exposure/asked") is not None]
    if exposed:
        exposure(logbook.rows("decisions.jsonl"), exposed, folder / "exposure.png")
        mismatch(exposed, folder / "mismatch.png")


def progress(evaluations: list[dict[str, Any]], metrics: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy with its intervals, and the probe NLL, over updates."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    updates = [row["update"] for row in evaluations]
    means = np.array([row["mean"] for row in evaluations])
    spread = np.abs(np.array([[row["low"], row["high"]] for row in evaluations]).T - means)
    axis.errorbar(updates, means, spread, color=INK, marker="o", capsize=3, label="accuracy, 95 % interval")
    axis.set(xlabel="student updates", ylabel="accuracy", ylim=(0, 1), title="Held-out accuracy and probe NLL")
    if metrics:
        other = axis.twinx()
        series = [row["probe/nll_nats_per_token"] for row in metrics]
        other.plot([row["update"] for row in metrics], series, color=SECOND, lw=1, label="probe NLL")
        other.set_ylabel("probe NLL (nats per token)", color=SECOND)
        other.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2)
    _save(figure, path)


def exposure(decisions: list[dict[str, Any]], metrics: list[dict[str, Any]], path: Path) -> None:
    """Draw the exposure asked for and realised over updates; with one group, before the Beta density if there is one.

    With difficulty groups there is a line for each group, and its dots are what was realised in it.
    """
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    updates = [row["update"] for row in metrics]
    groups = sorted({row.get("group", 0) for row in decisions})
    if decisions and "beta/a" in decisions[0] and len(groups) == 1:
        _density(axis, decisions, updates[-1])
    for prefix, label, asked, realised in _lines(len(groups)):
        series = {name: [row.get(f"{prefix}exposure/{name}", np.nan) for row in metrics] for name in NAMES}
        axis.step(updates, series["asked"], where="pre", color=asked, label=f"asked{label}")
        axis.plot(updates, series["realised"], ".", color=realised, ms=4, label=f"realised{label}")
    axis.set(xlabel="student updates", ylabel="exposure", ylim=(-0.02, 1.02), title="Exposure")
    figure.legend(loc="outside lower center", ncols=max(2, len(groups)))
    _save(figure, path)


def _lines(groups: int) -> list[tuple[str, str, Any, Any]]:
    """Return the key prefix, label and two colours of each line of exposure."""
    if groups == 1:
        return [("", "", INK, SECOND)]
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, groups))
    names = ["easiest", *[""] * (groups - 2), "hardest"]
    labels = [f", group {group}" + (f" ({name})" if name else "") for group, name in enumerate(names)]
    return [
        (f"group_{g}/", label, colour, colour) for g, (label, colour) in enumerate(zip(labels, colours, strict=True))
    ]


def _density(axis: Axes, decisions: list[dict[str, Any]], last: int) -> None:
    ordered = sorted(decisions, key=lambda row: row["decision"])
    levels = np.linspace(0, 1, DENSITY_LEVELS)
    middles = (levels[1:] + levels[:-1]) / 2
    densities = np.array([stats.beta.pdf(middles, row["beta/a"], row["beta/b"]) for row in ordered]).T
    edges = [*(row["update"] for row in ordered), last]
    mesh = axis.pcolormesh(edges, levels, densities, cmap="Greys", vmin=0, vmax=max(3.0, densities.max()))
    plt.colorbar(mesh, ax=axis, label="density of the policy")


def mismatch(metrics: list[dict[str, Any]], path: Path) -> None:
    """Draw both measures of mismatch against the realised exposure, coloured by update."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    exposures = [row["exposure/realised"] for row in metrics]
    updates = [row["update"] for row in metrics]
    labels = {
        "mismatch/top1_disagreement": "top-1 disagreement (share of tokens)",
        "mismatch/kl_tail_nats": "KL of the worst 5 % of tokens (nats)",
    }
    for axis, (key, label) in zip(axes, labels.items(), strict=True):
        dots = axis.scatter(exposures, [row[key] for row in metrics], c=updates, cmap="viridis", s=14)
        axis.set(xlabel="exposure, realised", ylabel=label, xlim=(-0.03, 1.03))
        axis.set_ylim(bottom=0)
    figure.colorbar(dots, ax=axes, label="student updates")
    figure.suptitle("Mismatch between teacher and student")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130)
    plt.close(figure)
