"""Stable-Baselines3 as a controller: ``controller=sb3 controller.algo=PPO controller.mode=online``.

``online`` (``sb3_online``) learns from the run's own rewards, with SB3's own ``learn()`` in charge and sizes fitted to
the number of windows (``sb3_recipe``). ``pretrained`` (``sb3_pretrained``) trains on randomised surrogate students and
then plays the frozen policy. SB3 draws from the process-wide generators; it gets private ones (``randomness``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from atesd.errors import UserError
from atesd.interfaces import Controller, ControllerConfig, Setting
from atesd.registry import register
from atesd.surrogate.law import FAMILIES, NULL, family
from controllers.bandit import LEVELS, checked_levels
from controllers.sb3_online import Online
from controllers.sb3_pretrained import Pretrained
from controllers.sb3_recipe import Recipe, Sizes
from controllers.sb3_recipes import RECIPES, Algorithm


class Mode(Enum):
    """Where the learning happens."""

    online = "online"
    pretrained = "pretrained"


class Choosing(Enum):
    """How a frozen policy acts: its likeliest action, or one drawn from it."""

    likeliest = "likeliest"
    sampled = "sampled"


# The least values of the settings; 0 for all others. -1 gradient steps are as many as windows since the last ones.
LEAST = {
    "n_steps": 2,
    "batch_size": 1,
    "train_freq": 1,
    "gradient_steps": -1,
    "buffer_size": 1,
    "target_update_interval": 1,
}


@dataclass
class Sb3Settings:
    """SB3's own settings by SB3's names; None leaves them to be fitted. Each algorithm has some of them.

    ``action_noise`` is the standard deviation of TD3's noise, of actions in [-1, 1].
    """

    n_steps: int | None = None
    n_epochs: int | None = None
    batch_size: int | None = None
    normalize_advantage: bool | None = None
    learning_starts: int | None = None
    train_freq: int | None = None
    gradient_steps: int | None = None
    buffer_size: int | None = None
    target_update_interval: int | None = None
    learning_rate: float | None = None
    gamma: float | None = None
    tau: float | None = None
    action_noise: float | None = None
    exploration_fraction: float | None = None
    exploration_initial_eps: float | None = None
    exploration_final_eps: float | None = None

    def __post_init__(self) -> None:
        for key, value in self.given().items():
            least = LEAST.get(key, 0)
            if not least <= value < math.inf:
                raise UserError(f"controller.settings.{key} must be a finite number, at least {least}, got {value}")

    def given(self) -> Sizes:
        """Return the settings that are not left to be fitted."""
        return {key: value for key, value in vars(self).items() if value is not None}


@register("controller", "sb3")
@dataclass
class Sb3Config(ControllerConfig):
    """Settings; all values are ours.

    Attributes:
        algo: the algorithm.
        mode: ``online`` learns in the run; ``pretrained`` learns on surrogates before it and not in it.
        settings: SB3's own settings, in place of those fitted to the run: ``controller.settings.n_steps=4``.
        levels: the exposures DQN chooses from.
        pretrain_windows: surrogate windows to train on, rounded up to whole rollouts.
        families: surrogate families to train on; each episode draws one, and a student of it.
        noise: least and largest standard deviation of the surrogates' readings; drawn log-uniformly per episode.
        choosing: how a pretrained policy acts.
    """

    algo: Algorithm = Algorithm.PPO
    mode: Mode = Mode.online
    settings: Sb3Settings = field(default_factory=Sb3Settings)
    levels: list[float] = field(default_factory=lambda: list(LEVELS))
    pretrain_windows: int = 20_480
    families: list[str] = field(default_factory=lambda: [name for name in FAMILIES if name != NULL])
    noise: list[float] = field(default_factory=lambda: [0.001, 0.03])
    choosing: Choosing = Choosing.likeliest

    def __post_init__(self) -> None:
        self.levels = checked_levels(self.levels)
        for name in self.families:
            family(name, "controller.families")
        if not self.families or len(self.noise) != 2 or not 0 < self.noise[0] <= self.noise[1] < math.inf:
            raise UserError(
                "controller.families must name at least one family and controller.noise be two numbers above 0, the "
                f"lower first, got {self.families} and {self.noise}"
            )
        if self.choosing is Choosing.sampled and not self.recipe.stochastic:
            raise UserError(
                f"controller.choosing=sampled: the policy of controller.algo={self.algo.value} has one action per "
                "state and nothing to draw; use likeliest"
            )

    @property
    def recipe(self) -> Recipe:
        """Return what there is to know of the algorithm."""
        return RECIPES[self.algo]

    def controller(self, setting: Setting) -> Controller:
        return {Mode.online: Online, Mode.pretrained: Pretrained}[self.mode](setting, self)

    def sizes(self, fitted: Sizes, windows: float, environments: int = 1) -> Sizes:
        """Return the fitted sizes with the user's settings in their place.

        Args:
            windows: that will be finished while there is still a use for learning.
            environments: side by side.

        Raises:
            UserError: the algorithm has no such setting, or with these values no gradient update would ever be made.
        """
        given = self.settings.given()
        for key in given:
            if key not in fitted:
                raise UserError(
                    f"controller.settings.{key} is no setting of controller.algo={self.algo.value} with "
                    f"controller.mode={self.mode.value}; allowed are {', '.join(fitted)}"
                )
        sizes = fitted | given
        first = self.recipe.first_update(sizes, environments)
        if first > windows:
            values = ", ".join(f"{key}={sizes[key]}" for key in self.recipe.blocking())
            raise UserError(
                f"controller.settings: with {values} the first gradient update of {self.algo.value} would come after "
                f"{first:g} finished windows, and there are {windows:g}; use smaller ones, or leave them to be fitted"
            )
        return sizes

    def exposure(self, action: float) -> float:
        """Return the exposure of a policy's action: a level for DQN, else [-1, 1], clipped, mapped to [0, 1]."""
        return self.levels[int(action)] if self.recipe.discrete else (min(max(action, -1.0), 1.0) + 1) / 2
