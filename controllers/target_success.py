"""Keep the student at a target success rate, as AdaRFT does with its problems (Shi et al. 2025, arXiv 2504.05520).

    exposure <- clip(exposure + rate * tanh(sensitivity * (target - success)), 0, 1)

A student that succeeds more often than the target is shown less. The observation holds no success rate, so the
student's running *confidence* (the probability it gives its own tokens) stands in for it: a proxy that is blind to
confident errors. AdaRFT's constants are for a success rate and a difficulty from 0 to 100; confidence moves by
hundredths around a high level, so ours differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from atesd.observation import NAMES
from atesd.registry import register

CONFIDENCE = NAMES.index("confidence")


@register("controller", "target_success")
@dataclass
class TargetSuccessConfig(ControllerConfig):
    """Settings, all ours.

    Attributes:
        target: confidence to hold, in [0, 1].
        start: exposure before the first step.
        rate: largest change per window.
        sensitivity: per unit of confidence; 20 makes a gap of 0.05 three quarters of the largest change.
    """

    target: float = 0.9
    start: float = 0.5
    rate: float = 0.1
    sensitivity: float = 20.0

    def __post_init__(self) -> None:
        checked(self.start, "controller.start")
        if not 0 <= self.target <= 1:
            raise UserError(f"controller.target must lie in [0, 1], got {self.target}; it is a confidence")
        for key in ("rate", "sensitivity"):
            if not 0 < getattr(self, key) < math.inf:
                raise UserError(f"controller.{key} must be a finite number above 0, got {getattr(self, key)}")

    def controller(self, setting: Setting) -> TargetSuccess:
        return TargetSuccess(setting, self)


class TargetSuccess(Controller):
    """Steps exposure down where the student is above its target, and up where it is below."""

    def __init__(self, setting: Setting, config: TargetSuccessConfig) -> None:
        super().__init__(setting)
        self.config = config
        self.exposure = config.start

    def choose(self, observation: Observation, decision: int) -> Action:
        gap = self.config.target - float(observation[CONFIDENCE])
        moved = self.exposure + self.config.rate * math.tanh(self.config.sensitivity * gap)
        self.exposure = min(max(moved, 0.0), 1.0)
        return Action(self.exposure)

    def state_dict(self) -> State:
        return {"exposure": self.exposure}

    def load_state_dict(self, state: State) -> None:
        self.exposure = state["exposure"]
