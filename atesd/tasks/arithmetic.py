"""The embedded testbed: chains of two-digit operations modulo 100, evaluated left to right.

A problem is a two-digit start value and 2 to 6 operations, ``07+48*3-09``; its reference works one operation per
step, ``07+48=55;55*3=65;65-09=56;``. Difficulty is the number of steps. Problems are made on demand: a hash of the
problem's text decides which split it belongs to, so the three splits are disjoint whatever the seed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from atesd.registry import register
from atesd.tasks.problem import DataConfig, Problem, Split, Task

FEWEST_STEPS, MOST_STEPS = 2, 6
# Shares of 100 hash buckets: [0, 80) training, [80, 85) probe, [85, 100) evaluation. ours
_BUCKETS = {Split.training: range(0, 80), Split.probe: range(80, 85), Split.evaluation: range(85, 100)}
# What separates the draws of one seed: pre-training and training never meet at the same place of one stream.
PRETRAINING, _PROBE, _EVALUATION, _TRAINING = range(4)


def split_of(text: str) -> Split:
    """Return the split a problem's text belongs to."""
    bucket = zlib.crc32(text.encode()) % 100
    return next(split for split, buckets in _BUCKETS.items() if bucket in buckets)


def work_out(start: int, operations: list[tuple[str, int]]) -> tuple[str, str]:
    """Return the worked steps and the two-digit answer.

    >>> work_out(7, [("+", 48), ("*", 3), ("-", 9)])
    ('07+48=55;55*3=65;65-09=56;', '56')
    """
    value, steps = start, []
    for operator, operand in operations:
        result = {"+": value + operand, "-": value - operand, "*": value * operand}[operator] % 100
        steps.append(f"{value:02d}{_operation(operator, operand)}={result:02d};")
        value = result
    return "".join(steps), f"{value:02d}"


def _operation(operator: str, operand: int) -> str:
    return f"{operator}{operand}" if operator == "*" else f"{operator}{operand:02d}"


def _draw(rng: np.random.Generator) -> Problem:
    count = int(rng.integers(FEWEST_STEPS, MOST_STEPS + 1))
    start = int(rng.integers(100))
    operators = [str(o) for o in rng.choice(["+", "-", "*"], size=count)]
    operations = [(o, int(rng.integers(2, 10) if o == "*" else rng.integers(100))) for o in operators]
    text = f"{start:02d}" + "".join(_operation(*operation) for operation in operations)
    reference, answer = work_out(start, operations)
    return Problem(id=text, text=text, reference=reference, answer=answer, difficulty=count)


def draw(split: Split, seed: int, position: int, stream: int) -> Problem:
    """Draw the problem at ``position`` of a stream: redraw until the text's hash lies in the split."""
    rng = np.random.default_rng([stream, seed, position])
    while True:
        problem = _draw(rng)
        if split_of(problem.text) is split:
            return problem


class Arithmetic(Task):
    """An endless training stream and held-out sets of any size, without a file."""

    HELD_OUT_SEED = 0

    def __init__(self, seed: int, stream: int = _TRAINING) -> None:
        self.seed = seed
        self.stream = stream

    def training_problem(self, position: int) -> Problem:
        return draw(Split.training, self.seed, position, self.stream)

    def held_out(self, split: Split, count: int) -> list[Problem]:
        stream = {Split.probe: _PROBE, Split.evaluation: _EVALUATION}[split]
        found: dict[str, Problem] = {}
        position = 0
        while len(found) < count:
            problem = draw(split, self.HELD_OUT_SEED, position, stream)
            found.setdefault(problem.id, problem)
            position += 1
        return list(found.values())

    def steps(self, reference: str) -> list[str]:
        return [step + ";" for step in reference.split(";")[:-1]]


@register("data", "arithmetic")
@dataclass
class ArithmeticConfig(DataConfig):
    """Settings of the embedded testbed; it has none."""

    def build(self, seed: int) -> Arithmetic:
        return Arithmetic(seed)
