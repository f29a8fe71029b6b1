"""Hold one entry of the observation at a target: proportional-integral feedback with anti-windup.

    e = target - y,   exposure = clip(start + proportional * e + integral * sum(e), 0, 1)

The sum takes in an error only while the exposure is inside its range, or where the error leads back into it
(conditional integration: Astrom and Hagglund 1995, PID Controllers). Feedback has a direction built in: right, it is
hard to beat; wrong, it does harm. So it is no default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from atesd.observation import NAMES
from atesd.registry import register


class Signal(Enum):
    """The entries of the observation that can be held at a target."""

    mismatch = "mismatch"
    loss = "loss"
    probe = "probe"
    confidence = "confidence"


@register("controller", "pi")
@dataclass
class PiConfig(ControllerConfig):
    """Settings, all ours.

    Attributes:
        signal: what is held; see ``atesd/observation.py`` for its unit (loss and probe are squashed).
        target: where it is held. Mismatch of the embedded student is near 0.1 at a middle exposure.
        start: exposure at which the error is 0 and has been.
        proportional, integral: exposure per unit of error, and of its sum over windows; negative where the signal falls
            as exposure rises. Mismatch rises with exposure (paper, fixed sweep).
    """

    signal: Signal = Signal.mismatch
    target: float = 0.1
    start: float = 0.5
    proportional: float = 2.0
    integral: float = 0.5

    def __post_init__(self) -> None:
        checked(self.start, "controller.start")
        for key in ("target", "proportional", "integral"):
            if not math.isfinite(getattr(self, key)):
                raise UserError(f"controller.{key} must be a finite number, got {getattr(self, key)}")

    def controller(self, setting: Setting) -> Pi:
        return Pi(setting, self)


class Pi(Controller):
    """Raises exposure while the signal is below its target."""

    def __init__(self, setting: Setting, config: PiConfig) -> None:
        super().__init__(setting)
        self.config = config
        self.entry = NAMES.index(config.signal.value)
        self.sum = 0.0

    def choose(self, observation: Observation, decision: int) -> Action:
        config = self.config
        error = config.target - float(observation[self.entry])
        asked = config.start + config.proportional * error + config.integral * (self.sum + error)
        exposure = min(max(asked, 0.0), 1.0)
        if (asked - exposure) * config.integral * error <= 0:
            self.sum += error
        return Action(exposure, details={"pi/error": error, "pi/sum": self.sum})

    def state_dict(self) -> State:
        return {"sum": self.sum}

    def load_state_dict(self, state: State) -> None:
        self.sum = state["sum"]
