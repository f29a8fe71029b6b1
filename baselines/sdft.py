"""Self-distillation fine-tuning (arXiv 2601.19897): OPSD with a teacher that slowly follows the student.

The student's own rollouts, a teacher shown the demonstration, a divergence over the full vocabulary. The paper's
equation 1 is the reverse KL; its author says that all its results used the forward KL (issue 5 of the paper's code),
which is the default here; ``signal.divergence=reverse_kl`` is the equation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from atesd.config import RunConfig
from atesd.distillation import UNALTERED
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal


@register("baseline", "sdft")
@dataclass
class SdftConfig(BaselineConfig):
    """Nothing to set here; ``signal`` and ``teacher`` hold the settings of distillation.

    The paper's: a moving average with rate 0.01 per update, forward KL without clip or temperature. ours: the prompt
    format of the model's style; the mean over all tokens (its code: over each sequence's, its first three left out).
    """

    brings: ClassVar[dict[str, Any]] = {
        "teacher": {"kind": "ema", "ema_rate": 0.01},
        "signal": {"divergence": "forward_kl", **UNALTERED},
    }

    def signal(self, run: RunConfig) -> Signal:
        return run.signal.build(run.exposure.cut)
