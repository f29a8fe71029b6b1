"""Discounted Thompson sampling with Gaussian rewards: each level is played as often as it is likely to be the best.

    n_k = sum of discount^age,  mean_k = weighted sum of rewards / (n_k + 1),  sd_k = noise / sqrt(n_k + 1)

(Discounted: Raj and Kalyani 2017, arXiv 1707.09727, for 0/1 rewards. Gaussian: Agrawal, Goyal 2013, arXiv 1209.3353.)
The probability that a level is the best comes from quadrature, and the level is drawn from it: the same distribution as
the best of one posterior draw per level, with the propensity known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Observation, Setting
from atesd.registry import register
from controllers.bandit import Bandit, BanditConfig
from controllers.history import Table

# The quadrature's points, and its reach in standard deviations. ours
POINTS, REACH = 801, 6.0


@register("controller", "discounted_ts")
@dataclass
class DiscountedTsConfig(BanditConfig):
    """Attributes:
    discount: weight of a window relative to the next one. ours: 0.95 remembers about 20 windows.
    noise: standard deviation of a reward around its level's mean, and of the prior, in standard deviations of all
        rewards. ours: below 1, as the levels make some of the spread, and as haste pays in a short run
    """

    discount: float = 0.95
    noise: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.discount <= 1:
            raise UserError(f"controller.discount must lie in (0, 1], got {self.discount}; 1 never forgets")
        if not self.noise > 0:
            raise UserError(f"controller.noise must be above 0, got {self.noise}")

    def controller(self, setting: Setting) -> DiscountedTs:
        return DiscountedTs(setting, self)


class DiscountedTs(Bandit):
    """Draws a level with its probability of being the best."""

    def __init__(self, setting: Setting, config: DiscountedTsConfig) -> None:
        super().__init__(setting, config.levels)
        self.config = config

    def policy(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        weights_N = self.config.discount ** (decision - table.decisions - 1.0) * table.known
        count_K = np.bincount(table.arms, weights_N, len(self.levels_K))
        mean_K = np.bincount(table.arms, weights_N * table.scores, len(self.levels_K)) / (count_K + 1)
        return best_probabilities(mean_K, self.config.noise / np.sqrt(count_K + 1))


def best_probabilities(mean_K: NDArray[np.float64], sd_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability [K] that each of K independent normals is the largest.

    >>> best_probabilities(np.array([1.0, 0.0]), np.array([0.6, 0.8])).round(6).tolist()  # ndtr(1 / 1)
    [0.841345, 0.158655]
    """
    grid_J = np.linspace((mean_K - REACH * sd_K).min(), (mean_K + REACH * sd_K).max(), POINTS)
    z_KJ = (grid_J - mean_K[:, None]) / sd_K[:, None]
    from scipy.special import ndtr

    below_KJ = ndtr(z_KJ)
    others_KJ = np.stack([np.delete(below_KJ, arm, axis=0).prod(axis=0) for arm in range(len(mean_K))])
    mass_K = (np.exp(-z_KJ * z_KJ / 2) / sd_K[:, None] * others_KJ).sum(axis=1)
    return np.asarray(mass_K / mass_K.sum())
