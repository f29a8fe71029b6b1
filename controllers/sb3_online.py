"""SB3 learning in the run.

The state is the history: observations, rewards in the order they arrived, and the exposures played. To go on, an
equally seeded learner lives through it again, which takes no longer than the first time and restores parameters,
optimizer, buffers and generators alike; SB3's own files leave out the buffers and generators. The replay must choose
what the run chose, or it is refused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from atesd.errors import UserError
from atesd.interfaces import Action, Controller, Observation, Setting, State
from controllers.history import standardised
from controllers.sb3_recipe import Draw, sb3_seed

if TYPE_CHECKING:
    from controllers.sb3 import Sb3Config
    from controllers.sb3_learner import Learner

# How far a replayed exposure may lie from the played one: none on the same machine, last digits on another. ours
REPLAY_TOLERANCE = 1e-4
# In fewer, no sizes make an update of use: a rollout has 2 steps or more, and nothing follows the last window. Such a
# run is played with the initial policy, whatever the settings. ours
LEARNABLE_WINDOWS = 3


class Online(Controller):
    """Learns from the run's rewards as they mature.

    Attributes:
        learner: what lives through the run.
        steps: which choice each decision was; a controller inside another one does not make them all.
        rewards: those the learner knows, by step.
        arrived: those it does not know yet, [step, reward].
        past: what the learner has lived through, one dictionary per step.
    """

    learner: Learner
    steps: dict[int, int]
    rewards: dict[int, float]
    arrived: list[list[float]]
    past: list[dict[str, Any]]

    def __init__(self, setting: Setting, config: Sb3Config) -> None:
        super().__init__(setting)
        self.config = config
        fitted = config.recipe.online_sizes(setting.windows)
        finished = setting.windows - 1 if setting.windows >= LEARNABLE_WINDOWS else math.inf
        self.sizes = config.sizes(fitted, finished)
        self._forget()

    def choose(self, observation: Observation, decision: int) -> Action:
        self.steps[decision] = len(self.steps)
        draw = self._live(observation.tolist(), self.arrived)
        exposure = self.config.exposure(draw.action)
        self.past.append(
            {"decision": decision, "observation": observation.tolist(), "rewards": self.arrived, "played": exposure}
        )
        self.arrived = []
        return Action(exposure, draw.log_prob)

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        self.arrived.append([self.steps[decision], reward])
        return {}

    def state_dict(self) -> State:
        return {"past": [dict(moment) for moment in self.past], "arrived": [list(pair) for pair in self.arrived]}

    def load_state_dict(self, state: State) -> None:
        """Live through a saved history again.

        Raises:
            UserError: the replay chooses otherwise than the run did.
        """
        self._forget()
        for moment in state["past"]:
            self.arrived = [list(pair) for pair in moment["rewards"]]
            chosen = self.choose(np.array(moment["observation"], np.float32), moment["decision"])
            if abs(chosen.exposure - moment["played"]) > REPLAY_TOLERANCE:
                raise UserError(
                    f"controller=sb3 cannot go on: at window {moment['decision']} its history leads to exposure "
                    f"{chosen.exposure}, but the run played {moment['played']}; resume with the versions of torch and "
                    "stable-baselines3, and on the kind of machine, that the run began with"
                )
            self.past[-1]["played"] = moment["played"]
        self.arrived = [list(pair) for pair in state["arrived"]]

    def _forget(self) -> None:
        from controllers.sb3_learner import Learner

        levels = len(self.config.levels) if self.config.recipe.discrete else None
        self.learner = Learner(
            self.config.recipe,
            self.sizes,
            sb3_seed(self.setting),
            self.setting.windows,
            self.setting.observation_size,
            levels,
        )
        self.steps = {}
        self.rewards = {}
        self.past = []
        self.arrived = []

    def _live(self, observation: list[float], arrived: list[list[float]]) -> Draw:
        from controllers.sb3_learner import Moment, features

        first = self.past[0]["observation"] if self.past else observation
        self.rewards |= {int(step): reward for step, reward in arrived}
        scores = standardised(list(self.rewards.values())).tolist()
        return self.learner.act(Moment(features(first, observation), dict(zip(self.rewards, scores, strict=True))))
