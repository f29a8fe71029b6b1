"""One exposure for the whole run."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting
from atesd.registry import register


class Fixed(Controller):
    """Always the same exposure; the best one in hindsight is what adaptive controllers must beat."""

    def __init__(self, setting: Setting, exposure: float) -> None:
        super().__init__(setting)
        self.exposure = exposure

    def choose(self, observation: Observation, decision: int) -> Action:
        return Action(self.exposure)


@register("controller", "fixed")
@dataclass
class FixedConfig(ControllerConfig):
    """Attributes:
    exposure: in [0, 1]. 0.5 is the paper's best fixed exposure.
    """

    exposure: float = 0.5

    def __post_init__(self) -> None:
        self.exposure = checked(self.exposure, "controller.exposure")

    def controller(self, setting: Setting) -> Fixed:
        return Fixed(setting, self.exposure)
