"""LinUCB with one linear model of the reward for all levels (Li et al. 2010, arXiv 1003.0146).

    x = [1, s, e, e^2, e * s],   V = X'X + ridge I,   theta = V^-1 X'r,   index = x'theta + width * sqrt(x' V^-1 x)

s is the observation and e the exposure, counted from 1/2 so that both ends are equally far. theta comes from the
rewards that have arrived, the width from all choices: what a choice will tell is known before its reward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Observation, Setting
from atesd.registry import register
from controllers.bandit import BanditConfig, IndexBandit
from controllers.history import Table


@register("controller", "lin_ucb")
@dataclass
class LinUcbConfig(BanditConfig):
    """Attributes:
    ridge: of the regression. ours: exposure and its square are small numbers, whose weights a 1 would hold near 0
    width: standard deviations of the reward per unit of confidence width. ours: 15 features in 30 windows want haste
    """

    ridge: float = 0.1
    width: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ridge > 0:
            raise UserError(f"controller.ridge must be above 0, got {self.ridge}; there are more features than rewards")
        if not self.width >= 0:
            raise UserError(f"controller.width must be 0 or more, got {self.width}")

    def controller(self, setting: Setting) -> LinUcb:
        return LinUcb(setting, self)


class LinUcb(IndexBandit):
    """Plays the level that the linear model, on the side of hope, rates highest."""

    def __init__(self, setting: Setting, config: LinUcbConfig) -> None:
        super().__init__(setting, config.levels)
        self.config = config

    def indices(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        arms = len(self.levels_K)
        x_KF = features(self.levels_K, np.tile(observation.astype(np.float64), (arms, 1)))
        if not len(table.arms):
            return np.asarray(self.config.width * np.sqrt((x_KF**2).sum(axis=1) / self.config.ridge))
        chosen_NF = features(self.levels_K[table.arms], table.observations)
        known_MF = chosen_NF[table.known]
        ridge_FF = self.config.ridge * np.eye(x_KF.shape[1])
        theta_F = np.linalg.solve(known_MF.T @ known_MF + ridge_FF, known_MF.T @ table.scores[table.known])
        spread_FK = np.linalg.solve(chosen_NF.T @ chosen_NF + ridge_FF, x_KF.T)
        return np.asarray(x_KF @ theta_F + self.config.width * np.sqrt((x_KF.T * spread_FK).sum(axis=0)))


def features(levels_N: NDArray[np.float64], observations_NO: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [1, s, e, e^2, e * s] per row, [N, 3 + 2 O].

    >>> features(np.array([1.0]), np.array([[3.0]])).tolist()
    [[1.0, 3.0, 0.5, 0.25, 1.5]]
    """
    e_N1 = levels_N[:, None] - 0.5
    return np.hstack([np.ones_like(e_N1), observations_NO, e_N1, e_N1**2, e_N1 * observations_NO])
