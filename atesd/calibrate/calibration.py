"""One family of surrogates fitted to a sweep: to all its runs, and to all but those of each policy in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atesd.calibrate import candidates
from atesd.calibrate.fit import Fit, Target, competence, fit
from atesd.calibrate.probe_noise import probe_noise
from atesd.calibrate.recordings import Recording
from atesd.oracle.agreement import spearman
from atesd.surrogate.law import best_fixed

Values = NDArray[np.float64]
# Readings whose mean is a run's final probe NLL. ours
LAST = 10


class Sweep:
    """The runs of a sweep, and how often each counts [R]."""

    def __init__(self, runs: Sequence[Recording], weights: NDArray[np.int64] | None = None) -> None:
        self.runs = runs
        self.weights = np.ones(len(runs), np.int64) if weights is None else weights
        self.policies = list(dict.fromkeys(run.policy for run in runs))
        self.members = [np.array([run.policy == policy for run in runs]) for policy in self.policies]
        self.target = self.target_of(np.ones(len(runs), np.bool_))

    def target_of(self, chosen: NDArray[np.bool_]) -> Target:
        """Return the chosen runs [R] as a fit takes them."""
        kept = np.flatnonzero(chosen & (self.weights > 0)).tolist()
        return Target([self.runs[i] for i in kept], [int(self.weights[i]) for i in kept])

    def by_policy(self, values: Values) -> list[float]:
        """Return the mean of runs' values [R] over the runs of each policy."""
        return [float(np.average(values[own], weights=self.weights[own])) for own in self.members]

    def measured(self) -> list[float]:
        """Return each policy's final accuracy."""
        return self.by_policy(np.array([run.accuracies[-1] for run in self.runs]))

    def curves(self, found: Fit) -> Values:
        """Return competence before and after each update [T + 1, R] under a fit."""
        return competence(found.law, np.stack([run.exposures for run in self.runs], axis=1))

    def predicted(self, found: Fit) -> list[float]:
        """Return each policy's final competence under a fit."""
        return self.by_policy(self.curves(found)[-1])

    def probes(self) -> list[float]:
        """Return each policy's final probe NLL."""
        return self.by_policy(np.array([run.probe[-LAST:].mean() for run in self.runs]))

    def resampled(self, generator: np.random.Generator) -> Sweep:
        """Return as many runs of each policy, drawn with replacement."""
        weights = np.zeros(len(self.runs), np.int64)
        for own in self.members:
            weights[own] = generator.multinomial(own.sum(), np.full(own.sum(), 1 / own.sum()))
        return Sweep(self.runs, weights)


@dataclass(frozen=True)
class Calibration:
    """A family's fit to all runs, and to all but those of each policy."""

    sweep: Sweep
    whole: Fit
    held_out: list[Fit]

    def error(self) -> float:
        """Return the root mean square error over evaluations in points."""
        return _points(self.sweep.target, self.whole)

    def held_out_error(self) -> float:
        """Return the same for policies that a fit has not seen, each policy counting the same."""
        missed = [
            _points(self.sweep.target_of(own), found)
            for own, found in zip(self.sweep.members, self.held_out, strict=True)
        ]
        return float(np.sqrt(np.mean(np.square(missed))))

    def held_out_predictions(self) -> list[float]:
        """Return each policy's final competence under the fit that has not seen it."""
        return [self.sweep.predicted(found)[i] for i, found in enumerate(self.held_out)]

    def correlations(self) -> dict[str, float | None]:
        """Return the rank correlation of measured final accuracy with each prediction, over policies."""
        measured = self.sweep.measured()
        predictions = {
            "fitted": self.sweep.predicted(self.whole),
            "held_out": self.held_out_predictions(),
            "probe": [-value for value in self.sweep.probes()],
        }
        return {name: spearman(measured, found) for name, found in predictions.items()}

    def best_exposure(self) -> float:
        """Return the best fixed exposure of the law."""
        return float(best_fixed(self.whole.law, len(self.sweep.runs[0].exposures))[0][0])

    def probe(self) -> dict[str, Any]:
        """Return what the probe says; noise at the look-ahead, or at what a shorter run holds twice."""
        probe = np.stack([run.probe for run in self.sweep.runs], axis=1)
        lag = min(int(self.sweep.runs[0].settings["reward.lookahead"]), (len(probe) - 1) // 2)
        return probe_noise(probe, 1 - self.sweep.curves(self.whole)[1:], self.sweep.weights, lag)


def _points(target: Target, found: Fit) -> float:
    missed = target.residuals(found.law) / target.scale
    return 100 * float(np.sqrt(np.mean(np.square(missed[target.updates > 0]))))


def calibrated(family: str, over: Sweep, near: Fit | None = None) -> Calibration:
    """Fit a family to all runs and without each policy; ``near`` is where to search instead of the family's starts."""
    starts = None if near is None else [near.values]
    whole = fit(family, over.target, starts)
    targets = [over.target_of(~own) for own in over.members]
    others = [] if near is not None else candidates.starts(family, over.target.start)
    return Calibration(over, whole, [fit(family, target, [whole.values, *others]) for target in targets])
