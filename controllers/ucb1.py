"""UCB1: every past window counts the same (Auer, Cesa-Bianchi and Fischer 2002, Machine Learning 47)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.interfaces import Setting
from atesd.registry import register
from controllers.ucb import Ucb, UcbConfig


class Ucb1(Ucb):
    """weight(age) = 1."""

    def weights(self, ages_N: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.ones(len(ages_N))


@register("controller", "ucb1")
@dataclass
class Ucb1Config(UcbConfig):
    """The settings every UCB has."""

    def controller(self, setting: Setting) -> Ucb1:
        return Ucb1(setting, self.levels, self.exploration)
