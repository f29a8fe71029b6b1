"""A fixed exposure for each difficulty group: what adaptive controllers of groups must beat."""

from __future__ import annotations

from dataclasses import dataclass, field

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import ControllerConfig, Setting
from atesd.registry import register
from controllers.fixed import Fixed


@register("controller", "per_group")
@dataclass
class PerGroupConfig(ControllerConfig):
    """Attributes:
    exposures: one in [0, 1] per group of ``env.groups``, the easiest first.
    """

    exposures: list[float] = field(default_factory=lambda: [0.5])

    def __post_init__(self) -> None:
        for exposure in self.exposures:
            checked(exposure, "controller.exposures")

    def controller(self, setting: Setting) -> Fixed:
        if len(self.exposures) != setting.groups:
            raise UserError(
                f"controller.exposures={list(self.exposures)} holds {len(self.exposures)} exposures, and "
                f"env.groups={setting.groups}; give one per group"
            )
        return Fixed(setting, self.exposures[setting.group])
