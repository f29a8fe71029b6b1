"""OPSD on the teacher's most likely entries only: its top k, and one bucket for the rest.

A loss over k + 1 numbers per token is what a teacher behind an API, or a vocabulary too large to keep, leaves. OPSD's
code (arXiv 2601.18734) renormalises its top k (script: k = 50) and so forgets the rest; the bucket that keeps it is
SDPO's (arXiv 2601.20802: k = 100, of the student). The teacher is frozen and sees the whole reference, as in OPSD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atesd.config import RunConfig
from atesd.distillation import Distillation, SignalConfig
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal

if TYPE_CHECKING:
    from torch import Tensor


class TopK(Distillation):
    """Distillation whose loss sees the teacher's ``top_k`` entries and a tail; the log still compares all of them."""

    def __init__(self, config: SignalConfig, cut: Cut, top_k: int) -> None:
        super().__init__(config, cut)
        self.top_k = top_k

    def divergence(self, student_logits_BTV: Tensor, teacher_logits_BTV: Tensor) -> Tensor:
        from atesd.losses import bucketed, token_divergence

        if self.top_k >= (vocabulary := student_logits_BTV.shape[-1]):
            raise UserError(
                f"baseline.top_k={self.top_k} must be below the model's {vocabulary} vocabulary entries; baseline=opsd "
                "uses all of them"
            )
        config = self.config
        ids_BTK = teacher_logits_BTV.topk(self.top_k).indices
        student_BTK, teacher_BTK = (
            bucketed(logits_BTV / config.temperature, ids_BTK)
            for logits_BTV in (student_logits_BTV, teacher_logits_BTV)
        )
        return token_divergence(
            student_BTK, teacher_BTK, config.divergence, clip=config.clip, jsd_weight=config.jsd_weight
        )


@register("baseline", "opsd_topk")
@dataclass
class OpsdTopKConfig(BaselineConfig):
    """Attributes:
    top_k: entries that the teacher names. ours: 4 of the testbed's 22; 50 to 100 in the papers.
    """

    top_k: int = 4

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise UserError(f"baseline.top_k must be at least 1, got {self.top_k}")

    def signal(self, run: RunConfig) -> Signal:
        return TopK(run.signal, run.exposure.cut, self.top_k)
