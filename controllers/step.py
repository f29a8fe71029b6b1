"""Exposure changes in equal jumps."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.errors import UserError
from atesd.interfaces import Setting
from atesd.registry import register
from controllers.schedule import Schedule, ScheduleConfig


class Step(Schedule):
    """share(x) = floor(x * levels) / (levels - 1), at most 1: ``levels`` equal stretches of constant exposure."""

    def __init__(self, setting: Setting, start: float, end: float, levels: int) -> None:
        super().__init__(setting, start, end)
        self.levels = levels

    def share(self, progress: float) -> float:
        return min(int(progress * self.levels), self.levels - 1) / (self.levels - 1)


@register("controller", "step")
@dataclass
class StepConfig(ScheduleConfig):
    """Attributes:
    levels: stretches of constant exposure, the first at ``start``, the last at ``end``. ours
    """

    levels: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 2:
            raise UserError(f"controller.levels must be at least 2, got {self.levels}; use controller=fixed for one")

    def controller(self, setting: Setting) -> Step:
        return Step(setting, self.start, self.end, self.levels)


@register("controller", "step_down")
@dataclass
class StepDownConfig(StepConfig):
    """The same from exposure 1 to 0."""

    start: float = 1.0
    end: float = 0.0
