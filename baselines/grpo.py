"""Group relative policy optimisation (arXiv 2402.03300): verified answers, advantages within a problem's own samples.

    A = (r - mean of its group) / (std of its group + 1e-4)
    loss = -mean over sequences of mean over tokens of A * ratio

with r = 1 for a right final answer, else 0, and no KL term, as in the paper's row. One optimizer step per batch, so the
ratio of new to old policy is 1 in value and the clip at 0.2 never acts; its gradient is that of the log-probability at
the rollouts' temperature. That rollouts leave out unlikely tokens (top-p, top-k) is not corrected for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.exposure import Exposure
from atesd.registry import register
from atesd.signals import BaselineConfig, Rollouts, Signal, SignalBatch, UpdateContext
from atesd.verify import Grade

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-4


def graded(context: UpdateContext, rollouts: Rollouts) -> list[bool]:
    """Return which completions end in the right final answer."""
    return [grade is Grade.right for grade in context.language.style.grade(rollouts.problems, rollouts.texts)]


def group_advantages(rewards: list[float], group_size: int) -> np.ndarray:
    """Return (r - mean) / (std + 1e-4) within consecutive groups; a group of equals gets 0.

    >>> group_advantages([1.0, 0.0, 1.0, 1.0], 2).round(3).tolist()
    [0.707, -0.707, 0.0, 0.0]
    """
    groups = np.asarray(rewards, dtype=np.float64).reshape(-1, group_size)
    spread = groups.std(axis=1, keepdims=True, ddof=1)
    advantages: np.ndarray = (groups - groups.mean(axis=1, keepdims=True)) / (spread + EPSILON)
    return advantages.ravel()


class GroupRelative(Signal):
    """Rewards each completion, sampled at a temperature, by its final answer."""

    def __init__(self, group_size: int, temperature: float) -> None:
        self.group_size = group_size
        self.temperature = temperature

    def collect(self, context: UpdateContext, rows: int, exposure: Exposure) -> SignalBatch:
        import torch

        rollouts = context.sample(context.next_problems(rows, self.group_size), self.group_size)
        correct = graded(context, rollouts)
        sequences = context.sequences(rollouts.problems, rollouts.prompts, rollouts.completions)
        mask_BT = sequences.completion_mask_BT.float()
        advantages_B1 = torch.tensor(group_advantages([float(c) for c in correct], self.group_size))[:, None].to(
            mask_BT
        )
        return SignalBatch(
            sequences,
            mask_BT / mask_BT.sum(1, keepdim=True),
            {"advantages_B1": advantages_B1},
            {
                "rollout/success": sum(correct) / len(correct),
                "grpo/mixed_groups": _mixed(advantages_B1, self.group_size),
            },
        )

    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from atesd.losses import token_log_probs

        log_probs_BT = token_log_probs(student_logits_BTV / self.temperature, batch.sequences.completion_ids_BT)
        ratio_BT = (log_probs_BT - log_probs_BT.detach()).exp()
        return -batch.tensors["advantages_B1"] * ratio_BT, {}


def _mixed(advantages_B1: Tensor, group_size: int) -> float:
    """Return the share of groups with both right and wrong answers, the only ones that teach."""
    return float(advantages_B1.reshape(-1, group_size).abs().sum(1).gt(0).float().mean())


@register("baseline", "grpo")
@dataclass
class GrpoConfig(BaselineConfig):
    """Attributes:
    group_size: samples per problem; 8 in the paper's row, with 4 problems per update.
    """

    group_size: int = 8

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise UserError(f"baseline.group_size must be at least 2, got {self.group_size}; one sample has no group")

    def signal(self, run: RunConfig) -> Signal:
        if run.train.batch_size % self.group_size:
            raise UserError(
                f"train.batch_size={run.train.batch_size} must be a multiple of baseline.group_size={self.group_size}"
            )
        return GroupRelative(self.group_size, run.rollout.temperature)
