"""Exposure: cut a reference into segments and reveal the first floor(exposure * m) of them (paper, section 3).

The final answer is always shown, whatever the exposure. The paper does not say how segments are cut, so the rule is a
setting (``exposure.cut``), and the realised exposure floor(exposure * m) / m is logged beside the one asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from atesd.errors import UserError
from atesd.tasks.problem import Problem, Task
from atesd.text import cut_after, cut_lines

_SENTENCE_END = re.compile(r"[.!?]\s+|\n+")
# Absorbs rounding, so that 0.29 of 100 segments is 29, also where a library handed the exposure on as float32. ours
_ROUNDING = 1e-6

Exposure = float | Sequence[float]
"""One exposure for all problems, or one per difficulty group, the easiest first."""


class Cut(Enum):
    """How a reference is cut into segments. unknown in the paper."""

    step = "step"
    line = "line"
    sentence = "sentence"
    token = "token"


@dataclass(frozen=True)
class Revealed:
    """What the teacher is shown of one reference: the text, and the share of segments it is."""

    text: str
    realised: float


def segments(problem: Problem, cut: Cut, task: Task, tokens: Callable[[str], list[str]]) -> list[str]:
    """Cut a problem's reference so that the segments joined are the reference; ``tokens`` is the model's own cut.

    Raises:
        UserError: the reference has no segments; names the problem.
    """
    cutters: dict[Cut, Callable[[str], list[str]]] = {
        Cut.step: task.steps,
        Cut.line: cut_lines,
        Cut.sentence: partial(cut_after, _SENTENCE_END),
        Cut.token: tokens,
    }
    pieces = cutters[cut](problem.reference)
    if not any(piece.strip() for piece in pieces):
        raise UserError(
            f"problem {problem.id}: its reference {problem.reference!r} has no segments under "
            f"exposure.cut={cut.value}; give it a worked solution or choose another cut"
        )
    return pieces


def reveal(pieces: list[str], exposure: float) -> Revealed:
    """Return the first floor(exposure * m) of m segments.

    >>> reveal(["a;", "b;", "c;"], 0.5)
    Revealed(text='a;', realised=0.3333333333333333)

    Raises:
        UserError: exposure outside [0, 1].
    """
    shown = min(math.floor((checked(exposure) + _ROUNDING) * len(pieces)), len(pieces))
    return Revealed("".join(pieces[:shown]), shown / len(pieces))


def of_group(exposure: Exposure, group: int) -> float:
    """Return the exposure of one difficulty group.

    >>> of_group(0.5, 2), of_group([1.0, 0.5, 0.25], 2)
    (0.5, 0.25)
    """
    return exposure[group] if isinstance(exposure, Sequence) else exposure


def checked(exposure: float, key: str = "exposure") -> float:
    """Return the exposure if it lies in [0, 1].

    Raises:
        UserError: it does not, or is not a number.
    """
    if not 0.0 <= exposure <= 1.0:
        raise UserError(f"{key} must lie in [0, 1], got {exposure}; 0 shows the answer only, 1 the whole reference")
    return float(exposure)
