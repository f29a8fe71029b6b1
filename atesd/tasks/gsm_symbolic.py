"""GSM-Symbolic (Mirzadeh and others 2024, arXiv 2410.05229): word problems from templates, without end and offline.

The package reasoning-gym makes them, with worked solutions. A hash of the text decides the split, as in the embedded
testbed: no text is in two splits, but all splits share the templates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atesd.errors import UserError
from atesd.registry import register
from atesd.tasks.arithmetic import split_of
from atesd.tasks.problem import DataConfig, Problem, Split, Task
from atesd.text import cut_lines

_STREAMS = {Split.training: 0, Split.probe: 1, Split.evaluation: 2}
_HELD_OUT_SEED = 0


class GsmSymbolic(Task):
    """An endless training stream and held-out sets of any size."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        try:
            from reasoning_gym.arithmetic import gsm_symbolic
        except ImportError:
            raise UserError("data=gsm_symbolic needs the package reasoning-gym; pip install -e '.[data]'") from None
        self.maker = gsm_symbolic

    def training_problem(self, position: int) -> Problem:
        return self._draw(Split.training, self.seed, position)

    def held_out(self, split: Split, count: int) -> list[Problem]:
        found: dict[str, Problem] = {}
        position = 0
        while len(found) < count:
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
            made = self._make(int(keys.integers(2**62)))
            if split_of(made.text) is split:
                return made

    def _make(self, key: int) -> Problem:
        settings = self.maker.GSMSymbolicDatasetConfig(seed=key, size=1)
        item = self.maker.GSMSymbolicDataset(settings)[0]
        reference = item["metadata"]["answer_cot"].rpartition("####")[0]
        return Problem(f"gsm_symbolic:{key}", item["question"], reference, item["answer"], len(cut_lines(reference)))


@register("data", "gsm_symbolic")
@dataclass
class GsmSymbolicConfig(DataConfig):
    """It has no settings."""

    def build(self, seed: int) -> GsmSymbolic:
        return GsmSymbolic(seed)
