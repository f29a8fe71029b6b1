"""Exposure changes fast at first and ever more slowly after."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atesd.errors import UserError
from atesd.interfaces import Setting
from atesd.registry import register
from controllers.schedule import Schedule, ScheduleConfig


class Exponential(Schedule):
    """share(x) = (1 - exp(-rate x)) / (1 - exp(-rate))."""

    def __init__(self, setting: Setting, start: float, end: float, rate: float) -> None:
        super().__init__(setting, start, end)
        self.rate = rate

    def share(self, progress: float) -> float:
        return math.expm1(-self.rate * progress) / math.expm1(-self.rate)


@register("controller", "exponential")
@dataclass
class ExponentialConfig(ScheduleConfig):
    """Attributes:
    rate: above 0; the larger, the earlier the change. ours: 3 puts 82 % of it into the first half of the run
    """

    rate: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate < math.inf:
            raise UserError(f"controller.rate must be a finite number above 0, got {self.rate}; for none use linear")

    def controller(self, setting: Setting) -> Exponential:
        return Exponential(setting, self.start, self.end, self.rate)


@register("controller", "exponential_down")
@dataclass
class ExponentialDownConfig(ExponentialConfig):
    """The same from exposure 1 to 0."""

    start: float = 1.0
    end: float = 0.0
