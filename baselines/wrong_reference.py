"""Control: a teacher that is shown the reference and answer of another problem of the batch. ours

If it helps as much as OPSD, what the reference says was not what helped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from atesd.config import RunConfig
from atesd.distillation import Distillation
from atesd.errors import UserError
from atesd.registry import register
from atesd.signals import BaselineConfig, Signal, UpdateContext
from atesd.tasks.problem import Problem


def swapped(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, each with the reference and answer of the next other one.

    Raises:
        UserError: there is no other problem.
    """
    if len({problem.id for problem in problems}) < 2:
        raise UserError(
            f"baseline=wrong_reference needs two different problems per update and process, got {len(problems)} of one "
            "kind; raise train.batch_size"
        )
    twice = [*problems, *problems]
    others = [next(other for other in twice[row:] if other.id != own.id) for row, own in enumerate(problems)]
    return [
        replace(own, reference=other.reference, answer=other.answer)
        for own, other in zip(problems, others, strict=True)
    ]


class WrongReference(Distillation):
    """Distillation from a teacher with somebody else's privilege."""

    def teacher_prompts(
        self, context: UpdateContext, problems: Sequence[Problem], asked: Sequence[float]
    ) -> tuple[list[list[int]], dict[str, list[float]]]:
        return super().teacher_prompts(context, swapped(problems), asked)


@register("baseline", "wrong_reference")
@dataclass
class WrongReferenceConfig(BaselineConfig):
    """Nothing to set here; ``signal`` and ``teacher`` hold the settings of distillation."""

    def signal(self, run: RunConfig) -> Signal:
        return WrongReference(run.signal, run.exposure.cut)
