"""Sliding-window UCB: only the newest windows count (Garivier and Moulines 2008, arXiv 0805.3415)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Setting
from atesd.registry import register
from controllers.ucb import Ucb, UcbConfig


class SwUcb(Ucb):
    """weight(age) = 1 up to ``memory`` decisions back, 0 before."""

    def __init__(self, setting: Setting, levels: list[float], exploration: float, memory: int) -> None:
        super().__init__(setting, levels, exploration)
        self.memory = memory

    def weights(self, ages_N: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(ages_N <= self.memory, dtype=np.float64)


@register("controller", "sw_ucb")
@dataclass
class SwUcbConfig(UcbConfig):
    """Attributes:
    memory: hold windows that count. ours: half a run of 30; the paper's 4 sqrt(T log T) would be longer than the run.
    """

    memory: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < len(self.levels):
            raise UserError(
                f"controller.memory must be at least the number of levels, {len(self.levels)}, got {self.memory}; "
                "a shorter one never compares them all"
            )

    def controller(self, setting: Setting) -> SwUcb:
        return SwUcb(setting, self.levels, self.exploration, self.memory)
