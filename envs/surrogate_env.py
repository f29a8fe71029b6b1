"""Closed-form students as Gymnasium environments, one at a time or thousands side by side (``atesd.surrogate``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Observation
from atesd.observation import HIGH, LOW
from atesd.rewards import RewardConfig
from atesd.surrogate.cohort import Cohort
from atesd.surrogate.law import family as law_of
from atesd.training.surrogate_trainer import SurrogateTrainer
from envs.exposure_env import ExposureEnv


class SurrogateEnv(ExposureEnv):
    """``ExposureEnv`` with a surrogate student: the same spaces, observations, rewards, ends and info.

    ``reset(seed=s)`` brings student ``s``; ``reset()`` brings the next one, first student ``seed``. ``competence`` in
    the info is the share of problems the student solves, free of noise.

    Args:
        family: key of ``atesd.surrogate.law.FAMILIES``.
        noise: standard deviation of the readings.
        seed: the first student.
        updates: student updates in an episode.
        hold_window: student updates per step.
    """

    trainer: SurrogateTrainer

    def __init__(
        self, family: str = "static", noise: float = 0.01, seed: int = 0, updates: int = 120, hold_window: int = 4
    ) -> None:
        _refuse_impossible(noise, seed, updates, hold_window)
        self.family = family
        self.noise = noise
        self.next_seed = seed
        super().__init__(self._student(seed, updates), RewardConfig().rule(hold_window), updates, hold_window)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        student = self.next_seed if seed is None else seed
        self.next_seed = student + 1
        self.trainer = self._student(student, self.updates)
        return super().reset(seed=seed, options=options)

    def _student(self, seed: int, updates: int) -> SurrogateTrainer:
        return SurrogateTrainer(self.family, self.noise, seed, updates)

    def _info(self, readings: list[Any]) -> dict[str, Any]:
        return super()._info(readings) | {"competence": self.trainer.competence}


class SurrogateVectorEnv(gymnasium.vector.VectorEnv[Observation, NDArray[np.float64], NDArray[Any]]):
    """``num_envs`` surrogate students in step, as one array; the step after the last restarts with the next students.

    Args:
        num_envs: students side by side; student i of the first episode has the seed ``seed`` + i.
        others: as for ``SurrogateEnv``.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        family: str = "static",
        noise: float = 0.01,
        seed: int = 0,
        updates: int = 120,
        hold_window: int = 4,
    ) -> None:
        _refuse_impossible(noise, seed, updates, hold_window)
        self.num_envs = num_envs
        self.law = law_of(family)
        self.noise = noise
        self.next_seed = seed
        self.updates = updates
        self.hold_window = hold_window
        self.rule = RewardConfig().rule(hold_window)
        self.single_action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float64)
        self.single_observation_space = gymnasium.spaces.Box(LOW, HIGH, dtype=np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Bring the students ``seed`` + i, or the given ones, or those after the last."""
        first = self.next_seed if seed is None else seed
        seeds = np.asarray(first, np.int64) + (np.arange(self.num_envs) if isinstance(first, int) else 0)
        super().reset(seed=int(seeds[0]) if seed is not None else None)
        self.next_seed = int(seeds[-1]) + 1
        self.cohort = Cohort(self.law, seeds, self.updates, self.noise)
        return self.cohort.observations(), self._info()

    def step(
        self, actions: NDArray[np.float64]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        never = np.zeros(self.num_envs, np.bool_)
        if self.cohort.updates_done >= self.updates:
            observations, info = self.reset()
            return observations, np.zeros(self.num_envs), never, never, info
        first = self.cohort.updates_done
        self.cohort.hold(self._exposures(actions), self.hold_window)
        last = self.cohort.updates_done
        rewards = self.cohort.rewards(self.rule, first, last)
        return self.cohort.observations(), rewards, never, np.full(self.num_envs, last >= self.updates), self._info()

    def _exposures(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        if np.shape(actions) != (self.num_envs, 1):
            raise UserError(f"actions are an array of shape ({self.num_envs}, 1), got shape {np.shape(actions)}")
        if not ((actions >= 0) & (actions <= 1)).all():
            raise UserError(f"actions must lie in [0, 1], got {actions[~((actions >= 0) & (actions <= 1))][0]}")
        return np.asarray(actions[:, 0], np.float64)

    def _info(self) -> dict[str, Any]:
        return {
            "update": np.full(self.num_envs, self.cohort.updates_done),
            "competence": self.cohort.students.competence,
        }


def _refuse_impossible(noise: float, seed: int, updates: int, hold_window: int) -> None:
    """Raise ``UserError`` for settings of which no student or episode can be made."""
    settings = (("noise", noise, 0), ("seed", seed, 0), ("updates", updates, 1), ("hold_window", hold_window, 1))
    for name, value, least in settings:
        if not value >= least:  # nan is refused too
            raise UserError(f"{name} must be {least} or more, got {value}")
