"""What ATESD needs to know of each Stable-Baselines3 algorithm: its sizes, its first update, its log-probabilities.

SB3's defaults are made for 10^5 to 10^7 steps (PPO fills 2,048 before it updates, DQN copies its target after 10,000),
so none of them ever updates in a run of tens of windows. ``online_sizes`` fits them to the run; every value is ours.
The discount is 0 there: a reward of ATESD already looks ahead, and tens of windows cannot teach a value of the future.

Raffin et al., 2021, "Stable-Baselines3" (JMLR 22); TQC and RecurrentPPO: sb3-contrib.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atesd.errors import UserError
from atesd.interfaces import Setting

if TYPE_CHECKING:
    import torch

Sizes = dict[str, Any]
# A density over actions in [-1, 1] is half as high as the one over exposures in [0, 1].
LOG_STRETCH = math.log(2.0)
# Width of the two hidden layers, and of the LSTM. ours: SB3 has 64 to 400 for millions of steps
HIDDEN = 32


@dataclass(frozen=True)
class Draw:
    """An action of an SB3 policy with its log density over exposure (a log probability for DQN); None if certain."""

    action: float
    log_prob: float | None


@dataclass(frozen=True)
class Recipe(ABC):
    """How ATESD makes and reads models of one algorithm.

    Attributes:
        name: of the algorithm's class.
        package: where the class is.
        policy: SB3's name of the policy class.
    """

    name: str
    package: str = "stable_baselines3"
    policy: str = "MlpPolicy"

    discrete = False
    stochastic = True

    @abstractmethod
    def online_sizes(self, windows: int) -> Sizes:
        """Return the sizes that fit a run of so many windows; from 3 windows on they make at least one update."""

    @abstractmethod
    def practice_sizes(self) -> Sizes:
        """Return the sizes for training on thousands of surrogate windows."""

    @abstractmethod
    def first_update(self, sizes: Sizes, environments: int) -> float:
        """Return the finished windows at which the first gradient update happens; infinity for never."""

    @abstractmethod
    def blocking(self) -> tuple[str, ...]:
        """Return the settings that ``first_update`` depends on."""

    def model(self, env: Any, sizes: Sizes, seed: int) -> Any:
        """Return an untrained SB3 model on the CPU that logs nothing and writes nothing.

        Raises:
            UserError: SB3 refuses the sizes.
        """
        from stable_baselines3.common.logger import Logger

        make = getattr(importlib.import_module(self.package), self.name)
        shape, arguments = self.policy_settings(), self.arguments(sizes, env)
        try:
            made = make(self.policy, env, seed=seed, device="cpu", policy_kwargs=shape, **arguments)
        except (AssertionError, TypeError, ValueError) as refused:
            raise UserError(
                f"controller.settings: {self.name} refuses {sizes}: {' '.join(str(refused).split())}"
            ) from refused
        made.set_logger(Logger(folder=None, output_formats=[]))
        return made

    def policy_settings(self) -> Sizes:
        """Return the shape of the networks."""
        return {"net_arch": [HIDDEN, HIDDEN]}

    def arguments(self, sizes: Sizes, env: Any) -> Sizes:
        """Return the sizes as the class takes them."""
        return sizes

    @abstractmethod
    def log_prob(self, model: Any) -> float | None:
        """Return the log density over exposure of the action that ``model`` has just asked its environment for."""

    @abstractmethod
    def frozen(self, model: Any, features: torch.Tensor, memory: Any, sampled: bool) -> tuple[Draw, Any]:
        """Return an action of the model for features [1, N] without learning, and the memory for the next one."""


def sb3_seed(setting: Setting) -> int:
    """Return the seed of SB3's generators, in the range it takes."""
    return int(np.random.SeedSequence([setting.seed, 7919]).generate_state(1)[0])
