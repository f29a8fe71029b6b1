"""What a task hands out: problems with a worked reference and a final answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

from atesd.errors import UserError
from atesd.registry import Config


class Split(Enum):
    """The three disjoint sets of problems a run uses."""

    training = "training"
    probe = "probe"
    evaluation = "evaluation"


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        id: unique within the task; names the problem in every error and table.
        text: the bare problem, as the student sees it.
        reference: the worked solution without the final answer.
        answer: the final answer, without its box.
        difficulty: the group accuracy is reported by.
        draw: how often the update it is drawn for had drawn it before; a set smaller than a batch comes round again.
    """

    id: str
    text: str
    reference: str
    answer: str
    difficulty: int
    draw: int = 0


class Task(ABC):
    """Training, probe and evaluation problems that never overlap, and the rule for a right answer."""

    @abstractmethod
    def training_problem(self, position: int) -> Problem:
        """Return the problem at ``position`` of the endless training stream, a pure function of seed and position."""

    @abstractmethod
    def held_out(self, split: Split, count: int) -> list[Problem]:
        """Return the first ``count`` problems of the probe or evaluation set, the same for every seed.

        Raises:
            UserError: the set has fewer than ``count`` problems.
        """

    @abstractmethod
    def steps(self, reference: str) -> list[str]:
        """Cut a reference into its own steps, such that ``"".join(steps) == reference``."""

    def listed(self) -> dict[Split, list[Problem]]:
        """Return all problems of each split; empty where they are made on demand and have no end."""
        return {}


@dataclass
class DataConfig(Config):
    """Base of the settings of a task that makes its problems on demand."""

    def build(self, seed: int) -> Task:
        """Return the task to train on."""
        raise NotImplementedError(f"{type(self).__name__} does not say which task it builds")

    def benchmark(self, count: int | None) -> list[Problem]:
        """Return the ``count`` problems that ``atesd.evaluate`` asks: the first of the evaluation split.

        Raises:
            UserError: no count is given.
        """
        if count is None:
            raise UserError(f"data={self.name} makes problems without end; say how many: problems=300")
        return self.build(seed=0).held_out(Split.evaluation, count)
