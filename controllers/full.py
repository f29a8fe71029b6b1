"""The whole reference throughout, as every published self-distillation method shows it."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.interfaces import ControllerConfig, Setting
from atesd.registry import register
from controllers.fixed import Fixed


@register("controller", "full")
@dataclass
class FullConfig(ControllerConfig):
    """Exposure 1; nothing to set."""

    def controller(self, setting: Setting) -> Fixed:
        return Fixed(setting, 1.0)
