"""Teacher-student curriculum learning: play what changes fastest (Matiisen et al. 2017, arXiv 1707.00183).

    slope(k) = least-squares slope of k's last ``memory`` scores over their decisions
    p = (1 - epsilon) softmax(|slope| / temperature) + epsilon / K

The paper's window algorithm, with its Boltzmann and its epsilon-greedy play in one rule. The absolute slope also goes
after levels that get worse, which the paper wants against forgetting. Its scores are a task's test results; ours are a
level's standardised rewards, themselves progress, so the slope is how progress *changes*: a literal transfer, not one
we would expect to win.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Observation, Setting
from atesd.registry import register
from controllers.bandit import Bandit, BanditConfig, softmax
from controllers.history import Table


@register("controller", "tscl")
@dataclass
class TsclConfig(BanditConfig):
    """Attributes:
    memory: scores per level in its slope, at least 2. ours: a level is played about six times in a run
    temperature: in standard deviations of the reward per window. ours: scores of one level lie about five windows apart
    epsilon: share of uniform play. ours
    """

    memory: int = 4
    temperature: float = 0.2
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 2:
            raise UserError(f"controller.memory must be at least 2, got {self.memory}; one score has no slope")
        if not self.temperature > 0:
            raise UserError(f"controller.temperature must be above 0, got {self.temperature}")
        if not 0 <= self.epsilon <= 1:
            raise UserError(f"controller.epsilon must lie in [0, 1], got {self.epsilon}; 1 is uniform play")

    def controller(self, setting: Setting) -> Tscl:
        return Tscl(setting, self)


class Tscl(Bandit):
    """Plays levels by the softmax of the absolute slopes of their rewards."""

    def __init__(self, setting: Setting, config: TsclConfig) -> None:
        super().__init__(setting, config.levels)
        self.config = config

    def policy(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        arms = len(self.levels_K)
        slope_K = np.zeros(arms)
        for arm in range(arms):
            newest = np.flatnonzero(table.known & (table.arms == arm))[-self.config.memory :]
            slope_K[arm] = slope(table.decisions[newest], table.scores[newest])
        boltzmann_K = softmax(np.abs(slope_K), self.config.temperature)
        return (1 - self.config.epsilon) * boltzmann_K + self.config.epsilon / arms


def slope(times_N: NDArray[np.int64], scores_N: NDArray[np.float64]) -> float:
    """Return the least-squares slope of scores over times; 0 for fewer than two.

    >>> slope(np.array([0, 2, 4]), np.array([1.0, 2.0, 3.0])), slope(np.array([7]), np.array([1.0]))
    (0.5, 0.0)
    """
    if len(times_N) < 2:
        return 0.0
    centred_N = times_N - times_N.mean()
    return float(centred_N @ scores_N / (centred_N @ centred_N))
