"""No training: the base model, evaluated like every other method."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.config import RunConfig
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal


@register("baseline", "none")
@dataclass
class NoneConfig(BaselineConfig):
    """Nothing to set."""

    def signal(self, run: RunConfig) -> Signal:
        return run.signal.build(run.exposure.cut)

    def updates(self, run: RunConfig) -> int:
        return 0
