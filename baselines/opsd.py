"""On-policy self-distillation (arXiv 2601.18734): the teacher sees the whole reference, always.

The same run, bit for bit, as ``controller=fixed controller.exposure=1``.
"""

from __future__ import annotations

from dataclasses import dataclass

from atesd.config import RunConfig
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal


@register("baseline", "opsd")
@dataclass
class OpsdConfig(BaselineConfig):
    """Nothing to set here; ``signal`` and ``teacher`` hold the settings of distillation."""

    def signal(self, run: RunConfig) -> Signal:
        return run.signal.build(run.exposure.cut)
