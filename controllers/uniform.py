"""A fresh uniform exposure every hold window: the paper's uncontrolled control."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting
from atesd.registry import register


class Uniform(Controller):
    """Draws from U(0, 1), whose log density is 0."""

    def choose(self, observation: Observation, decision: int) -> Action:
        return Action(float(self.generator(decision).random()), log_prob=0.0)


@register("controller", "uniform")
@dataclass
class UniformConfig(ControllerConfig):
    """Nothing to set."""

    def controller(self, setting: Setting) -> Uniform:
        return Uniform(setting)
