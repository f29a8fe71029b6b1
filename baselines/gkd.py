"""Generalised knowledge distillation (arXiv 2306.13649): student rollouts or references, generalised JSD.

From the paper: each update is on-policy with probability ``on_policy`` (lambda of algorithm 1), else the teacher scores
the data set's own solutions; the loss is JSD(beta) between teacher and student per token (eq. 1), beta being the
teacher's share in the mixture (``signal.jsd_weight``; 0.1, 0.5 and 0.9 in the paper). Not here: the paper's teacher is
a larger model that has been fine-tuned on the task. There is none, so the teacher is the student's own, shown the whole
reference (ours). On references it therefore reads what it scores, and comes close to teaching the reference tokens
themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from atesd.config import RunConfig
from atesd.distillation import UNALTERED, Distillation, SignalConfig
from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.registry import register
from atesd.signals import BaselineConfig, Rollouts, Signal, UpdateContext
from atesd.tasks.problem import Problem

# What separates these draws from the run's others. ours
_STREAM = 2306


class OnAndOffPolicy(Distillation):
    """Distils on the student's rollouts in some updates and on the references in the others, the same on every rank."""

    def __init__(self, config: SignalConfig, cut: Cut, on_policy: float, seed: int) -> None:
        super().__init__(config, cut)
        self.on_policy = on_policy
        self.seed = seed

    def rollouts(self, context: UpdateContext, problems: Sequence[Problem]) -> Rollouts:
        if np.random.default_rng([self.seed, _STREAM, context.update]).random() < self.on_policy:
            return super().rollouts(context, problems)
        return references(context, problems)


def references(context: UpdateContext, problems: Sequence[Problem]) -> Rollouts:
    """Return the references in the place of rollouts; nothing is sampled."""
    language = context.language
    return Rollouts(
        list(problems),
        [language.student_prompt(problem) for problem in problems],
        [language.reference_completion(problem) for problem in problems],
        [language.style.reference_completion(problem) for problem in problems],
    )


@register("baseline", "gkd")
@dataclass
class GkdConfig(BaselineConfig):
    """Attributes:
    on_policy: lambda, the share of on-policy updates; 0, 0.5 and 1 in the paper, 0.5 being its mixed arm.
    """

    brings: ClassVar[dict[str, Any]] = {"signal": {"divergence": "jsd", **UNALTERED}}
    on_policy: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.on_policy <= 1:
            raise UserError(f"baseline.on_policy must lie in [0, 1], got {self.on_policy}; 1 never uses a reference")

    def signal(self, run: RunConfig) -> Signal:
        run.signal.require(Divergence.jsd, self.name)
        return OnAndOffPolicy(run.signal, run.exposure.cut, self.on_policy, run.seed)
