"""What a sweep over fixed exposures shows: accuracy and mismatch per exposure, overall and per difficulty.

Runs at the end of ``experiment=fixed_sweep``; for finished runs, ``python -m atesd.exposure_sweep OUTPUT_DIR RUN…``.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from atesd import recorded_run
from atesd.arguments import run_main
from atesd.errors import UserError
from atesd.folders import make
from atesd.sweep import jobs, played

# The first updates, before the student has moved far, are where mismatch can be compared between exposures. ours
EARLY_UPDATES = 20
MISMATCHES = ("mismatch/early_top1_disagreement", "mismatch/top1_disagreement", "mismatch/kl_tail_nats")


def read(folder: Path) -> dict[str, Any]:
    """Return what a finished run contributes; a mismatch is None where the student has no teacher to differ from.

    Raises:
        UserError: the run is damaged, is not complete, or did not hold one exposure throughout.
    """
    run = recorded_run.read(folder)
    if not run.complete:
        raise UserError(f"{folder} holds no complete run; finish it with resume=true or leave it out")
    exposures = {row["exposure"] for row in run.decisions}
    if len(exposures) != 1 or run.config["baseline"] is not None:
        raise UserError(
            f"{folder} was played by {run.method}, with {len(exposures)} exposures; give runs of controller=fixed, as "
            "experiment=fixed_sweep makes them"
        )
    early = replace(run, metrics=run.metrics[:EARLY_UPDATES])
    return {
        "exposure": float(exposures.pop()),
        "seed": run.seed,
        "accuracy/before": run.summary["accuracy/before"],
        "accuracy/after": run.summary["accuracy/after"],
        "by_difficulty": _means(run.evaluations[-1]),
        "before_by_difficulty": _means(run.evaluations[0]),
        "mismatch/early_top1_disagreement": early.mean("mismatch/top1_disagreement"),
        "mismatch/top1_disagreement": run.mean("mismatch/top1_disagreement"),
        "mismatch/kl_tail_nats": run.mean("mismatch/kl_tail_nats"),
        "curve": [(row["update"], row["mean"]) for row in run.evaluations],
        "commit": run.summary["commit"],
        "model": run.config["model"],
        "data": run.config["data"],
    }


def _means(evaluation: dict[str, Any]) -> dict[str, float]:
    return {level: found["mean"] for level, found in evaluation["by_difficulty"].items()}


def refuse_mixed(runs: list[dict[str, Any]]) -> None:
    """Raise ``UserError`` unless the runs are of one student, one task and one length, each seed once per exposure."""
    for what in ("model", "data"):
        if any(run[what] != runs[0][what] for run in runs):
            raise UserError(f"the runs differ in {what}; give those of one {what}, and write a table for each")
    if len({tuple(update for update, _ in run["curve"]) for run in runs}) > 1:
        raise UserError("the runs were evaluated after different updates; give runs of one length")
    once = [(run["exposure"], run["seed"]) for run in runs]
    if twice := [each for each in once if once.count(each) > 1]:
        exposure, seed = twice[0]
        raise UserError(f"two runs have exposure {exposure:g} and seed {seed}; give each once")


def by_exposure(runs: list[dict[str, Any]]) -> dict[float, list[dict[str, Any]]]:
    """Group runs by exposure, lowest first."""
    groups = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run["exposure"], run["seed"])):
        groups[run["exposure"]].append(run)
    return dict(groups)


def average(runs: list[dict[str, Any]], key: str) -> float:
    """Return the mean of an entry over runs; nan where one has none."""
    return float(np.mean([math.nan if run[key] is None else run[key] for run in runs]))


def markdown(runs: list[dict[str, Any]]) -> str:
    """Return the table: mean over seeds, with a 95 % t-interval for overall accuracy."""
    levels = sorted(runs[0]["by_difficulty"])
    heads = ["exposure", "accuracy", "95 %", *(f"{level} steps" for level in levels)]
    heads += ["top-1 disagreement, first 20", "top-1 disagreement", "KL tail (nats)"]
    base = [np.mean([run["before_by_difficulty"][level] for run in runs]) for level in levels]
    before = float(np.mean([run["accuracy/before"] for run in runs]))
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines.append("| base | " + " | ".join([f"{before:.3f}", "-", *(f"{v:.3f}" for v in base), "-", "-", "-"]) + " |")
    for exposure, group in by_exposure(runs).items():
        after = [run["accuracy/after"] for run in group]
        cells = [f"{exposure:g}", f"{np.mean(after):.3f}", half_width(after)]
        cells += [f"{np.mean([run['by_difficulty'][level] for run in group]):.3f}" for level in levels]
        cells += [f"{mean:.3f}" if math.isfinite(mean := average(group, key)) else "-" for key in MISMATCHES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def half_width(values: list[float]) -> str:
    """Return the half width of the 95 % t-interval over seeds; one seed has none.

    >>> half_width([0.5735, 0.571, 0.563])
    '± 0.014'
    """
    from scipy import stats

    if len(values) < 2:
        return "-"
    return f"± {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.3f}"


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy and mismatch against exposure, and accuracy over updates."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = by_exposure(runs)
    exposures = list(groups)
    figure, (curves, ends, gaps) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    colours = plt.colormaps["viridis"](np.linspace(0, 0.9, len(groups)))
    for colour, (exposure, group) in zip(colours, groups.items(), strict=True):
        updates = [update for update, _ in group[0]["curve"]]
        means = np.mean([[accuracy for _, accuracy in run["curve"]] for run in group], axis=0)
        curves.plot(updates, means, color=colour, marker="o", ms=3, label=f"{exposure:g}")
    curves.set(xlabel="student updates", ylabel="accuracy, mean over seeds", ylim=(0, 1))
    curves.legend(title="exposure")
    levels = sorted(runs[0]["by_difficulty"])
    for shade, level in zip(plt.colormaps["copper"](np.linspace(0, 0.9, len(levels))), levels, strict=True):
        means = [np.mean([run["by_difficulty"][level] for run in group]) for group in groups.values()]
        ends.plot(exposures, means, color=shade, lw=1, marker=".", label=f"{level} steps")
    for exposure, group in groups.items():
        ends.plot([exposure] * len(group), [run["accuracy/after"] for run in group], "k_", ms=12)
    overall = [np.mean([run["accuracy/after"] for run in group]) for group in groups.values()]
    ends.plot(exposures, overall, "k", lw=2, label="all; a dash per seed")
    ends.axhline(float(np.mean([run["accuracy/before"] for run in runs])), color="grey", ls=":", label="base")
    ends.set(xlabel="exposure", ylabel="accuracy after training", ylim=(0, 1))
    ends.legend(fontsize=7, loc="lower left", ncols=3)
    for key, label in zip(MISMATCHES, (f"first {EARLY_UPDATES} updates", "all"), strict=False):
        gaps.plot(exposures, [average(group, key) for group in groups.values()], marker="o", label=label)
    gaps.set(xlabel="exposure", ylabel="top-1 disagreement", ylim=(0, None))
    gaps.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def write(folders: list[Path], output: Path) -> None:
    """Write ``sweep.md``, ``sweep.json`` and ``sweep.png``."""
    runs = [read(folder) for folder in folders]
    refuse_mixed(runs)
    make(output)
    (output / "sweep.json").write_text(json.dumps(runs, indent=2) + "\n")
    (output / "sweep.md").write_text(markdown(runs))
    draw(runs, output / "sweep.png")
    print(markdown(runs), end="")
    print(f"written to {output}")


class WriteTable(Callback):
    """Writes the table beside the runs of a multi-run once all of them are complete."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        runs = list(jobs(config))
        if all(played(folder, settings) for folder, settings in runs):
            # exposure=E/seed=N lie two levels below the folder of their model
            for output in dict.fromkeys(folder.parents[1] for folder, _ in runs):
                write([folder for folder, _ in runs if folder.parents[1] == output], output)


def main() -> None:
    """Read an output folder and the folders of runs from the command line."""
    output, *folders = sys.argv[1:] or [""]
    if not folders:
        raise UserError("give a folder to write to and those of runs: python -m atesd.exposure_sweep OUTPUT_DIR RUN…")
    write(recorded_run.run_folders(list(map(Path, folders))), Path(output))


if __name__ == "__main__":
    run_main(main)
