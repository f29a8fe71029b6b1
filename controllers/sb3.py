"""Stable-Baselines3 as a controller: ``controller=sb3 controller.algo=PPO controller.mode=online``.

``online`` (``sb3_online``) learns from the run's own rewards, with SB3's own ``learn()`` in charge and sizes fitted to
the number of windows (``sb3_recipes``). ``pretrained`` (``sb3_pretrained``) trains on randomised surrogate students and
then plays the frozen policy. SB3 draws from the process-wide generators; it gets private ones (``randomness``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from atesd.errors import UserError
from atesd.interfaces import Controller, ControllerConfig, Setting
from atesd.registry import register
from atesd.surrogate import FAMILIES, NULL, family
from controllers.bandit import LEVELS, checked_levels
from controllers.sb3_online import Online
from controllers.sb3_pretrained import Pretrained
from controllers.sb3_recipes import LEAST, RECIPES, Algorithm, Recipe, Sizes


class Mode(Enum):
    """Where the learning happens."""

    online = "online"
    pretrained = "pretrained"


class Choosing(Enum):
    """How a frozen policy acts: its likeliest action, or one drawn from it."""

    likeliest = "likeliest"
    sampled = "sampled"


@register("controller", "sb3")
@dataclass
class Sb3Config(ControllerConfig):
    """Settings; all values are ours.

    Attributes:
        algo: the algorithm.
        mode: ``online`` learns in the run; ``pretrained`` learns on surrogates before it and not in it.
        settings: SB3's own settings, in place of those fitted to the run: ``controller.settings={n_steps: 4}``.
        levels: the exposures DQN chooses from.
        pretrain_windows: surrogate windows to train on, rounded up to whole rollouts.
        families: surrogate families to train on; each episode draws one, and a student of it.
        noise: least and largest standard deviation of the surrogates' readings; drawn log-uniformly per episode.
        choosing: how a pretrained policy acts.
    """

    algo: Algorithm = Algorithm.PPO
    mode: Mode = Mode.online
    settings: dict[str, Any] = field(default_factory=dict)
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
            UserError: there is no such setting, it does not take such a value, or with these values no gradient update
                would ever be made.
        """
        for key, value in self.settings.items():
            if key not in fitted:
                raise UserError(
                    f"controller.settings.{key} is no setting of controller.algo={self.algo.value} here; "
                    f"allowed are {', '.join(fitted)}"
                )
            refuse_value(key, value, fitted[key])
        sizes = fitted | self.settings
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


def refuse_value(key: str, value: Any, fitted: Any) -> None:
    """Raise ``UserError`` unless one of SB3's settings may have this value in place of the fitted one.

    >>> refuse_value("n_steps", 1, 5)
    Traceback (most recent call last):
    atesd.errors.UserError: controller.settings.n_steps must be a whole number, at least 2, such as 5; got 1
    """
    if isinstance(fitted, bool):
        allowed, fits = "true or false", isinstance(value, bool)
    elif isinstance(fitted, int):
        least = LEAST.get(key, 1)
        allowed = f"a whole number, at least {least}"
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    else:
        allowed = "a finite number, at least 0"
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if not fits:
        raise UserError(f"controller.settings.{key} must be {allowed}, such as {fitted}; got {value}")
