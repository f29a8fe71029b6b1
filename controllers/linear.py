"""Exposure changes by the same amount every window."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.interfaces import Setting
from atesd.registry import register
from controllers.schedule import Schedule, ScheduleConfig


class Linear(Schedule):
    """share(x) = x."""

    def share(self, progress: float) -> float:
        return progress


@register("controller", "linear")
@dataclass
class LinearConfig(ScheduleConfig):
    """From ``start`` to ``end`` in a straight line."""

    def controller(self, setting: Setting) -> Linear:
        return Linear(setting, self.start, self.end)


@register("controller", "linear_down")
@dataclass
class LinearDownConfig(LinearConfig):
    """The same from exposure 1 to 0."""

    start: float = 1.0
    end: float = 0.0
