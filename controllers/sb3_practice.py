"""Training an SB3 model on randomised surrogate students before a run.

Each episode is as long as the run and brings a student never seen before: its family, the noise of its readings and
its constants are drawn anew (dynamic algorithm configuration: Biedenkapp et al., 2020). Rewards are the windows' own
progress, divided by a running standard deviation of the return (SB3's ``VecNormalize``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from atesd.interfaces import Setting
from controllers.randomness import PrivateRandomness
from controllers.sb3_learner import Features, features, spaces
from controllers.sb3_recipe import Recipe, Sizes

# Students trained side by side. ours
SIDE_BY_SIDE = 8


class PracticeEnv(gymnasium.Env[Features, Any]):
    """Surrogate students one after the other, seen and steered as a run is by SB3.

    Args:
        setting: of the run to come.
        families, noise: to draw from.
        levels: number of discrete actions; None for a continuous one.
        exposure: of an action.
        place: among the environments side by side.
    """

    def __init__(
        self,
        setting: Setting,
        families: list[str],
        noise: list[float],
        levels: int | None,
        exposure: Callable[[float], float],
        place: int,
    ) -> None:
        self.hold_window = setting.hold_window
        self.updates = setting.windows * setting.hold_window
        self.families = families
        self.noise = noise
        self.exposure = exposure
        self.generator = np.random.default_rng([setting.seed, 104729, place])
        self.observation_space, self.action_space = spaces(setting.observation_size, levels)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        self.student: gymnasium.Env[Any, Any] = gymnasium.make(
            "envs:ATESD/Surrogate-v0",  # names the package that registers it; controllers import no environment
            family=str(self.generator.choice(self.families)),
            noise=float(np.exp(self.generator.uniform(*np.log(self.noise)))),
            seed=int(self.generator.integers(2**31)),
            updates=self.updates,
            hold_window=self.hold_window,
            disable_env_checker=True,
        ).unwrapped
        self.first, info = self.student.reset()
        return features(self.first, self.first), info

    def step(self, action: Any) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        exposure = self.exposure(float(np.asarray(action).item()))
        observation, reward, terminated, truncated, info = self.student.step(np.array([exposure]))
        return features(self.first, observation), float(reward), terminated, truncated, info


class Practice:
    """An SB3 model with surrogate students to practise on.

    Args:
        recipe: of the algorithm.
        sizes: its settings.
        seed: of all its randomness but the students', at most 2^32 - 1.
        make: builds the environment of a place.
    """

    def __init__(self, recipe: Recipe, sizes: Sizes, seed: int, make: Callable[[int], PracticeEnv]) -> None:
        self.randomness = PrivateRandomness()
        with torch.random.fork_rng(), self.randomness:  # the former for accelerators, which SB3 seeds too
            students = DummyVecEnv([partial(make, place) for place in range(SIDE_BY_SIDE)])
            self.model = recipe.model(VecNormalize(students, norm_obs=False, gamma=sizes["gamma"]), sizes, seed)

    def learn(self, windows: int) -> Any:
        """Train on at least so many windows; return the model."""
        with self.randomness:
            return self.model.learn(windows, log_interval=None)
