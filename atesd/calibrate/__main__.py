"""Fit a surrogate to a recorded sweep over exposures: ``python -m atesd.calibrate RUN… output_dir=FOLDER``.

Runs are folders that ``python -m atesd.run`` wrote, or folders of such: one task and model, at least three fixed
exposures, any number of seeds, and runs of controllers if you like. Each family is fitted to the evaluations of all
runs; the one that best predicts the exposures it has not seen (each held out in turn) is chosen. ``calibration.json``,
which ``model.family=`` and the league's ``families=[…]`` take as a family, holds:

- ``settings``, ``runs``: what was asked, and the runs with their policy (exposure or controller), seed and commit.
- ``family``, ``law``: the chosen family and all constants of its law.
- ``constants``: of each fitted constant its value, 95 % interval, and the ``bound`` of its range that it lies on.
- ``candidates``: of each family the root mean square error over evaluations in points, fitted and held out.
- ``policies``: of each policy the runs, and final accuracy as measured, fitted and predicted when held out.
- ``rank_correlation``: Spearman's, over policies, of measured final accuracy with the fitted and the held-out, and with
  the negated final probe NLL, as the mean of each run's last ``atesd.calibrate.calibration.LAST`` readings.
- ``best_exposure``: of the sweep with the share of resamples that agree, and of the law over ``LEVELS``.
- ``headroom``: points of competence by which the best policy of the law passes its best fixed exposure.
- ``probe``: ``atesd.probe_noise``; its ``noise`` is the league's ``noise`` and ``model.noise``.

Intervals are 95 % percentile bootstraps over the runs of each policy, family held; null where a policy has one run.
With few seeds they are too narrow. Only competence and the probe's noise are fitted: a surrogate's other readings are
not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from atesd.arguments import HELP, dotlist, run_main, settings
from atesd.calibrate import candidates
from atesd.calibrate.calibration import Calibration, Sweep, calibrated
from atesd.calibrate.recordings import sweep
from atesd.errors import UserError
from atesd.folders import claim
from atesd.recorded_run import run_folders
from atesd.run import quiet  # which also registers the parts that runs are made of
from atesd.surrogate.law import NULL, best_fixed, optimum


@dataclass
class CalibrateConfig:
    """Settings, all ours.

    Attributes:
        output_dir: where calibration.json and calibration.png go.
        families: which are tried; keys of ``atesd.calibrate.candidates.FREE``.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    output_dir: str = "???"
    families: list[str] = field(default_factory=lambda: list(candidates.FREE))
    resamples: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.families if name not in candidates.FREE]
        if unknown or not self.families:
            raise UserError(f"families={self.families} must name some of {', '.join(candidates.FREE)}")
        if self.resamples < 20:
            raise UserError(f"resamples must be at least 20, got {self.resamples}: fewer have no 95 % interval")
        if (Path(self.output_dir) / "calibration.json").exists():
            raise UserError(f"output_dir={self.output_dir} holds a calibration.json; choose another or remove it")


def calibrate(config: CalibrateConfig, folders: Sequence[Path]) -> dict[str, Any]:
    """Fit, write ``calibration.json`` and ``calibration.png``, and return the former.

    Raises:
        UserError: the runs make no sweep that a law could be fitted to.
    """
    over = Sweep(sweep(folders))
    folder = Path(config.output_dir)
    claim(folder, "calibration.json")
    tried = []
    for name in dict.fromkeys(config.families):
        tried.append(calibrated(name, over))
        _say(f"{name}: {tried[-1].error():.1f} points fitted, {tried[-1].held_out_error():.1f} held out")
    best = min(tried, key=lambda each: each.held_out_error())
    result = report(config, tried, best, resamples(config, best))
    (folder / "calibration.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    from atesd.calibrate import figure as calibration_figure

    calibration_figure.draw(over.runs, best.sweep.curves(best.whole), result, folder / "calibration.png")
    return result


def resamples(config: CalibrateConfig, best: Calibration) -> list[Calibration]:
    """Return the chosen family's fits to resampled runs; none where a policy has one run."""
    if min(own.sum() for own in best.sweep.members) < 2:
        return []
    generator = np.random.default_rng(config.seed)
    found = []
    for done in range(1, config.resamples + 1):
        found.append(calibrated(best.whole.family, best.sweep.resampled(generator), best.whole))
        if done % 20 == 0:
            _say(f"{done} of {config.resamples} resamples")
    return found


def report(
    config: CalibrateConfig, tried: list[Calibration], best: Calibration, again: list[Calibration]
) -> dict[str, Any]:
    """Return what ``calibration.json`` holds."""
    over, law = best.sweep, best.whole.law
    updates = len(over.runs[0].exposures)
    fixed = best_fixed(law, updates)[1]
    correlations = best.correlations()
    drawn = [each.correlations() for each in again]
    return {
        "settings": OmegaConf.to_container(OmegaConf.structured(config)),
        "runs": [
            {"folder": str(run.folder), "policy": run.policy, "seed": run.seed, "commit": run.commit}
            for run in over.runs
        ],
        "family": best.whole.family,
        "law": asdict(law),
        "constants": constants(best, again),
        "candidates": [
            {"family": each.whole.family, "fitted": each.error(), "held_out": each.held_out_error()} for each in tried
        ],
        "policies": policies(best),
        "rank_correlation": {
            name: {"value": value, **interval([one[name] for one in drawn])} for name, value in correlations.items()
        },
        "best_exposure": {
            "sweep": leader(over),
            "agreeing": float(np.mean([leader(each.sweep) == leader(over) for each in again])) if again else None,
            "law": {"value": best.best_exposure(), **interval([each.best_exposure() for each in again])},
        },
        "headroom": 100 * float((optimum(law, updates) - fixed)[0]),
        "probe": best.probe() | {"noise_interval": interval([each.probe()["noise"] for each in again])},
    }


def constants(best: Calibration, again: list[Calibration]) -> dict[str, dict[str, Any]]:
    """Return value, interval and bound of each fitted constant."""
    family = best.whole.family
    low, high, _ = candidates.ranges(family, best.sweep.target.gap)
    near = 1e-3 * (high - low)
    values = best.whole.values
    found = {}
    for i, name in enumerate(candidates.FREE[family]):
        bounds = {"low": values[i] < low[i] + near[i], "high": values[i] > high[i] - near[i]}
        drawn = interval([float(each.whole.values[i]) for each in again])
        bound = next((which for which, there in bounds.items() if there), None)
        found[name] = {"value": float(values[i]), **drawn, "bound": bound}
    return found


def policies(best: Calibration) -> list[dict[str, Any]]:
    """Return each policy's measured and predicted final accuracy."""
    over = best.sweep
    columns = [over.measured(), over.predicted(best.whole), best.held_out_predictions()]
    names = ("measured", "fitted", "held_out")
    return [
        {"policy": policy, "runs": int(own.sum())} | dict(zip(names, values, strict=True))
        for policy, own, *values in zip(over.policies, over.members, *columns, strict=True)
    ]


def leader(over: Sweep) -> str:
    """Return the policy of the highest measured final accuracy, the first of equals."""
    return over.policies[int(np.argmax(over.measured()))]


def interval(values: Sequence[float | None]) -> dict[str, float | None]:
    """Return the 95 % percentile interval; None without values, or where one is None.

    >>> interval([float(value) for value in range(41)])
    {'low': 1.0, 'high': 39.0}
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return {"low": None, "high": None}
    low, high = np.quantile(known, [0.025, 0.975]).tolist()
    return {"low": low, "high": high}


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the result as text."""
    yield f"{'family':<12}{'fitted':>8}{'held out':>10}   (root mean square error, points)"
    for row in result["candidates"]:
        chosen = "  chosen" if row["family"] == result["family"] else ""
        yield f"{row['family']:<12}{row['fitted']:>8.2f}{row['held_out']:>10.2f}{chosen}"
    yield f"\n{'constant':<12}{'value':>9}  95 % interval"
    for name, found in result["constants"].items():
        bound = f"  on its {found['bound']} bound" if found["bound"] else ""
        yield f"{name:<12}{found['value']:>9.4f}  {_span(found, '.4f')}{bound}"
    yield f"\n{'policy':<16}{'runs':>5}{'measured':>10}{'fitted':>8}{'held out':>10}"
    for row in result["policies"]:
        yield "{policy:<16}{runs:>5}{measured:>10.3f}{fitted:>8.3f}{held_out:>10.3f}".format(**row)
    yield ""
    for name, found in result["rank_correlation"].items():
        value = "undefined" if found["value"] is None else f"{found['value']:+.2f}"
        yield f"rank correlation with the sweep, {name:<9} {value}  {_span(found, '+.2f')}"
    best, probe = result["best_exposure"], result["probe"]
    law = f"{best['law']['value']:.2f} {_span(best['law'], '.2f')}"
    yield f"best exposure: {best['sweep']} in the sweep, {law} of the law"
    yield f"adapting could gain {result['headroom']:.2f} points over that under the law"
    if probe["noise"] is None:
        yield "the probe does not fall as competence rises: no noise of the league resembles this task"
    else:
        yield "noise {noise:.4f} of readings {lag} updates apart, {noise_adjacent:.4f} of neighbours".format(**probe)
        yield "{misfit:.4f} with what the law misses".format(**probe)


def _span(found: dict[str, Any], form: str) -> str:
    return "-" if found["low"] is None else f"[{found['low']:{form}}, {found['high']:{form}}]"


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def arguments(words: Sequence[str]) -> tuple[list[Path], DictConfig]:
    """Return the run folders and the settings among the words of a command line.

    A folder's name may hold ``=``, as those of sweeps do: what exists as a folder, or has a slash before its first
    ``=``, or none, is a run.
    """
    named = [word for word in words if word not in HELP]
    runs = [word for word in named if Path(word).is_dir() or "=" not in word.partition("/")[0]]
    given = dotlist([word for word in words if word not in runs])
    if OmegaConf.is_list(given.get("families")):  # YAML reads the family null as nothing
        given.families = [NULL if name is None else name for name in given.families]
    return [Path(word) for word in runs], given


def main() -> None:
    """Read run folders and ``key=value`` settings from the command line."""
    folders, given = arguments(sys.argv[1:])
    config = settings(CalibrateConfig, given)
    if not folders:
        raise UserError("no runs given; add folders that python -m atesd.run wrote to the command")
    quiet()
    for line in lines(calibrate(config, run_folders(folders))):
        print(line)
    where = Path(config.output_dir) / "calibration.json"
    print(f"play on it: python -m atesd.run model=surrogate model.family={where} …")


if __name__ == "__main__":
    run_main(main)
