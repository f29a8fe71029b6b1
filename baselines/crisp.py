"""CRISP (arXiv 2603.05433): the teacher is the student, asked to be concise; no reference, no answer.

Reverse KL over the full vocabulary on the student's own rollouts, every rollout kept. The prompt style must know an
instruction (``PromptStyle.concise``). The testbed's does not, and none is made up for it: its base models read two
prompt forms, bare and with an answer, always write one operation per step, and the second form would give away the
answer, which CRISP never sees. There ``baseline=instruction_only`` shows what a changed prompt form alone does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from atesd.config import RunConfig
from atesd.distillation import UNALTERED, Distillation
from atesd.errors import UserError
from atesd.prompts import STYLES
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal, UpdateContext
from atesd.tasks.problem import Problem


class ConciseInstruction(Distillation):
    """Distillation from a teacher that sees an instruction and no privilege; its exposure means nothing."""

    def teacher_prompts(
        self, context: UpdateContext, problems: Sequence[Problem], asked: Sequence[float]
    ) -> tuple[list[list[int]], dict[str, list[float]]]:
        return [context.language.concise_prompt(problem) for problem in problems], {}


@register("baseline", "crisp")
@dataclass
class CrispConfig(BaselineConfig):
    """Nothing to set here. The paper's: 32 rollouts per update at temperature 1, 1e-6, one epoch (it converges in 100).

    The paper copies the student into the teacher every 50 updates; ours: frozen, the same for the first 50.
    """

    brings: ClassVar[dict[str, Any]] = {"signal": {"divergence": "reverse_kl", **UNALTERED}}

    def signal(self, run: RunConfig) -> Signal:
        style = getattr(run.model, "style", None)
        if style in STYLES and not STYLES[style].concise:
            raise UserError(
                f"baseline=crisp: the prompt style model.style={style} has no instruction to be concise; take a model "
                "whose style has one, or baseline=instruction_only"
            )
        return ConciseInstruction(run.signal, run.exposure.cut)
