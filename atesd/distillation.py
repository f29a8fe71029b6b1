"""The distillation signal: the exposed teacher scores the student's own tokens (OPSD; paper, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.exposure import Cut, Exposure, Revealed, of_group, reveal
from atesd.signals import Rollouts, Signal, SignalBatch, UpdateContext
from atesd.tasks.problem import Problem
from atesd.trust import Scored, Trust, token_weights

if TYPE_CHECKING:
    from torch import Tensor

# Brought by baselines whose papers neither clip nor temper the divergence, so that a preset's values stay OPSD's.
UNALTERED: dict[str, Any] = {"temperature": 1.0, "clip": math.inf}
# Share of tokens whose divergence makes the logged tail. ours: the paper names the tail, not its size
KL_TAIL_SHARE = 0.05
REFERENCE_LOG_PROB = "teacher/reference_log_prob_nats_per_token"


@dataclass
class SignalConfig:
    """The distillation signal. Its values in OPSD v3: forward_kl, temperature 1.1, clip 0.05 (8B: 0.06).

    Attributes:
        divergence: between teacher and student.
        temperature: divides both logits. ours: 1, the rollouts' own temperature on the testbed.
        clip: upper bound of each vocabulary entry's term. ours: none, since with 22 entries it removes all learning.
        jsd_weight: share of the teacher in the mixture of ``jsd``.
        trust: which tokens the teacher is trusted on: ``all`` (the paper), ``first_miss``, ``soft``, ``oracle``. ours
        trust_threshold: least p_teacher / p_student of a sampled token that ``first_miss`` takes for plausible. ours
    """

    divergence: Divergence = Divergence.forward_kl
    temperature: float = 1.0
    clip: float = math.inf
    jsd_weight: float = 0.5
    trust: Trust = Trust.all
    trust_threshold: float = 0.1

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"signal.temperature must be above 0, got {self.temperature}")
        if not self.clip > 0:
            raise UserError(f"signal.clip must be above 0, got {self.clip}; .inf clips nothing")
        if not 0 < self.jsd_weight < 1:
            raise UserError(f"signal.jsd_weight must lie in (0, 1), got {self.jsd_weight}")
        if not 0 < self.trust_threshold <= 1:
            raise UserError(
                f"signal.trust_threshold must lie in (0, 1], got {self.trust_threshold}; "
                "signal.trust=all keeps every token"
            )

    def build(self, cut: Cut) -> Distillation:
        return Distillation(self, cut)

    def require(self, divergence: Divergence, baseline: str) -> None:
        """Refuse another divergence than the one that makes the baseline."""
        if self.divergence is not divergence:
            raise UserError(
                f"baseline={baseline} is defined by signal.divergence={divergence.value}, got {self.divergence.value}; "
                "leave signal.divergence out, or take baseline=opsd"
            )


class Distillation(Signal):
    """On-policy self-distillation: the exposed teacher scores the student's own tokens (OPSD; paper, section 3)."""

    def __init__(self, config: SignalConfig, cut: Cut) -> None:
        self.config = config
        self.cut = cut

    def collect(self, context: UpdateContext, rows: int, exposure: Exposure) -> SignalBatch:
        problems = context.next_problems(rows)
        groups = context.groups_of(problems)
        asked = [of_group(exposure, group) for group in groups]
        rollouts = self.rollouts(context, problems)
        prompts, shown = self.teacher_prompts(context, problems, asked)
        batch = self.score(context, rollouts, prompts)
        metrics = {name: fmean(row) for name, row in shown.items()}
        if context.grounded:
            metrics[REFERENCE_LOG_PROB], shown[REFERENCE_LOG_PROB] = reference_log_prob(context, problems, prompts)
        return replace(batch, metrics=metrics | batch.metrics, groups=groups, row_metrics=shown)

    def teacher_prompts(
        self, context: UpdateContext, problems: Sequence[Problem], asked: Sequence[float]
    ) -> tuple[list[list[int]], dict[str, list[float]]]:
        """Return what the teacher is shown of each problem at the exposure asked for it, and numbers about each."""
        revealed = [
            reveal(context.steps_of(problem, self.cut), share) for problem, share in zip(problems, asked, strict=True)
        ]
        realised = [shown.realised for shown in revealed]
        prompts = exposed_prompts(context, problems, revealed)
        return prompts, {"exposure/asked": list(asked), "exposure/realised": realised}

    def score(self, context: UpdateContext, rollouts: Rollouts, prompts: list[list[int]]) -> SignalBatch:
        """Let the teacher score the student's rollouts after prompts of its own; weigh each token by trust."""
        sequences = context.sequences(rollouts.problems, rollouts.prompts, rollouts.completions)
        exposed = context.sequences(rollouts.problems, prompts, rollouts.completions)
        teacher_logits_BTV = context.teacher_logits(exposed)
        scored = Scored(context, rollouts, sequences, teacher_logits_BTV, self.config.trust_threshold)
        weights_BT = token_weights(self.config.trust, scored)
        kept = context.mean(weights_BT, sequences.completion_mask_BT)
        return SignalBatch(
            sequences, weights_BT, {"teacher_logits_BTV": teacher_logits_BTV}, {"trust/kept_share": kept}
        )

    def rollouts(self, context: UpdateContext, problems: Sequence[Problem]) -> Rollouts:
        """Return what the teacher scores, one row per problem: here what the student samples."""
        return context.sample(problems)

    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from atesd.losses import token_divergence, top1_disagreement

        teacher_logits_BTV = batch.tensors["teacher_logits_BTV"]
        detached_BTV = student_logits_BTV.detach()
        return self.divergence(student_logits_BTV, teacher_logits_BTV), {
            "kl": token_divergence(detached_BTV, teacher_logits_BTV),
            "top1_disagreement": top1_disagreement(detached_BTV, teacher_logits_BTV),
        }

    def divergence(self, student_logits_BTV: Tensor, teacher_logits_BTV: Tensor) -> Tensor:
        """Return the loss of every token."""
        from atesd.losses import token_divergence

        config = self.config
        return token_divergence(
            student_logits_BTV,
            teacher_logits_BTV,
            config.divergence,
            config.temperature,
            config.clip,
            config.jsd_weight,
        )

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


def reference_log_prob(
    context: UpdateContext, problems: Sequence[Problem], prompts: list[list[int]]
) -> tuple[float, list[float]]:
    """Return g of the paper's teacher-grounded term: the exposed teacher's mean log-probability of the reference.

    First over the tokens of all ranks' rows, then over those of each row [B] of this one's.

    The paper says "reference answer"; we score the whole reference with its boxed answer, per token. ours
    """
    references = [context.language.reference_completion(problem) for problem in problems]
    sequences = context.sequences(problems, prompts, references)
    mask_BT = sequences.completion_mask_BT
    scores_BT = context.reference_log_probs(sequences) * mask_BT
    return context.mean(scores_BT, mask_BT), (scores_BT.sum(1) / mask_BT.sum(1)).tolist()
