"""Discounted UCB: the past fades (Kocsis and Szepesvari 2006; Garivier and Moulines 2008, arXiv 0805.3415)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Setting
from atesd.registry import register
from controllers.ucb import Ucb, UcbConfig


class DUcb(Ucb):
    """weight(age) = discount^(age - 1)."""

    def __init__(self, setting: Setting, levels: list[float], exploration: float, discount: float) -> None:
        super().__init__(setting, levels, exploration)
        self.discount = discount

    def weights(self, ages_N: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(self.discount ** (ages_N - 1.0))


@register("controller", "d_ucb")
@dataclass
class DUcbConfig(UcbConfig):
    """Attributes:
    discount: weight of a window relative to the next one. ours: 0.95 remembers about 20 windows.
    """

    discount: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.discount <= 1:
            raise UserError(f"controller.discount must lie in (0, 1], got {self.discount}; 1 is controller=ucb1")

    def controller(self, setting: Setting) -> DUcb:
        return DUcb(setting, self.levels, self.exploration, self.discount)
