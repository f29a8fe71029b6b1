"""Only the final answer throughout: the floor of exposure."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.interfaces import ControllerConfig, Setting
from atesd.registry import register
from controllers.fixed import Fixed


@register("controller", "none")
@dataclass
class NoneConfig(ControllerConfig):
    """Exposure 0; nothing to set."""

    def controller(self, setting: Setting) -> Fixed:
        return Fixed(setting, 0.0)
