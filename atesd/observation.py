"""What a controller sees of the run: six numbers in fixed bounds (paper, section 3; scales and decay are ours).

| index | name       | meaning                                                             | range   |
|-------|------------|---------------------------------------------------------------------|---------|
| 0     | progress   | share of the run's student updates done                             | [0, 1]  |
| 1     | exposure   | running average of the exposure asked for; 0.5 before any           | [0, 1]  |
| 2     | loss       | running average of the optimised loss, squashed                     | [-1, 1] |
| 3     | mismatch   | running average of the top-1 disagreement; 0 without a teacher      | [0, 1]  |
| 4     | probe      | running average of the probe NLL, nats per token, squashed          | [-1, 1] |
| 5     | confidence | running average of the probability the student gives its own tokens | [0, 1]  |

Squashed means x / (1 + |x|), which is monotone and bounded.
"""

from __future__ import annotations

import numpy as np

from atesd.interfaces import Observation, Reading, State

NAMES = ("progress", "exposure", "loss", "mismatch", "probe", "confidence")
LOW = np.array([0, 0, -1, 0, -1, 0], dtype=np.float32)
HIGH = np.ones(len(NAMES), dtype=np.float32)
# Weight of the past in the running averages, per student update. ours: unknown in the paper
DECAY = 0.8
NEUTRAL_EXPOSURE = 0.5


def squash(value: float) -> float:
    """Map a real number into (-1, 1).

    >>> squash(1.0), squash(-3.0)
    (0.5, -0.75)
    """
    return value / (1 + abs(value))


class RunningState:
    """Running averages of a run, started at the first reading."""

    def __init__(self, first: Reading) -> None:
        self.averages = self._entries(first, NEUTRAL_EXPOSURE)

    def include(self, reading: Reading, exposure: float) -> None:
        """Take in one student update."""
        entries = self._entries(reading, exposure)
        self.averages = [DECAY * old + (1 - DECAY) * new for old, new in zip(self.averages, entries, strict=True)]

    def observation(self, progress: float) -> Observation:
        exposure, loss, mismatch, probe, confidence = self.averages
        return np.array([progress, exposure, squash(loss), mismatch, squash(probe), confidence], dtype=np.float32)

    def state_dict(self) -> State:
        return {"averages": self.averages}

    def load_state_dict(self, state: State) -> None:
        self.averages = state["averages"]

    @staticmethod
    def _entries(reading: Reading, exposure: float) -> list[float]:
        mismatch = 0.0 if reading.mismatch is None else reading.mismatch
        return [exposure, reading.loss, mismatch, reading.probe_nll, reading.confidence]
