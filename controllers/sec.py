"""A value per level that follows its rewards, and Boltzmann play: SEC's bandit (Chen et al. 2025, arXiv 2505.14970).

    Q(k) <- Q(k) + rate * (reward - Q(k)),   p = softmax(Q / temperature)

The constant rate is TD(0) for a bandit and forgets exponentially. SEC's reward is the mean absolute advantage of the
policy gradient; a distilled student has none, so ours is the standardised reward of the decision.
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


@register("controller", "sec")
@dataclass
class SecConfig(BanditConfig):
    """Attributes:
    rate: of the values. ours: a level is played about six times in a run, so its value must move fast
    temperature: in standard deviations of the reward. ours
    """

    rate: float = 0.3
    temperature: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate <= 1:
            raise UserError(f"controller.rate must lie in (0, 1], got {self.rate}; 1 keeps the last reward only")
        if not self.temperature > 0:
            raise UserError(f"controller.temperature must be above 0, got {self.temperature}")

    def controller(self, setting: Setting) -> Sec:
        return Sec(setting, self)


class Sec(Bandit):
    """Plays levels by the softmax of their values."""

    def __init__(self, setting: Setting, config: SecConfig) -> None:
        super().__init__(setting, config.levels)
        self.config = config

    def policy(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        value_K = np.zeros(len(self.levels_K))
        for arm, score in zip(table.arms[table.known], table.scores[table.known], strict=True):
            value_K[arm] += self.config.rate * (score - value_K[arm])
        return softmax(value_K, self.config.temperature)
