"""The SB3 algorithms that learn from each rollout once: A2C, PPO and RecurrentPPO."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from atesd.errors import UserError
from controllers.sb3_recipe import HIDDEN, LOG_STRETCH, Draw, Recipe, Sizes

if TYPE_CHECKING:
    import torch

# Initial log standard deviation of the Gaussian policies, of actions in [-1, 1]: 0.18 of exposure. SB3 has 0, with
# which a third of the draws would be clipped to no or full exposure. ours
LOG_STD = -1.0


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


def _keep_log_prob(policy: Any, inputs: Any, outputs: Any) -> None:
    policy.newest_log_prob = outputs[2]


def _drawn(distribution: Any, sampled: bool) -> Draw:
    action = distribution.get_actions(deterministic=not sampled)
    return Draw(float(action), float(distribution.log_prob(action)) + LOG_STRETCH if sampled else None)
