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
from enum import Enum
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
# Initial log standard deviation of the Gaussian policies, of actions in [-1, 1]: 0.18 of exposure. SB3 has 0, with
# which a third of the draws would be clipped to no or full exposure. ours
LOG_STD = -1.0


class Algorithm(Enum):
    """The algorithms of Stable-Baselines3 and sb3-contrib that ``controller.algo`` offers."""

    PPO = "PPO"
    A2C = "A2C"
    SAC = "SAC"
    TD3 = "TD3"
    DQN = "DQN"
    RecurrentPPO = "RecurrentPPO"
    TQC = "TQC"


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


class OnPolicy(Recipe):
    """A2C: an unbounded Gaussian over actions; the log density is that of the draw before clipping."""

    def online_sizes(self, windows: int) -> Sizes:
        rollout = max(2, min(8, windows // 6))
        return {"n_steps": rollout, "learning_rate": 3e-3, "gamma": 0.0, "normalize_advantage": True}

    def practice_sizes(self) -> Sizes:
        return {"n_steps": 16, "learning_rate": 1e-3, "gamma": 0.9, "normalize_advantage": True}

    def first_update(self, sizes: Sizes, environments: int) -> float:
        return float(sizes["n_steps"] * environments)

    def blocking(self) -> tuple[str, ...]:
        return ("n_steps",)

    def policy_settings(self) -> Sizes:
        return super().policy_settings() | {"log_std_init": LOG_STD}

    def model(self, env: Any, sizes: Sizes, seed: int) -> Any:
        made = super().model(env, sizes, seed)
        made.policy.register_forward_hook(_keep_log_prob)
        return made

    def log_prob(self, model: Any) -> float | None:
        return float(model.policy.newest_log_prob) + LOG_STRETCH

    def frozen(self, model: Any, features: torch.Tensor, memory: Any, sampled: bool) -> tuple[Draw, Any]:
        return _drawn(model.policy.get_distribution(features), sampled), None


class Proximal(OnPolicy):
    """PPO: several passes over each rollout, which in a run is one batch."""

    def online_sizes(self, windows: int) -> Sizes:
        return super().online_sizes(windows) | {"n_epochs": 4}

    def practice_sizes(self) -> Sizes:
        return super().practice_sizes() | {"n_steps": 64, "n_epochs": 5, "batch_size": 128}

    def first_update(self, sizes: Sizes, environments: int) -> float:
        return super().first_update(sizes, environments) if sizes["n_epochs"] else math.inf

    def blocking(self) -> tuple[str, ...]:
        return ("n_steps", "n_epochs")

    def arguments(self, sizes: Sizes, env: Any) -> Sizes:
        rollout = sizes["n_steps"] * env.num_envs
        batch = sizes.get("batch_size", rollout)
        if rollout % batch == 1:  # SB3 would divide by its standard deviation
            raise UserError(
                f"controller.settings.batch_size={batch} leaves one of a rollout's {rollout} windows in a batch of its "
                "own, and one advantage has no spread; choose a divisor"
            )
        return sizes | {"batch_size": batch}


class Recurrent(Proximal):
    """RecurrentPPO: PPO whose policy remembers."""

    def policy_settings(self) -> Sizes:
        return super().policy_settings() | {"lstm_hidden_size": HIDDEN}

    def frozen(self, model: Any, features: torch.Tensor, memory: Any, sampled: bool) -> tuple[Draw, Any]:
        import torch

        blank = [torch.zeros(model.policy.lstm_hidden_state_shape[0], 1, HIDDEN) for _ in range(2)]
        before = tuple(torch.tensor(part) for part in memory) if memory else tuple(blank)
        start = torch.tensor([0.0 if memory else 1.0])
        distribution, after = model.policy.get_distribution(features, before, start)
        return _drawn(distribution, sampled), [part.tolist() for part in after]


class OffPolicy(Recipe):
    """The algorithms with a replay buffer: uniform actions until ``learning_starts``, then the policy's."""

    def online_sizes(self, windows: int) -> Sizes:
        return self._sizes() | {
            "learning_starts": max(1, min(8, windows // 4)),
            "batch_size": 16,
            "gradient_steps": 4,
            "buffer_size": max(2, windows),
            "learning_rate": 3e-3,
            "gamma": 0.0,
        }

    def practice_sizes(self) -> Sizes:
        return self._sizes() | {
            "learning_starts": 512,
            "batch_size": 128,
            "gradient_steps": 4,
            "buffer_size": 50_000,
            "learning_rate": 1e-3,
            "gamma": 0.9,
        }

    def _sizes(self) -> Sizes:
        return {"train_freq": 1, "tau": 0.05}

    def first_update(self, sizes: Sizes, environments: int) -> float:
        if sizes["gradient_steps"] == 0:
            return math.inf
        between = sizes["train_freq"] * environments
        return float((sizes["learning_starts"] // between + 1) * between)

    def blocking(self) -> tuple[str, ...]:
        return ("learning_starts", "train_freq", "gradient_steps")

    def log_prob(self, model: Any) -> float | None:
        return (
            self.warm_up_log_prob(model) if model.num_timesteps < model.learning_starts else self.policy_log_prob(model)
        )

    def warm_up_log_prob(self, model: Any) -> float:
        """Return the log density of U(0, 1)."""
        return 0.0

    @abstractmethod
    def policy_log_prob(self, model: Any) -> float:
        """Return the log density over exposure of the policy's newest action."""


class Squashed(OffPolicy):
    """SAC and TQC: the tanh of a Gaussian."""

    def policy_log_prob(self, model: Any) -> float:
        newest = model.actor.action_dist
        return float(newest.log_prob(newest.gaussian_actions.tanh(), newest.gaussian_actions)) + LOG_STRETCH

    def frozen(self, model: Any, features: torch.Tensor, memory: Any, sampled: bool) -> tuple[Draw, Any]:
        action = model.actor(features, deterministic=not sampled)
        return Draw(float(action), self.policy_log_prob(model) if sampled else None), None


class Noisy(OffPolicy):
    """TD3: a certain policy and Gaussian noise around it, ``action_noise`` wide; log density before clipping."""

    stochastic = False

    def _sizes(self) -> Sizes:
        return super()._sizes() | {"action_noise": 0.3}

    def arguments(self, sizes: Sizes, env: Any) -> Sizes:
        from controllers.sb3_learner import Exploration

        quiet = -(-sizes["learning_starts"] // env.num_envs)
        return sizes | {"action_noise": Exploration(sizes["action_noise"], quiet)}

    def policy_log_prob(self, model: Any) -> float:
        return float(model.action_noise.log_density()) + LOG_STRETCH

    def frozen(self, model: Any, features: torch.Tensor, memory: Any, sampled: bool) -> tuple[Draw, Any]:
        return Draw(float(model.actor(features)), None), None


class Greedy(OffPolicy):
    """DQN: one of K levels, the best but for a share of uniform choices; log probabilities."""

    discrete = True
    stochastic = False

    def _sizes(self) -> Sizes:
        explore = {"exploration_fraction": 0.5, "exploration_initial_eps": 1.0, "exploration_final_eps": 0.1}
        return {"train_freq": 1, "tau": 1.0, "target_update_interval": 4, **explore}

    def practice_sizes(self) -> Sizes:
        return super().practice_sizes() | {"target_update_interval": 512}

    def warm_up_log_prob(self, model: Any) -> float:
        return -math.log(int(model.action_space.n))

    def policy_log_prob(self, model: Any) -> float:
        asked = int(model.env.actions[0])
        best = self._best(model, model.policy.obs_to_tensor(model._last_obs)[0])
        return math.log(
            model.exploration_rate / int(model.action_space.n) + (1 - model.exploration_rate) * (asked == best)
        )

    def frozen(self, model: Any, features: torch.Tensor, memory: Any, sampled: bool) -> tuple[Draw, Any]:
        return Draw(self._best(model, features), None), None

    def _best(self, model: Any, features: torch.Tensor) -> int:
        return int(model.q_net(features).argmax())


def sb3_seed(setting: Setting) -> int:
    """Return the seed of SB3's generators, in the range it takes."""
    return int(np.random.SeedSequence([setting.seed, 7919]).generate_state(1)[0])


def _keep_log_prob(policy: Any, inputs: Any, outputs: Any) -> None:
    policy.newest_log_prob = outputs[2]


def _drawn(distribution: Any, sampled: bool) -> Draw:
    action = distribution.get_actions(deterministic=not sampled)
    return Draw(float(action), float(distribution.log_prob(action)) + LOG_STRETCH if sampled else None)


RECIPES: dict[Algorithm, Recipe] = {
    Algorithm.PPO: Proximal("PPO"),
    Algorithm.A2C: OnPolicy("A2C"),
    Algorithm.SAC: Squashed("SAC"),
    Algorithm.TD3: Noisy("TD3"),
    Algorithm.DQN: Greedy("DQN"),
    Algorithm.RecurrentPPO: Recurrent("RecurrentPPO", "sb3_contrib", "MlpLstmPolicy"),
    Algorithm.TQC: Squashed("TQC", "sb3_contrib"),
}
