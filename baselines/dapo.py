"""DAPO (arXiv 2503.14476): GRPO that keeps drawing problems until every group holds right and wrong answers.

From the paper: rewards 1 and -1 for a right and a wrong final answer (eq. 7); advantages within a group (eq. 9, to
which our 1e-4 is added); the mean over tokens instead of sequences (eq. 8, where it is over those of a group; here, as
in its published code, over those of the batch), dynamic sampling of groups that are neither all right nor all wrong
(eq. 11), and a penalty on answers that come near the length limit (eq. 13); no KL term. The fourth
change, a clip between 0.8 and 1.28, acts only where a batch is used for several optimizer steps. Here it is used for
one, so the ratio is 1 in value and there is nothing to clip (see ``grpo``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.exposure import Exposure
from atesd.registry import register
from atesd.signals import Signal, SignalBatch, UpdateContext
from baselines.grpo import GroupRelative, GrpoConfig, graded, group_advantages

if TYPE_CHECKING:
    from atesd.tasks.problem import Problem


@dataclass(frozen=True)
class Group:
    """One problem's samples, and which of them are right."""

    problem: Problem
    prompt: list[int]
    completions: list[list[int]]
    correct: list[bool]

    @property
    def mixed(self) -> bool:
        """Return whether some samples are right and some wrong; only such a group teaches (eq. 11)."""
        return 0 < sum(self.correct) < len(self.correct)


def overlong_penalty(length: int, longest: int, cache: int) -> float:
    """Return 0 up to ``longest - cache`` tokens, from there a straight line to -1 at ``longest`` (eq. 13).

    >>> [overlong_penalty(length, longest=64, cache=6) for length in (10, 58, 61, 64)]
    [0.0, 0.0, -0.5, -1.0]
    """
    return -max(0, length - (longest - cache)) / cache if length > longest - cache else 0.0


class DynamicSampling(GroupRelative):
    """Draws whole batches of problems until each rank has its share of mixed groups, or has drawn ``draws`` times.

    What is then still missing is filled with groups that are not mixed and weigh nothing, so that every rank makes its
    rows. Mixed groups in excess are left out, as in the paper; the tokens of everything sampled are counted.
    """

    def __init__(self, config: DapoConfig, longest: int, temperature: float) -> None:
        super().__init__(config.group_size, temperature)
        self.config = config
        self.longest = longest

    def collect(self, context: UpdateContext, rows: int, exposure: Exposure) -> SignalBatch:
        import torch

        drawn = self._draw(context, rows)
        wanted = len(drawn)
        # All ranks draw as long as any of them lacks groups: they share one stream of problems.
        while context.total(sum(group.mixed for group in drawn) < wanted) and len(drawn) < wanted * self.config.draws:
            drawn += self._draw(context, rows)
        groups = sorted(drawn, key=lambda group: not group.mixed)[:wanted]
        rewards = [reward for group in groups for reward in self._rewards(group)]
        completions = [completion for group in groups for completion in group.completions]
        owners = [group for group in groups for _ in group.completions]
        sequences = context.sequences([o.problem for o in owners], [o.prompt for o in owners], completions)
        mask_BT = sequences.completion_mask_BT.float()
        advantages_B1 = torch.tensor(group_advantages(rewards, self.group_size))[:, None].to(mask_BT)
        mixed_B1 = mask_BT.new_tensor([owner.mixed for owner in owners])[:, None]
        return SignalBatch(
            sequences,
            mask_BT * mixed_B1,
            {"advantages_B1": advantages_B1},
            {
                "rollout/success": sum(sum(group.correct) for group in drawn) / (len(drawn) * self.group_size),
                "dapo/mixed_groups": sum(group.mixed for group in groups) / wanted,
                "dapo/draws": len(drawn) / wanted,
            },
        )

    def _draw(self, context: UpdateContext, rows: int) -> list[Group]:
        """Sample one batch of groups of the stream's next problems."""
        rollouts = context.sample(context.next_problems(rows, self.group_size), self.group_size)
        correct = graded(context, rollouts)
        return [
            Group(
                rollouts.problems[start],
                rollouts.prompts[start],
                rollouts.completions[start : start + self.group_size],
                correct[start : start + self.group_size],
            )
            for start in range(0, len(correct), self.group_size)
        ]

    def _rewards(self, group: Group) -> list[float]:
        return [
            (1.0 if right else -1.0) + overlong_penalty(len(completion), self.longest, self.config.overlong_cache)
            for completion, right in zip(group.completions, group.correct, strict=True)
        ]


@register("baseline", "dapo")
@dataclass
class DapoConfig(GrpoConfig):
    """Attributes:
    group_size: samples per problem; 16 in the paper, with 512 problems per sampling and 16 updates from each at 1e-6.
    draws: most batches drawn for one update; 10 in the paper's published script, which then stops with an error.
    overlong_cache: last tokens of ``rollout.max_new_tokens`` in which the penalty grows; 4,096 of 20,480 in the paper.
        ours: 6 of 64, since right answers on the testbed take up to 58 tokens. 0 punishes no length.
    """

    draws: int = 10
    overlong_cache: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1:
            raise UserError(f"baseline.draws must be at least 1, got {self.draws}; 1 draws nothing further")
        if self.overlong_cache < 0:
            raise UserError(f"baseline.overlong_cache must be 0 (off) or more tokens, got {self.overlong_cache}")

    def signal(self, run: RunConfig) -> Signal:
        super().signal(run)  # which refuses a batch that does not divide into groups
        longest = run.rollout.max_new_tokens
        if self.overlong_cache > longest:
            raise UserError(
                f"baseline.overlong_cache={self.overlong_cache} must be at most rollout.max_new_tokens={longest}"
            )
        return DynamicSampling(self, longest, run.rollout.temperature)
