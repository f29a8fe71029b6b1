"""Surrogate students: a closed-form law of learning whose best exposure is known, for thousands of runs per second.

A student is its competence c in [0, 1]. One student update at exposure e, with u = 1 - c the share still to learn:

    best    = clip(centre + slope * c + (jump once half of the run is done), 0, 1)
    fit     = exp(-max(0, |e - best| - band)^2 / (2 width^2))
    drive'  = inertia * drive + (1 - inertia) * (floor + (1 - floor) * fit)
    debt'   = memory * debt + e^2
    u'      = u * (1 - rate * drive') * exp(harm * debt')

Every family is this law with other constants; the laws and all constants are ours. No real student was fitted, unless
the constants come from a file that ``python -m atesd.calibrate`` wrote. ``start``, ``rate`` and ``centre`` vary from
student to student, keyed by the seed.

The best policy is known exactly. Without harm, u' rises with u and falls with drive', and the largest drive is in
reach at every update, so the exposure of the largest fit is optimal at each (induction from the last update). With harm
(and no inertia, slope or jump), log u at the end is a sum in which the exposure of update t stands alone, as
log(1 - rate * pull(e)) + harm * (1 + memory + ... + memory^(T-1-t)) * e^2, so the minimum of each term is optimal. Both
are one rule, ``best_exposure``, which searches the exposures ``LEVELS``. It may choose anew at every update; a policy
that holds an exposure for a window can reach at most as much.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.surrogate import draws
from atesd.surrogate.draws import Keys

Values = NDArray[np.float64]
Per = float | Values
"""One number for all students, or one per student."""

CHANNELS = ("probe_nll", "loss", "mismatch", "confidence", "teacher_log_prob")
LEVELS = np.linspace(0, 1, 401)
# What separates the draws of a student's constants from those of its readings and answers.
_START, _RATE, _CENTRE, _READINGS, _ANSWERS = range(5)


@dataclass(frozen=True)
class Law:
    """The constants of one family, each one number, or one per student.

    Attributes:
        start: competence of the base student.
        rate: share of what is left that one update at the best exposure teaches.
        centre, slope, jump: the best exposure, its change with competence, and its change in the run's second half.
        width, band: how far from the best exposure learning fades, and how far it does not fade at all.
        floor: share of the learning that happens at any exposure.
        inertia: share of the last update's drive that the next one keeps.
        harm, memory: what exposure squared costs, and how long the cost stays.
        noise_factor: multiplies the noise of the readings.
        spread: how much students differ: 1 as ``students`` says, 0 not at all.
    """

    start: Per = 0.3
    rate: Per = 0.0104
    centre: Per = 0.6
    slope: Per = 0.0
    jump: Per = 0.0
    width: Per = 0.2
    band: Per = 0.0
    floor: Per = 0.2
    inertia: Per = 0.0
    harm: Per = 0.0
    memory: Per = 0.0
    noise_factor: float = 1.0
    spread: float = 1.0

    def students(self, seeds: Keys) -> Law:
        """Return the law of the students with these seeds: start +-0.1, rate +-20 %, centre +-0.15, all uniform."""
        start, rate, centre = (self.spread * (2 * draws.uniforms(seeds, key) - 1) for key in (_START, _RATE, _CENTRE))
        return replace(
            self,
            start=self.start + 0.1 * start,
            rate=self.rate * (1 + 0.2 * rate),
            centre=self.centre + 0.15 * centre,
        )

    def pull(self, exposure: Per, competence: Per, progress: float) -> Values:
        """Return the drive an exposure gives at this competence and share of the run, in [floor, 1]."""
        moved = self.jump if progress >= 0.5 else 0.0
        best = np.clip(self.centre + self.slope * competence + moved, 0, 1)
        missed = np.maximum(np.abs(exposure - best) - self.band, 0)
        return np.asarray(self.floor + (1 - self.floor) * np.exp(-0.5 * (missed / self.width) ** 2))


NULL = "null"
FAMILIES = {
    "static": Law(),
    "rising": Law(centre=0.2, slope=0.8),
    "falling": Law(centre=0.9, slope=-0.8),
    "switch": Law(centre=0.25, jump=0.5),
    "plateau": Law(centre=0.5, band=0.2, width=0.1),
    "deceptive": Law(start=0.45, rate=0.006, centre=0.9, width=0.4, harm=0.00036, memory=0.96),
    "delayed": Law(inertia=0.9),
    "noisy": Law(noise_factor=5.0),
    NULL: Law(floor=1.0),
}


def family(name: str, key: str = "family") -> Law:
    """Return the law of a family, or the one in a file that ``python -m atesd.calibrate`` wrote.

    Raises:
        UserError: there is none of that name, or the file holds none.
    """
    if name.endswith(".json"):
        return _stored(Path(name), key)
    if name not in FAMILIES:
        raise UserError(f"{key}={name} is no surrogate family; known: {', '.join(FAMILIES)}, or a calibration.json")
    return FAMILIES[name]


def _stored(path: Path, key: str) -> Law:
    known = [field.name for field in fields(Law)]
    try:
        found = json.loads(path.read_text())["law"]
        constants = {name: float(found[name]) for name in known}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{key}={path} holds no law with numbers for {', '.join(known)}; give a calibration.json that python -m "
            "atesd.calibrate wrote"
        ) from error
    if not np.isfinite(list(constants.values())).all():
        raise UserError(f"{key}={path} holds a law with constants that are not finite; calibrate again")
    return Law(**constants)


@dataclass(frozen=True)
class Minds:
    """What changes in students as they learn: N entries each."""

    unlearned: Values
    drive: Values
    debt: Values


def base(law: Law) -> Minds:
    """Return the students before any update."""
    start = np.asarray(law.start, np.float64)
    return Minds(1 - start, np.zeros_like(start), np.zeros_like(start))


def learn(law: Law, minds: Minds, exposure: Per, progress: float) -> Minds:
    """Return the students after one update; ``progress`` is the share of the run's updates done before it."""
    pull = law.pull(exposure, 1 - minds.unlearned, progress)
    drive = law.inertia * minds.drive + (1 - law.inertia) * pull
    debt = law.memory * minds.debt + np.square(exposure)
    unlearned = minds.unlearned * (1 - law.rate * drive)
    if np.any(law.harm):  # spares the other families an exponential
        unlearned = np.minimum(unlearned * np.exp(law.harm * debt), 1.0)
    return Minds(unlearned, drive, debt)


def best_exposure(law: Law, minds: Minds, update: int, updates: int) -> Values:
    """Return the optimal exposure of each student for the next update, the ``update``-th (from 0) of ``updates``."""
    left = law.memory ** np.arange(updates - update)
    pull = law.pull(LEVELS[:, None], 1 - minds.unlearned, update / updates)
    cost = np.log1p(-law.rate * pull) + law.harm * left.sum() * np.square(LEVELS)[:, None]
    chosen: Values = LEVELS[np.argmin(cost, axis=0)]
    return chosen


def optimum(law: Law, updates: int) -> Values:
    """Return the final competence of each student under its best policy."""
    minds = base(law)
    for update in range(updates):
        minds = learn(law, minds, best_exposure(law, minds, update, updates), update / updates)
    return 1 - minds.unlearned


def best_fixed(law: Law, updates: int) -> tuple[Values, Values]:
    """Return each student's best constant exposure in hindsight and the final competence it gives, over ``LEVELS``."""
    minds = base(law)
    for update in range(updates):
        minds = learn(law, minds, LEVELS[:, None], update / updates)
    chosen = np.argmin(minds.unlearned, axis=0)
    return LEVELS[chosen], 1 - np.min(minds.unlearned, axis=0)


class Surrogates:
    """N students of one family, taught side by side and read through noise.

    Args:
        law: of the family.
        seeds: one per student [N].
        updates: student updates in the run; only ``switch`` needs to know.
        noise: standard deviation of a reading, in the reading's own unit.
    """

    def __init__(self, law: Law, seeds: NDArray[np.int64], updates: int, noise: float) -> None:
        self.seeds = seeds
        self.law = law.students(seeds)
        self.updates = updates
        self.noise = noise * law.noise_factor
        self.minds = base(self.law)
        self.update_count = 0

    @property
    def competence(self) -> Values:
        """Return the share of problems each student solves [N]."""
        return 1 - self.minds.unlearned

    def teach(self, exposure: Per) -> Values:
        """Make one student update and return its readings [len(CHANNELS), N]."""
        self.minds = learn(self.law, self.minds, exposure, self.update_count / self.updates)
        self.update_count += 1
        return self.read(exposure)

    def read(self, exposure: Per) -> Values:
        """Return the readings [len(CHANNELS), N] at this exposure; their noise is keyed by seed and update alone."""
        left = self.minds.unlearned
        exposure = np.broadcast_to(exposure, left.shape)
        readings = np.stack(
            [left, 0.3 * exposure * left, 0.02 + 0.3 * exposure * left, 0.95 - 0.5 * left, 0.04 * exposure - 0.05]
        )
        readings += self.noise * self._disturbances()
        np.clip(readings[2:4], 0, 1, out=readings[2:4])  # shares of tokens and probabilities
        return readings

    def answers(self, count: int) -> NDArray[np.bool_]:
        """Return whether each student solves each of ``count`` problems [N, count], with its competence as the odds."""
        return draws.uniforms(self.seeds[:, None], _ANSWERS, np.arange(count)) < self.competence[:, None]

    def _disturbances(self) -> Values:
        pairs = np.arange((len(CHANNELS) + 1) // 2)[:, None]
        normals = draws.normals(self.seeds, _READINGS, self.update_count, pairs)
        return np.concatenate(normals)[: len(CHANNELS)]
