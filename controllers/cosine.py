"""Exposure changes slowly at both ends of the run and fast in its middle."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atesd.interfaces import Setting
from atesd.registry import register
from controllers.schedule import Schedule, ScheduleConfig


class Cosine(Schedule):
    """share(x) = (1 - cos(pi x)) / 2."""

    def share(self, progress: float) -> float:
        return (1 - math.cos(math.pi * progress)) / 2


@register("controller", "cosine")
@dataclass
class CosineConfig(ScheduleConfig):
    """From ``start`` to ``end`` along half a cosine."""

    def controller(self, setting: Setting) -> Cosine:
        return Cosine(setting, self.start, self.end)


@register("controller", "cosine_down")
@dataclass
class CosineDownConfig(CosineConfig):
    """The same from exposure 1 to 0."""

    start: float = 1.0
    end: float = 0.0
