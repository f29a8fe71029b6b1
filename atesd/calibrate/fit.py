"""Least squares: the constants with which a family of surrogates passes through a sweep's evaluations.

Fitted is competence alone, which evaluations measure with an error that is known (binomial). The probe is not fitted:
what it has to do with competence is a question of its own (``atesd.probe_noise``). Real students of one sweep start
from the same weights, so all share the law's constants; what differs between their seeds is error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.calibrate import candidates
from atesd.calibrate.recordings import Recording
from atesd.surrogate.law import Law, base, learn

Values = NDArray[np.float64]
# Relative step of forward differences: about the square root of what a double resolves.
STEP = 1e-7


@dataclass(frozen=True)
class Fit:
    """A family's constants [K] and their weighted sum of squares."""

    family: str
    values: Values
    cost: float

    @property
    def law(self) -> Law:
        return candidates.law(self.family, self.values)


def competence(law: Law, exposures: Values) -> Values:
    """Return competence before and after each update [..., T + 1, R] of students with these exposures [T, R].

    >>> competence(Law(start=0.5, rate=0.1, centre=0.5), np.full((2, 1), 0.5))[:, 0].round(3).tolist()
    [0.5, 0.55, 0.595]
    """
    minds = base(law)
    shape = np.broadcast_shapes(np.shape(law.start), exposures.shape[1:])
    unlearned = [np.broadcast_to(minds.unlearned, shape)]
    for update, exposure in enumerate(exposures):
        minds = learn(law, minds, exposure, update / len(exposures))
        unlearned.append(np.broadcast_to(minds.unlearned, shape))
    return 1 - np.stack(unlearned, axis=-2)


class Target:
    """What is fitted: the evaluations of some runs, each weighted by its binomial error and the run's weight.

    Args:
        runs: of one sweep.
        weights: how often each run counts; default once.
    """

    def __init__(self, runs: Sequence[Recording], weights: Sequence[int] | None = None) -> None:
        counts = weights if weights is not None else [1] * len(runs)
        self.exposures = np.stack([run.exposures for run in runs], axis=1)
        self.updates = np.concatenate([run.updates for run in runs])
        self.columns = np.repeat(np.arange(len(runs)), [len(run.updates) for run in runs])
        self.accuracies = np.concatenate([run.accuracies for run in runs])
        problems = np.concatenate([run.problems for run in runs])
        # One success and one failure more, so that nobody who fails everything is known without error. ours
        share = (self.accuracies * problems + 1) / (problems + 2)
        errors = np.sqrt(share * (1 - share) / problems)
        self.gap = float(np.diff(np.unique(self.exposures), prepend=0, append=1).max())
        self.scale = np.sqrt(np.array(counts, np.float64))[self.columns] / errors

    def residuals(self, law: Law) -> Values:
        """Return by how many weighted errors each evaluation is missed [..., number of evaluations]."""
        predicted = competence(law, self.exposures)[..., self.updates, self.columns]
        return np.asarray((predicted - self.accuracies) * self.scale)

    @property
    def start(self) -> float:
        """Return the mean accuracy before training."""
        return float(self.accuracies[self.updates == 0].mean())


def fit(family: str, target: Target, starts: Sequence[Values] | None = None) -> Fit:
    """Return the best fit of a family; ``starts`` are the constants to search from, default the family's own."""
    tried = starts if starts is not None else candidates.starts(family, target.start)
    return min((_search(family, target, start) for start in tried), key=lambda found: found.cost)


def _search(family: str, target: Target, start: Values) -> Fit:
    from scipy import optimize

    low, high, _ = candidates.ranges(family, target.gap)

    def residuals(values: Values) -> Values:
        return target.residuals(candidates.law(family, values))

    def slopes(values: Values) -> Values:
        steps = STEP * np.where(values + STEP > high, -1.0, 1.0)
        laws = candidates.law(family, np.vstack([values, values + np.diag(steps)]))
        found = target.residuals(laws)
        return np.asarray(((found[1:] - found[0]) / steps[:, None]).T)

    inside = np.clip(start, low + 1e-6, high - 1e-6)
    found = optimize.least_squares(
        residuals, inside, slopes, (low, high), x_scale=high - low, ftol=1e-6, xtol=1e-6, max_nfev=50
    )
    return Fit(family, found.x, 2 * float(found.cost))
