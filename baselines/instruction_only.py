"""Control: a teacher with the privileged form of the prompt and no privilege in it, neither steps nor answer. ours

What a student learns from it comes from the form of the prompt alone. With the answer in it and no steps the same
control is ``controller=none``; the idea of such a control is that of published analyses of OPSD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atesd.config import RunConfig
from atesd.distillation import Distillation
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal, UpdateContext
from atesd.tasks.problem import Problem


class InstructionOnly(Distillation):
    """Distillation from a teacher with an empty privilege; its exposure means nothing."""

    def teacher_prompts(
        self, context: UpdateContext, problems: Sequence[Problem], asked: Sequence[float]
    ) -> tuple[list[list[int]], dict[str, list[float]]]:
        return [context.language.blank_prompt(problem) for problem in problems], {}


@register("baseline", "instruction_only")
@dataclass
class InstructionOnlyConfig(BaselineConfig):
    """Nothing to set here; ``signal`` and ``teacher`` hold the settings of distillation."""

    def signal(self, run: RunConfig) -> Signal:
        return InstructionOnly(run.signal, run.exposure.cut)
