"""What the upper-confidence-bound bandits share: they differ only in how much the past weighs.

    index(k) = mean of k's rewards + exploration * sqrt(log(n) / n_k),   n = sum of n_k

with weighted means and counts; an arm without weight has index infinity. A mean is over the rewards that have arrived,
a count over the choices made, so that pending rewards neither count as bad nor invite more of the same. An arm whose
rewards are all on their way has the mean of all. Rewards are standardised, in place of the papers' range [0, 1].
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Observation, Setting
from controllers.bandit import BanditConfig, IndexBandit
from controllers.history import Table


@dataclass
class UcbConfig(BanditConfig):
    """Attributes:
    exploration: standard deviations of the reward per unit of confidence width. ours: about half of UCB1's sqrt(2) at
        a range of 1, as a run has but a handful of windows per level.
    """

    exploration: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.exploration >= 0:
            raise UserError(f"controller.exploration must be 0 or more, got {self.exploration}")


class Ucb(IndexBandit):
    """Plays the arm whose weighted mean could be the best."""

    def __init__(self, setting: Setting, levels: list[float], exploration: float) -> None:
        super().__init__(setting, levels)
        self.exploration = exploration

    @abstractmethod
    def weights(self, ages_N: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weight [N] of choices made ``ages`` decisions ago, 1 or more."""

    def indices(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        weights_N = self.weights(decision - table.decisions)
        arms = len(self.levels_K)
        count_K = np.bincount(table.arms, weights_N, arms)
        known_K = np.bincount(table.arms, weights_N * table.known, arms)
        total_K = np.bincount(table.arms, weights_N * table.scores, arms)
        mean_K = np.divide(total_K, known_K, out=np.zeros(arms), where=known_K > 0)
        width_K = np.full(arms, np.inf)
        np.divide(np.log(max(count_K.sum(), 1.0)), count_K, out=width_K, where=count_K > 0)
        return np.where(count_K > 0, mean_K + self.exploration * np.sqrt(width_K), np.inf)
