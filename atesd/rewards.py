"""The reward of a decision, from what was measured after each student update. Pure functions, checkable by hand.

Paper: R = G_lp + weight * G_gt over a look-ahead of L student updates, with discount gamma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Reading

Series = NDArray[np.float64]


class Kind(Enum):
    """Over how many updates, and how, progress is credited to a decision (the paper's reward ablation)."""

    lookahead = "lookahead"
    short_delay = "short_delay"
    one_step = "one_step"


class ProgressSignal(Enum):
    """What is measured as l. The paper says "loss"; it does not say of what.

    ``loss`` is that of the update's own batch, taken before its optimizer step: it lags the others by one update, and
    with ``one_step`` it pays the first decision for no learning at all.
    """

    probe_nll = "probe_nll"
    loss = "loss"
    probe_success = "probe_success"
    answer_nll = "answer_nll"


class Progress(Enum):
    """How a change of l counts: drops only (paper), drops and rises, or drops of the smoothed l."""

    rectified = "rectified"
    signed = "signed"
    smoothed = "smoothed"


@dataclass
class RewardConfig:
    """What a decision is paid for.

    Attributes:
        kind: ``lookahead`` (paper); ``short_delay``: undiscounted over one hold window, and ``one_step``: the first
            update only, both without the teacher-grounded term (the paper names these ablations, not their details).
        signal: what l is. ours: the student's NLL on the probe set, which does not depend on exposure.
        progress: how changes of l count. ``rectified`` is the paper's. ``signed`` is ours, and the default because it
            agrees best with the true gain of a decision (EXPERIMENTS.md).
        discount: gamma per student update. ours: unknown in the paper.
        lookahead: L, student updates. ours: unknown in the paper.
        grounding: weight of the teacher-grounded term, unknown in the paper. 0 leaves it out, and is the default (ours)
            because rewards agree better with the true gain without it; 0.1 is what we take for the paper's.
        smoothing: weight of the newest l in the running average of ``smoothed``. ours
        probe_problems: size of the probe set. ours
    """

    kind: Kind = Kind.lookahead
    signal: ProgressSignal = ProgressSignal.probe_nll
    progress: Progress = Progress.signed
    discount: float = 0.9
    lookahead: int = 8
    grounding: float = 0.0
    smoothing: float = 0.5
    probe_problems: int = 96

    def __post_init__(self) -> None:
        if not 0 <= self.discount <= 1:
            raise UserError(f"reward.discount must lie in [0, 1], got {self.discount}; 0 credits the first update only")
        if self.lookahead < 1:
            raise UserError(f"reward.lookahead must be at least 1 student update, got {self.lookahead}")
        if not math.isfinite(self.grounding):
            raise UserError(f"reward.grounding must be a finite number, got {self.grounding}; 0 leaves the term out")
        if not 0 < self.smoothing <= 1:
            raise UserError(f"reward.smoothing must lie in (0, 1], got {self.smoothing}; 1 smooths nothing")
        if self.probe_problems < 1:
            raise UserError(f"reward.probe_problems must be at least 1, got {self.probe_problems}")

    def rule(self, hold_window: int) -> RewardRule:
        """Return the formula these settings select."""
        span, discount, grounding = {
            Kind.lookahead: (self.lookahead, self.discount, self.grounding),
            Kind.short_delay: (hold_window, 1.0, 0.0),
            Kind.one_step: (1, 1.0, 0.0),
        }[self.kind]
        return RewardRule(span, discount, grounding, self.progress, self.smoothing)


@dataclass(frozen=True)
class RewardParts:
    """A reward and the terms it is the sum of."""

    total: float
    learning_progress: float
    teacher_grounded: float


@dataclass(frozen=True)
class RewardRule:
    """The reward of one decision, given the reading at the decision and those of the ``span`` updates after it."""

    span: int
    discount: float
    grounding: float
    progress: Progress
    smoothing: float

    def __call__(self, readings: Sequence[Reading]) -> RewardParts:
        """Return the reward of ``span`` + 1 readings; a shorter series is judged by what it has.

        A method without a teacher has no teacher-grounded term.
        """
        signal = [reading.progress_signal for reading in readings]
        scores = [r.teacher_log_prob for r in readings[1:] if r.teacher_log_prob is not None]
        gains, grounded = (float(term) for term in self.terms(np.array(signal), np.array(scores, np.float64)))
        return RewardParts(gains + self.grounding * grounded, gains, grounded)

    def totals(self, signal: Series, log_probs: Series) -> Series:
        """Return the rewards [N] of N runs side by side, from signals [span + 1, N] and log-probabilities [span, N]."""
        gains, grounded = self.terms(signal, log_probs)
        return np.asarray(gains + self.grounding * grounded)

    def terms(self, signal: Series, log_probs: Series) -> tuple[Series, Series]:
        """Return the learning-progress and the teacher-grounded term; without log-probabilities the latter is 0."""
        gains = learning_progress(signal, self.discount, self.progress, self.smoothing)
        return gains, teacher_grounded(log_probs, self.discount) if len(log_probs) else np.zeros(signal.shape[1:])


def learning_progress(
    signal: Sequence[float] | Series, discount: float, progress: Progress, smoothing: float = 1.0
) -> Series:
    """Return G_lp = sum over i = 1..L of discount^(i-1) * f(l_(i-1) - l_i), where f keeps drops only unless signed.

    The first axis is time; further axes hold runs side by side.

    >>> float(learning_progress([1.0, 0.5, 0.75, 0.5], 0.5, Progress.rectified))
    0.5625
    >>> float(learning_progress([1.0, 0.5, 0.75, 0.5], 0.5, Progress.signed))
    0.4375
    """
    values = np.asarray(signal, dtype=np.float64)
    if progress is Progress.smoothed:
        values = running_average(values, smoothing)
    drops = values[:-1] - values[1:]
    if progress is not Progress.signed:
        drops = np.maximum(drops, 0.0)
    return np.asarray(discount ** np.arange(len(drops)) @ drops)


def teacher_grounded(log_probs: Sequence[float] | Series, discount: float) -> Series:
    """Return G_gt, the discounted weighted mean of the teacher's log-probabilities after each update.

    >>> float(teacher_grounded([-1.0, -4.0], 0.5))
    -2.0
    """
    weights = discount ** np.arange(len(log_probs))
    return np.asarray(weights @ np.asarray(log_probs, dtype=np.float64) / weights.sum())


def running_average(values: np.ndarray, newest: float) -> np.ndarray:
    """Return the exponential running average, started at the first value.

    >>> running_average(np.array([1.0, 0.0, 0.0]), 0.5).tolist()
    [1.0, 0.5, 0.25]
    """
    averages = [values[0]]
    for value in values[1:]:
        averages.append((1 - newest) * averages[-1] + newest * value)
    return np.array(averages)
