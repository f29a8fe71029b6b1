"""An SB3 policy that has learned on surrogate students and learns no more.

It practises when it is first asked; the state holds the policy's parameters, so a resumed run does not practise again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from atesd.interfaces import Action, Controller, Observation, Setting, State
from controllers.randomness import PrivateRandomness
from controllers.sb3_recipe import Draw, sb3_seed

if TYPE_CHECKING:
    from controllers.sb3 import Sb3Config
    from controllers.sb3_learner import Features
    from controllers.sb3_practice import Practice


class Pretrained(Controller):
    """Plays a frozen policy; rewards are not looked at."""

    def __init__(self, setting: Setting, config: Sb3Config) -> None:
        from controllers.sb3_practice import SIDE_BY_SIDE

        super().__init__(setting)
        self.config = config
        self.sizes = config.sizes(config.recipe.practice_sizes(), config.pretrain_windows, SIDE_BY_SIDE)
        self.model: Any = None
        self.first: list[float] | None = None
        self.memory: Any = None

    def choose(self, observation: Observation, decision: int) -> Action:
        from controllers.sb3_learner import features

        if self.model is None:
            self.model = self._practice().learn(self.config.pretrain_windows)
        entries = observation.astype(np.float64).tolist()
        self.first = entries if self.first is None else self.first
        draw = self._draw(features(self.first, entries), decision)
        return Action(self.config.exposure(draw.action), draw.log_prob)

    def state_dict(self) -> State:
        weights = {} if self.model is None else self.model.policy.state_dict()
        return {
            "policy": {name: tensor.tolist() for name, tensor in weights.items()},
            "first": self.first,
            "memory": self.memory,
        }

    def load_state_dict(self, state: State) -> None:
        import torch

        self.first, self.memory = state["first"], state["memory"]
        self.model = self._practice().model if state["policy"] else None
        if state["policy"]:
            self.model.policy.load_state_dict({name: torch.tensor(rows) for name, rows in state["policy"].items()})

    def _practice(self) -> Practice:
        from controllers.sb3_practice import Practice, PracticeEnv

        config = self.config
        levels = len(config.levels) if config.recipe.discrete else None
        make = partial(PracticeEnv, self.setting, config.families, config.noise, levels, config.exposure)
        return Practice(config.recipe, self.sizes, sb3_seed(self.setting), make)

    def _draw(self, features: Features, decision: int) -> Draw:
        import torch

        from controllers.sb3 import Choosing

        with PrivateRandomness(), torch.no_grad():
            torch.default_generator.manual_seed(int(self.generator(decision).integers(2**63)))
            self.model.policy.set_training_mode(False)
            draw, self.memory = self.config.recipe.frozen(
                self.model, torch.from_numpy(features)[None], self.memory, self.config.choosing is Choosing.sampled
            )
        return draw
