"""The distillation signal: the exposed teacher scores the student's own tokens (OPSD; paper, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.exposure import Cut, Revealed, reveal
from atesd.signals import Signal, SignalBatch, UpdateContext
from atesd.tasks.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

# Share of tokens whose divergence makes the logged tail. ours: the paper names the tail, not its size
KL_TAIL_SHARE = 0.05


@dataclass
class SignalConfig:
    """The distillation signal. Its values in OPSD v3: forward_kl, temperature 1.1, clip 0.05 (8B: 0.06).

    Attributes:
        divergence: between teacher and student.
        temperature: divides both logits. ours: 1, the rollouts' own temperature on the testbed.
        clip: upper bound of each vocabulary entry's term. ours: none, since with 22 entries it removes all learning.
        jsd_weight: share of the teacher in the mixture of ``jsd``.
    """

    divergence: Divergence = Divergence.forward_kl
    temperature: float = 1.0
    clip: float = math.inf
    jsd_weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"signal.temperature must be above 0, got {self.temperature}")
        if not self.clip > 0:
            raise UserError(f"signal.clip must be above 0, got {self.clip}; .inf clips nothing")
        if not 0 < self.jsd_weight < 1:
            raise UserError(f"signal.jsd_weight must lie in (0, 1), got {self.jsd_weight}")

    def build(self, cut: Cut) -> Distillation:
        return Distillation(self, cut)


class Distillation(Signal):
    """On-policy self-distillation: the exposed teacher scores the student's own tokens (OPSD; paper, section 3)."""

    def __init__(self, config: SignalConfig, cut: Cut) -> None:
        self.config = config
        self.cut = cut

    def collect(self, context: UpdateContext, rows: int, exposure: float) -> SignalBatch:
        problems = context.next_problems(rows)
        rollouts = context.sample(problems)
        revealed = [reveal(context.steps_of(problem, self.cut), exposure) for problem in problems]
        prompts = exposed_prompts(context, problems, revealed)
        sequences = context.sequences(problems, rollouts.prompts, rollouts.completions)
        exposed = context.sequences(problems, prompts, rollouts.completions)
        return SignalBatch(
            sequences,
            sequences.completion_mask_BT.float(),
            {"teacher_logits_BTV": context.teacher_logits(exposed)},
            {
                "exposure/asked": exposure,
                "exposure/realised": sum(shown.realised for shown in revealed) / len(revealed),
                "teacher/reference_log_prob_nats_per_token": reference_log_prob(context, problems, prompts),
            },
        )

    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from atesd.losses import token_divergence, top1_disagreement

        config = self.config
        teacher_logits_BTV = batch.tensors["teacher_logits_BTV"]
        losses_BT = token_divergence(
            student_logits_BTV,
            teacher_logits_BTV,
            config.divergence,
            config.temperature,
            config.clip,
            config.jsd_weight,
        )
        detached_BTV = student_logits_BTV.detach()
        return losses_BT, {
            "kl": token_divergence(detached_BTV, teacher_logits_BTV),
            "top1_disagreement": top1_disagreement(detached_BTV, teacher_logits_BTV),
        }

    def summarise(self, columns: dict[str, Tensor]) -> dict[str, float]:
        from atesd.losses import tail_mean

        return {
            "loss/kl_nats_per_token": float(columns["kl"].mean()),
            "mismatch/kl_tail_nats": tail_mean(columns["kl"], KL_TAIL_SHARE),
            "mismatch/top1_disagreement": float(columns["top1_disagreement"].mean()),
        }


def exposed_prompts(
    context: UpdateContext, problems: Sequence[Problem], revealed: Sequence[Revealed]
) -> list[list[int]]:
    """Return the teacher's prompts with what is revealed of each problem's reference."""
    language = context.language
    return [language.teacher_prompt(problem, shown.text) for problem, shown in zip(problems, revealed, strict=True)]


def reference_log_prob(context: UpdateContext, problems: Sequence[Problem], prompts: list[list[int]]) -> float:
    """Return g of the paper's teacher-grounded term: the exposed teacher's mean log-probability of the reference.

    The paper says "reference answer"; we score the whole reference with its boxed answer, per token. ours
    """
    from atesd.losses import token_log_probs

    references = [context.language.reference_completion(problem) for problem in problems]
    sequences = context.sequences(problems, prompts, references)
    log_probs_BT = token_log_probs(context.reference_logits(sequences), sequences.completion_ids_BT)
    mask_BT = sequences.completion_mask_BT
    return float((log_probs_BT * mask_BT).sum() / mask_BT.sum())
