"""Supervised fine-tuning on the references: cross-entropy of the worked solution after the bare prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atesd.config import RunConfig
from atesd.exposure import Exposure
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal, SignalBatch, UpdateContext

if TYPE_CHECKING:
    from torch import Tensor


class SupervisedFineTuning(Signal):
    """Learns the references token by token; nothing is sampled."""

    def collect(self, context: UpdateContext, rows: int, exposure: Exposure) -> SignalBatch:
        problems = context.next_problems(rows)
        prompts = [context.language.student_prompt(problem) for problem in problems]
        references = [context.language.reference_completion(problem) for problem in problems]
        sequences = context.sequences(problems, prompts, references)
        return SignalBatch(sequences, sequences.completion_mask_BT.float())

    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from atesd.losses import token_log_probs

        return -token_log_probs(student_logits_BTV, batch.sequences.completion_ids_BT), {}


@register("baseline", "sft")
@dataclass
class SftConfig(BaselineConfig):
    """Nothing to set; the paper's row has 64 problems per update (``train.batch_size``) at 5e-6."""

    def signal(self, run: RunConfig) -> Signal:
        return SupervisedFineTuning()
