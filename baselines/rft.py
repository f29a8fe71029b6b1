"""Rejection-sampled fine-tuning (arXiv 2308.01825): sample, keep what is right, fine-tune on it.

From the paper: several samples per problem, the right ones kept once each, cross-entropy on them. Ours: the samples
come from the current student at every update instead of once from the base (100 per problem at temperature 0.7 there);
two samples are the same if their tokens are (there, if their equations are); and the references are not mixed in, so
that what this method learns is the student's own.

A problem without a right sample teaches nothing. Where a whole update has none its loss is 0, and only the optimizer's
momentum moves the student. Both are counted: ``rft/solved`` (problems) and ``rft/kept`` (samples).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.exposure import Exposure
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal, SignalBatch, UpdateContext
from baselines.grpo import graded
from baselines.sft import SupervisedFineTuning


def distinct(correct: Sequence[bool], samples: Sequence[Hashable]) -> list[bool]:
    """Return which samples to keep: the right ones, each once.

    >>> distinct([True, False, True, True], ["a", "b", "a", "c"])
    [True, False, False, True]
    """
    return [
        right and sample not in samples[:row] for row, (right, sample) in enumerate(zip(correct, samples, strict=True))
    ]


class RejectionSampling(SupervisedFineTuning):
    """Learns the student's own right completions token by token."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def collect(self, context: UpdateContext, rows: int, exposure: Exposure) -> SignalBatch:
        rollouts = context.sample(context.next_problems(rows, self.samples), self.samples)
        # With its problem, so that equal samples of two problems are two.
        owned = [(p.id, *ids) for p, ids in zip(rollouts.problems, rollouts.completions, strict=True)]
        correct = graded(context, rollouts)
        kept = distinct(correct, owned)
        sequences = context.sequences(rollouts.problems, rollouts.prompts, rollouts.completions)
        mask_BT = sequences.completion_mask_BT.float()
        return SignalBatch(
            sequences,
            mask_BT * mask_BT.new_tensor(kept)[:, None],
            {},
            {
                "rollout/success": sum(correct) / len(correct),
                "rft/kept": sum(kept) / len(kept),
                "rft/solved": float(np.reshape(correct, (-1, self.samples)).any(1).mean()),
            },
        )


@register("baseline", "rft")
@dataclass
class RftConfig(BaselineConfig):
    """Attributes:
    samples: per problem and update. ours: 8, as many as ``grpo``; the paper draws up to 100 once.
    """

    samples: int = 8

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UserError(f"baseline.samples must be at least 1, got {self.samples}")

    def signal(self, run: RunConfig) -> Signal:
        if run.train.batch_size % self.samples:
            raise UserError(
                f"train.batch_size={run.train.batch_size} must be a multiple of baseline.samples={self.samples}"
            )
        return RejectionSampling(self.samples)
