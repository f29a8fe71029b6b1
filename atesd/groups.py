"""Difficulty groups: equal shares of problems, from what the student finds easy to what it finds hard.

The difficulty of a problem is the NLL, in nats over the whole completion, that the student as it is now gives the
problem's reference after the bare prompt: exp(-NLL) is its probability of writing just that. No oracle is asked (not
the number of steps), and no history either, since the training problems of the testbed never come twice. ours: the
paper names one exposure for a whole batch as its limitation, and does not say how to lift it.

Training problems are cut at running quantiles of the training stream, so that groups follow the student as it learns.
Probe problems are cut once, by the base student: a problem that changed its group would pass for progress.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Weight of the newest update's quantiles in the running ones, as in the observation's averages. ours
NEWEST = 0.2


class RunningQuantiles:
    """The thresholds between ``groups`` equal groups of a stream of numbers that comes in batches.

    >>> quantiles = RunningQuantiles(3)
    >>> quantiles.include([1.0, 2.0, 3.0, 4.0])
    >>> quantiles.thresholds, quantiles.groups_of([0.0, 2.0, 2.5, 9.0])
    ([2.0, 3.0], [0, 0, 1, 2])
    >>> quantiles.include([11.0, 12.0, 13.0, 14.0])
    >>> quantiles.thresholds
    [4.0, 5.0]
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.thresholds: list[float] = []

    def include(self, values: Sequence[float]) -> None:
        """Move the thresholds towards the quantiles of one batch; the first batch sets them."""
        newest = np.quantile(values, np.arange(1, self.groups) / self.groups)
        old = np.array(self.thresholds) if self.thresholds else newest
        self.thresholds = (old + NEWEST * (newest - old)).tolist()

    def groups_of(self, values: Sequence[float]) -> list[int]:
        """Return the group of each value; one that equals a threshold belongs below it."""
        groups: list[int] = np.searchsorted(self.thresholds, values).tolist()
        return groups


def equal_shares(values: Sequence[float], groups: int) -> list[list[int]]:
    """Return the indices of ``values`` in ``groups`` shares from low to high, whose sizes differ by at most one.

    The indices of a share are in their own order; of equal values the first is the lower.

    >>> equal_shares([5.0, 1.0, 3.0, 4.0], 2), equal_shares([5.0, 1.0, 3.0], 1)
    ([[1, 2], [0, 3]], [[0, 1, 2]])
    """
    order = np.argsort(values, kind="stable")
    return [sorted(share.tolist()) for share in np.array_split(order, groups)]
