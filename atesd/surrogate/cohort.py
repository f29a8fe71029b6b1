"""N surrogate students in step, each seen as the environment would show it: the vector environment and the league."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atesd.observation import DECAY, NEUTRAL_EXPOSURE, squash
from atesd.rewards import RewardRule
from atesd.surrogate.law import CHANNELS, Law, Per, Surrogates, Values

# The observation's running averages, after the exposure's.
_SEEN = [CHANNELS.index(name) for name in ("loss", "mismatch", "probe_nll", "confidence")]
_PROBE, _TEACHER = CHANNELS.index("probe_nll"), CHANNELS.index("teacher_log_prob")


class Cohort:
    """Students of one family with their readings so far, their observations and their rewards; the signal is the probe.

    Args: as for ``Surrogates``.
    """

    def __init__(self, law: Law, seeds: NDArray[np.int64], updates: int, noise: float) -> None:
        self.students = Surrogates(law, seeds, updates, noise)
        self.readings = [self.students.read(NEUTRAL_EXPOSURE)]
        self.averages = self._entries(NEUTRAL_EXPOSURE)

    @property
    def updates_done(self) -> int:
        return self.students.update_count

    def hold(self, exposure: Per, hold_window: int) -> None:
        """Teach every student for one hold window at its exposure [N]; the run's last window may be shorter."""
        for _ in range(min(hold_window, self.students.updates - self.updates_done)):
            self.readings.append(self.students.teach(exposure))
            self.averages = DECAY * self.averages + (1 - DECAY) * self._entries(exposure)

    def observations(self) -> NDArray[np.float32]:
        """Return what ``ExposureEnv`` would show of each student [N, 6]."""
        exposure, loss, mismatch, probe, confidence = self.averages
        progress = np.full_like(exposure, self.updates_done / self.students.updates)
        rows = [progress, exposure, squash(loss), mismatch, squash(probe), confidence]
        return np.stack(rows, axis=1).astype(np.float32)

    def rewards(self, rule: RewardRule, first: int, last: int) -> Values:
        """Return the reward [N] of what happened between the readings after updates ``first`` and ``last``."""
        readings = np.stack(self.readings[first : last + 1])
        return rule.totals(readings[:, _PROBE], readings[1:, _TEACHER])

    def _entries(self, exposure: Per) -> Values:
        reading = self.readings[-1]
        return np.concatenate([np.broadcast_to(exposure, (1, reading.shape[1])), reading[_SEEN]])
