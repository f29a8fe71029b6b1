"""The SB3 algorithms with a replay buffer: SAC, TQC, TD3 and DQN."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from controllers.sb3_recipe import LOG_STRETCH, Draw, Recipe, Sizes

if TYPE_CHECKING:
    import torch


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
