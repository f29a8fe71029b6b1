"""A task whose problems are made on demand by a key, without end; a hash of the text decides the split."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from atesd.errors import UserError
from atesd.tasks.arithmetic import split_of
from atesd.tasks.problem import Problem, Split, Task
from atesd.text import cut_lines

_STREAMS = {Split.training: 0, Split.probe: 1, Split.evaluation: 2}
_HELD_OUT_SEED = 0
# Draws per problem asked for, after which there seem to be no others. ours
_PATIENCE = 100


class GeneratedTask(Task):
    """An endless training stream and held-out sets of any size; no text is in two splits."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def make(self, key: int) -> Problem:
        """Return the problem of a key; its reference has a line per step."""

    def training_problem(self, position: int) -> Problem:
        return self._draw(Split.training, self.seed, position)

    def held_out(self, split: Split, count: int) -> list[Problem]:
        """Return ``count`` different problems.

        Raises:
            UserError: there are not so many.
        """
        found: dict[str, Problem] = {}
        position = 0
        while len(found) < count:
            if position > _PATIENCE * count:
                raise UserError(
                    f"data makes no more than {len(found)} different problems for {split.value}, not {count}; ask for "
                    "fewer or make them harder"
                )
            problem = self._draw(split, _HELD_OUT_SEED, position)
            found.setdefault(problem.text, problem)
            position += 1
        return list(found.values())

    def steps(self, reference: str) -> list[str]:
        return cut_lines(reference)

    def _draw(self, split: Split, seed: int, position: int) -> Problem:
        """Make the problem at a position of a split's stream: make others until one's text lies in the split."""
        keys = np.random.default_rng([_STREAMS[split], seed, position])
        while True:
            made = self.make(int(keys.integers(2**62)))
            if split_of(made.text) is split:
                return made
