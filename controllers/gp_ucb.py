"""GP-UCB with a kernel that decays in time (Bogunovic, Scarlett and Cevher 2016, arXiv 1601.06650, TV-GP-UCB).

    k((e, t), (e', t')) = exp(-(e - e')^2 / (2 length^2)) * (1 - decay)^(|t - t'| / 2)
    index(e) = mean + width * sd,   posterior of a Gaussian process with this kernel and noise variance ``noise``

What is learned at one exposure speaks for its neighbours, which is what makes a continuum playable in tens of windows.
The mean is conditioned on the rewards that have arrived, the sd on all choices (Desautels, Krause and Burdick 2014,
JMLR 15): where a reward is pending there is no use in asking again. In numpy, as scikit-learn has no such kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import ControllerConfig, Observation, Setting
from atesd.registry import register
from controllers.bandit import IndexBandit
from controllers.history import Table


@register("controller", "gp_ucb")
@dataclass
class GpUcbConfig(ControllerConfig):
    """Settings, all ours.

    Attributes:
        candidates: exposures in the grid from 0 to 1, at least 2.
        length: of the kernel, in exposure.
        decay: share of the correlation lost over two windows, in [0, 1).
        noise: variance of a reward's noise; the process has 1, and so have the standardised rewards.
        width: standard deviations in the index.
    """

    candidates: int = 41
    length: float = 0.25
    decay: float = 0.03
    noise: float = 0.3
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise UserError(f"controller.candidates must be at least 2, got {self.candidates}; use fixed for one")
        if not 0 <= self.decay < 1:
            raise UserError(f"controller.decay must lie in [0, 1), got {self.decay}; 0 never forgets")
        if not (self.length > 0 and self.noise > 0 and self.width >= 0):
            raise UserError(
                "controller.length and controller.noise must be above 0 and controller.width 0 or more, got "
                f"{self.length}, {self.noise} and {self.width}"
            )

    def controller(self, setting: Setting) -> GpUcb:
        return GpUcb(setting, self)


class GpUcb(IndexBandit):
    """Plays the exposure that the Gaussian process, on the side of hope, rates highest."""

    def __init__(self, setting: Setting, config: GpUcbConfig) -> None:
        super().__init__(setting, np.linspace(0, 1, config.candidates).tolist())
        self.config = config

    def indices(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        chosen_N, grid_K = self.levels_K[table.arms], self.levels_K
        now_K = np.full(len(grid_K), decision)
        gram_NN = self.kernel(chosen_N, table.decisions, chosen_N, table.decisions)
        gram_NN += self.config.noise * np.eye(len(chosen_N))
        cross_NK = self.kernel(chosen_N, table.decisions, grid_K, now_K)
        known = table.known
        mean_K = cross_NK[known].T @ np.linalg.solve(gram_NN[np.ix_(known, known)], table.scores[known])
        variance_K = 1 - (cross_NK * np.linalg.solve(gram_NN, cross_NK)).sum(axis=0)
        return np.asarray(mean_K + self.config.width * np.sqrt(np.maximum(variance_K, 0)))

    def kernel(
        self,
        left_N: NDArray[np.float64],
        left_times_N: NDArray[np.int64],
        right_M: NDArray[np.float64],
        right_times_M: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Return the prior covariance [N, M] of the reward at two sets of (exposure, decision)."""
        apart_NM = (left_N[:, None] - right_M) / self.config.length
        ages_NM = np.abs(left_times_N[:, None] - right_times_M)
        return np.asarray(np.exp(-(apart_NM**2) / 2) * (1 - self.config.decay) ** (ages_NM / 2))
