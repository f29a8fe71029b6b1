"""EXP3.S: exponential weights that make no assumption on how rewards drift (Auer et al. 2002, SIAM J. Computing 32).

    p = (1 - exploration) w / sum(w) + exploration / K
    w(k) <- w(k) * exp(rate * gain / p(k)) for the arm played, then w <- w + e * share / K * sum(w)

Gains must be bounded: ours are the normal distribution function of the standardised reward, less 1/2, which leaves what
is expected of any two arms' difference as it is and lowers its variance. The article has rate = exploration / K, which
hardly moves in tens of windows, so ours is a setting. A reward updates with the probability its arm had when it was
played; late ones are taken in the order of their decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Observation, Setting
from atesd.registry import register
from controllers.bandit import Bandit, BanditConfig
from controllers.history import Table


@register("controller", "exp3s")
@dataclass
class Exp3sConfig(BanditConfig):
    """Attributes:
    exploration: share of uniform play. ours
    rate: of the log weights. ours: a better-than-average reward of a level at 1/5 about doubles its weight
    share: of the total weight that the arms regain per reward, times e. ours
    """

    exploration: float = 0.2
    rate: float = 0.5
    share: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.exploration <= 1:
            raise UserError(f"controller.exploration must lie in (0, 1], got {self.exploration}; 1 is uniform play")
        if not 0 < self.rate < math.inf:
            raise UserError(f"controller.rate must be a finite number above 0, got {self.rate}")
        if not 0 <= self.share <= 1:
            raise UserError(f"controller.share must lie in [0, 1], got {self.share}; 0 never forgets")

    def controller(self, setting: Setting) -> Exp3s:
        return Exp3s(setting, self)


class Exp3s(Bandit):
    """Plays levels in proportion to their exponential weights, with some uniform play."""

    def __init__(self, setting: Setting, config: Exp3sConfig) -> None:
        super().__init__(setting, config.levels)
        self.config = config

    def policy(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        return exponential_weights(
            table, len(self.levels_K), self.config.exploration, self.config.rate, self.config.share
        )


def exponential_weights(table: Table, arms: int, exploration: float, rate: float, share: float) -> NDArray[np.float64]:
    """Return the probability [K] of each arm after the rewards that have arrived."""
    weights_K = np.full(arms, 1 / arms)
    known = table.known
    from scipy.special import ndtr

    rewarded = zip(table.arms[known], ndtr(table.scores[known]) - 0.5, table.probabilities[known], strict=True)
    for arm, gain, probability in rewarded:
        regained = math.e * share / arms * weights_K.sum()
        weights_K[arm] *= math.exp(rate * gain / probability)
        weights_K = (weights_K + regained) / (weights_K + regained).sum()
    return (1 - exploration) * weights_K + exploration / arms
