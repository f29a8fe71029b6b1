"""Is the final answer of a completion right? Here answers are compared as text and never executed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

Pair = tuple[str | None, str]
"""An answer given, or None, and the one expected."""


class Grade(Enum):
    """What became of one answer; only ``right`` is right."""

    right = "right"
    wrong = "wrong"
    no_answer = "no_answer"
    timed_out = "timed_out"
    crashed = "crashed"


def last_boxed(text: str) -> str | None:
    """Return the content of the last ``\\boxed{…}`` with balanced braces, or None.

    >>> last_boxed(r"so \\boxed{1} or rather \\boxed{\\frac{1}{2}}.")
    '\\\\frac{1}{2}'
    """
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    start += len(r"\boxed{")
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start:index]
    return None


def last_marked(text: str, marker: str) -> str | None:
    """Return what follows the last ``marker``, or None.

    >>> last_marked("07+48=55;#55", "#")
    '55'
    """
    _, found, answer = text.rpartition(marker)
    return answer.strip() if found else None


def same_answer(given: str | None, expected: str) -> bool:
    """Compare two answers as text, the amount of white space aside; no answer is wrong."""
    return given is not None and given.split() == expected.split()


def as_text(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade answers by ``same_answer``."""
    return [Grade.no_answer if g is None else Grade.right if same_answer(g, e) else Grade.wrong for g, e in pairs]
