"""Self-distillation policy optimisation (arXiv 2601.20802): the teacher is shown what worked for a peer.

Several rollouts per problem; the teacher of each sees the first correct one among the *others*. Without one it sees
feedback, where the task gives any; without that, the rollout has no privilege and no loss. The paper's equation 1 is
the reverse KL; its runs without rich feedback use the Jensen-Shannon divergence and a moving average of the student.
No reference is used, only whether answers are right. ours: the full vocabulary instead of the top 100 with a tail; the
form of feedback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar

from atesd.config import RunConfig
from atesd.distillation import UNALTERED, Distillation, SignalConfig
from atesd.errors import UserError
from atesd.exposure import Cut, Exposure
from atesd.registry import register
from atesd.signals import BaselineConfig, Rollouts, Signal, SignalBatch, UpdateContext
from baselines.grpo import graded


class Feedback(Enum):
    """What the teacher sees where no peer is right: nothing (no loss), or the right answer, as a verifier would say."""

    none = "none"
    answer = "answer"


def peers(correct: Sequence[bool], group_size: int) -> list[int | None]:
    """Return for every rollout the first correct other one of its group, or None.

    >>> peers([False, True, True, False, True, False], 3)
    [1, 2, 1, 4, None, 4]
    """
    found: list[int | None] = []
    for row in range(len(correct)):
        first = row - row % group_size
        found.append(next((i for i in range(first, first + group_size) if correct[i] and i != row), None))
    return found


class PeerDistillation(Distillation):
    """Distillation from a teacher that sees a peer's correct rollout instead of the reference."""

    def __init__(self, config: SignalConfig, cut: Cut, group_size: int, feedback: Feedback) -> None:
        super().__init__(config, cut)
        self.group_size = group_size
        self.feedback = feedback

    def collect(self, context: UpdateContext, rows: int, exposure: Exposure) -> SignalBatch:
        rollouts = context.sample(context.next_problems(rows, self.group_size), self.group_size)
        correct = graded(context, rollouts)
        privileges = [self._privilege(context, rollouts, peer) for peer in peers(correct, self.group_size)]
        batch = self.score(context, rollouts, self._prompts(context, rollouts, privileges))
        taught = [float(privilege is not None) for privilege in privileges]
        metrics = {"rollout/success": sum(correct) / len(correct), "sdpo/taught": sum(taught) / len(taught)}
        return replace(
            batch,
            weights_BT=batch.weights_BT * batch.weights_BT.new_tensor(taught)[:, None],
            metrics=batch.metrics | metrics,
        )

    def _privilege(self, context: UpdateContext, rollouts: Rollouts, peer: int | None) -> str | None:
        """Return the reasoning the teacher is shown before the right answer; None: nothing is known."""
        if peer is not None:
            reasoning: str = context.language.style.reasoning(rollouts.texts[peer])
            return reasoning
        return "" if self.feedback is Feedback.answer else None

    def _prompts(self, context: UpdateContext, rollouts: Rollouts, privileges: Sequence[str | None]) -> list[list[int]]:
        teacher_prompt = context.language.teacher_prompt
        rows = zip(rollouts.problems, rollouts.prompts, privileges, strict=True)
        return [bare if shown is None else teacher_prompt(problem, shown) for problem, bare, shown in rows]


@register("baseline", "sdpo")
@dataclass
class SdpoConfig(BaselineConfig):
    """Attributes:
    group_size: rollouts per problem; 8 in the paper.
    feedback: ``none`` (the paper's, where the task gives no feedback) or ``answer``. ours
    """

    brings: ClassVar[dict[str, Any]] = {
        "teacher": {"kind": "ema", "ema_rate": 0.05},
        "signal": {"divergence": "jsd", "jsd_weight": 0.5, **UNALTERED},
    }
    group_size: int = 8
    feedback: Feedback = Feedback.none

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise UserError(f"baseline.group_size must be at least 2, got {self.group_size}; one rollout has no peer")

    def signal(self, run: RunConfig) -> Signal:
        if run.train.batch_size % self.group_size:
            raise UserError(
                f"train.batch_size={run.train.batch_size} must be a multiple of baseline.group_size={self.group_size}"
            )
        return PeerDistillation(run.signal, run.exposure.cut, self.group_size, self.feedback)
