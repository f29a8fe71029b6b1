"""Exposure follows the student's running confidence: exposure = clip(slope * confidence + offset, 0, 1).

A positive slope shows more to a student that can follow more (paper, by difficulty: easy problems prefer exposure 1,
the hardest the lowest); a negative one fades help out as it is needed less (scaffolding). The direction is a guess, and
everything hangs on it, so this is no default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from atesd.errors import UserError
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting
from atesd.observation import NAMES
from atesd.registry import register

CONFIDENCE = NAMES.index("confidence")


class Competence(Controller):
    """A line in the observation's confidence, which is a running average already."""

    def __init__(self, setting: Setting, slope: float, offset: float) -> None:
        super().__init__(setting)
        self.slope, self.offset = slope, offset

    def choose(self, observation: Observation, decision: int) -> Action:
        return Action(min(max(self.slope * float(observation[CONFIDENCE]) + self.offset, 0.0), 1.0))


@register("controller", "competence")
@dataclass
class CompetenceConfig(ControllerConfig):
    """Attributes:
    slope: exposure per unit of confidence; negative fades exposure out as confidence grows. ours
    offset: added. ours: confidence is near 0.9 from the start, and this puts exposure near the middle.
    """

    slope: float = 1.0
    offset: float = -0.3

    def __post_init__(self) -> None:
        for key in ("slope", "offset"):
            if not math.isfinite(getattr(self, key)):
                raise UserError(f"controller.{key} must be a finite number, got {getattr(self, key)}")

    def controller(self, setting: Setting) -> Competence:
        return Competence(setting, self.slope, self.offset)
