"""Problems that are nearly the same: texts that share a run of n words.

n = 13 is the length GPT-3's authors looked for (Brown and others 2020, arXiv 2005.14165, appendix C). Words are runs of
letters and digits in lower case; a text of fewer than n words counts as one run of its own, white space aside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from atesd.errors import UserError
from atesd.tasks.problem import Problem

_WORD = re.compile(r"\w+")
_SHOWN = 5  # overlaps named in a message


class Found(Enum):
    """What an overlap with an evaluation set leads to."""

    refuse = "refuse"
    report = "report"


@dataclass
class OverlapConfig:
    """The check of training and probe problems against evaluation sets.

    Attributes:
        n: words in a row that make an overlap.
        against: evaluation sets: names such as ``aime24``, or files with a column ``problem``.
        found: ``refuse``, the default, or ``report`` and go on.
    """

    n: int = 13
    against: list[str] = field(default_factory=list)
    found: Found = Found.refuse

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"data.overlap.n must be at least 1 word, got {self.n}")


def runs(text: str, n: int) -> set[str]:
    """Return every run of n words of a text.

    >>> sorted(runs("One, two: three!", 2))
    ['one two', 'two three']
    """
    words = _WORD.findall(text.lower())
    if len(words) < n:
        return {" ".join(text.split())}
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


def families(texts: Sequence[str], n: int) -> list[int]:
    """Return for each text the number of its family: texts linked by shared runs, directly or through others.

    >>> families(["a b c", "x y z", "b c d", "c d e"], 2)
    [0, 1, 0, 0]
    """
    parents = list(range(len(texts)))
    owners: dict[str, int] = {}
    for index, text in enumerate(texts):
        for run in runs(text, n):
            first, second = _root(parents, owners.setdefault(run, index)), _root(parents, index)
            parents[max(first, second)] = min(first, second)
    return [_root(parents, index) for index in range(len(texts))]


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def shared(problems: Iterable[Problem], evaluation: Iterable[Problem], n: int) -> list[tuple[Problem, Problem]]:
    """Return each problem that shares a run of n words with an evaluation problem, beside the first such."""
    owners: dict[str, Problem] = {}
    for asked in evaluation:
        for run in runs(asked.text, n):
            owners.setdefault(run, asked)
    found = ((problem, [owners[run] for run in runs(problem.text, n) if run in owners]) for problem in problems)
    return [(problem, min(others, key=lambda other: other.id)) for problem, others in found if others]


def message(found: Sequence[tuple[Problem, Problem]], n: int, name: str) -> str:
    """Return one line that names the overlaps."""
    pairs = ", ".join(f"{problem.id} with {asked.id}" for problem, asked in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{len(found)} training or probe problems share {n} words in a row with {name}: {pairs}{more}"
