"""Do no harm: play an inner controller, but hold a fixed exposure while the inner one earns less than that would.

The run opens with ``hold`` windows at the fallback, so that there is an estimate of what it earns. From then on the
inner controller plays until the mean of its newest rewards satisfies

    inner < fallback - sigmas * sd * sqrt(1 / n_inner + 1 / n_fallback)

with n the numbers of rewards in the two means, at most ``memory`` each, and sd the standard deviation within the two.
Then the fallback is held for another ``hold`` windows, which renews its estimate, and the inner one has to earn
``memory`` fresh rewards before it is judged again. It learns from its own windows only. ours
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from atesd.registry import register
from controllers.inner import inner_controller


@register("controller", "guarded")
@dataclass
class GuardedConfig(ControllerConfig):
    """Settings, all ours.

    Attributes:
        inner: name of the guarded controller, which has its default settings.
        fallback: exposure to hold. 0.5 is the paper's best fixed one.
        hold: windows per stretch of the fallback.
        memory: newest rewards in a mean, at least 2.
        sigmas: standard errors by which the inner one may fall behind.
    """

    inner: str = "beta_reinforce"
    fallback: float = 0.5
    hold: int = 4
    memory: int = 4
    sigmas: float = 1.0

    def __post_init__(self) -> None:
        checked(self.fallback, "controller.fallback")
        if self.hold < 2 or self.memory < 2:
            raise UserError(
                f"controller.hold and controller.memory must be at least 2, got {self.hold} and {self.memory}; "
                "one reward has no spread"
            )
        if not 0 <= self.sigmas < math.inf:
            raise UserError(f"controller.sigmas must be a finite number, 0 or more, got {self.sigmas}")

    def controller(self, setting: Setting) -> Guarded:
        return Guarded(setting, self)


class Guarded(Controller):
    """Delegates to the inner controller outside the stretches it holds the fallback.

    Attributes:
        until: the decision at which the current or last stretch of the fallback ends.
        held: decisions that held the fallback and wait for their reward.
        fallback_rewards, inner_rewards: by decision; the inner ones since the last stretch only.
    """

    def __init__(self, setting: Setting, config: GuardedConfig) -> None:
        super().__init__(setting)
        self.config = config
        self.inner = inner_controller("controller.inner", config.inner, setting)
        self.until = config.hold
        self.held: list[int] = []
        self.fallback_rewards: dict[int, float] = {}
        self.inner_rewards: dict[int, float] = {}

    def choose(self, observation: Observation, decision: int) -> Action:
        if decision >= self.until and self._behind():
            self.until = decision + self.config.hold
            self.inner_rewards = {}
        if decision >= self.until:
            action = self.inner.act(observation, decision)
            return Action(action.exposure, action.log_prob, action.details | {"guarded/held": 0.0})
        self.held.append(decision)
        return Action(self.config.fallback, details={"guarded/held": 1.0})

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        if decision in self.held:
            self.held.remove(decision)
            self.fallback_rewards[decision] = reward
            return {}
        if decision >= self.until:
            self.inner_rewards[decision] = reward
        return self.inner.learn(decision, reward)

    def _behind(self) -> bool:
        inner, fallback = self._newest(self.inner_rewards), self._newest(self.fallback_rewards)
        if len(inner) < self.config.memory or len(fallback) < 2:
            return False
        squares = ((inner - inner.mean()) ** 2).sum() + ((fallback - fallback.mean()) ** 2).sum()
        error = math.sqrt(squares / (len(inner) + len(fallback) - 2) * (1 / len(inner) + 1 / len(fallback)))
        return bool(inner.mean() < fallback.mean() - self.config.sigmas * error)

    def _newest(self, rewards: dict[int, float]) -> np.ndarray:
        return np.array([rewards[decision] for decision in sorted(rewards)[-self.config.memory :]])

    def state_dict(self) -> State:
        return {
            "inner": self.inner.state_dict(),
            "until": self.until,
            "held": list(self.held),
            "fallback_rewards": {str(decision): reward for decision, reward in self.fallback_rewards.items()},
            "inner_rewards": {str(decision): reward for decision, reward in self.inner_rewards.items()},
        }

    def load_state_dict(self, state: State) -> None:
        self.inner.load_state_dict(state["inner"])
        self.until = state["until"]
        self.held = list(state["held"])
        self.fallback_rewards = {int(decision): reward for decision, reward in state["fallback_rewards"].items()}
        self.inner_rewards = {int(decision): reward for decision, reward in state["inner_rewards"].items()}
