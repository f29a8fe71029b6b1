"""Chains of sums and differences, ``7 + 12 - 5``, the shortest problems a small pre-trained model can half do.

Like reasoning-gym's task of that name, with a reference that works one operation per line. Difficulty is the number of
operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atesd.errors import UserError
from atesd.registry import register
from atesd.tasks.generated import GeneratedTask
from atesd.tasks.problem import DataConfig, Problem


def work_out(terms: list[int]) -> tuple[str, str]:
    """Return the worked steps and the answer of a sum of signed terms.

    >>> work_out([7, 12, -25])
    ('7 + 12 = 19\\n19 - 25 = -6\\n', '-6')
    """
    value, *others = terms
    steps = []
    for term in others:
        steps.append(f"{value}{_signed(term)} = {value + term}\n")
        value += term
    return "".join(steps), str(value)


def _signed(term: int) -> str:
    return f" {'+' if term >= 0 else '-'} {abs(term)}"


class ChainSum(GeneratedTask):
    """Sums of ``operations`` signed terms after the first, each of at most ``digits`` digits."""

    def __init__(self, seed: int, operations: range, digits: int) -> None:
        super().__init__(seed)
        self.operations = operations
        self.largest = 10**digits - 1

    def make(self, key: int) -> Problem:
        rng = np.random.default_rng(key)
        count = int(rng.choice(self.operations))
        sizes = rng.integers(1, self.largest + 1, size=count + 1)
        signs = [1, *rng.choice([1, -1], size=count)]
        terms = [int(sign * size) for sign, size in zip(signs, sizes, strict=True)]
        text = f"What is {terms[0]}{''.join(map(_signed, terms[1:]))}?"
        reference, answer = work_out(terms)
        return Problem(text, text, reference, answer, count)


@register("data", "chain_sum")
@dataclass
class ChainSumConfig(DataConfig):
    """How hard the problems are. All numbers: ours.

    Attributes:
        fewest: least number of operations.
        most: largest number of operations.
        digits: most digits of a term.
    """

    fewest: int = 1
    most: int = 3
    digits: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.fewest <= self.most:
            raise UserError(f"data.fewest must be from 1 to data.most={self.most} operations, got {self.fewest}")
        if not 1 <= self.digits <= 9:
            raise UserError(f"data.digits must be from 1 to 9, got {self.digits}")

    def build(self, seed: int) -> ChainSum:
        return ChainSum(seed, range(self.fewest, self.most + 1), self.digits)
