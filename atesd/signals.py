"""What a student update learns from. A trainer asks a signal for a batch and for per-token losses; it never asks which
method made them, so a rival method is a signal of its own and touches nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from atesd.exposure import Cut, Exposure
from atesd.registry import Config
from atesd.tasks.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from atesd.config import RunConfig
    from atesd.training.language_model import LanguageModel
    from atesd.training.sequences import Sequences


@dataclass(frozen=True)
class Rollouts:
    """Completions the student sampled: row i completes ``problems[i]``.

    Attributes:
        completions: token ids, with the end token where the student ended.
        texts: the same, decoded.
    """

    problems: list[Problem]
    prompts: list[list[int]]
    completions: list[list[int]]
    texts: list[str]


@dataclass(frozen=True)
class SignalBatch:
    """One update's training data on one rank.

    Attributes:
        sequences: [B, P + T] prompts and completions.
        weights_BT: weight of each token's loss; 0 on padding. The loss is the weighted mean over all ranks.
        tensors: what the signal's loss needs beside the student's logits, each [B, ...].
        metrics: numbers about the batch, averaged over ranks.
        groups: difficulty group of each row [B]; a method that knows no groups leaves it empty.
        row_metrics: numbers about each row [B], averaged over the rows of a group.
    """

    sequences: Sequences
    weights_BT: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)
    row_metrics: dict[str, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, rows: Tensor) -> SignalBatch:
        indices = rows.tolist()
        return replace(
            self,
            sequences=self.sequences[rows],
            weights_BT=self.weights_BT[rows],
            tensors={name: tensor[rows] for name, tensor in self.tensors.items()},
            groups=[self.groups[index] for index in indices] if self.groups else [],
            row_metrics={name: [row[index] for index in indices] for name, row in self.row_metrics.items()},
        )


class UpdateContext(Protocol):
    """What a trainer offers a signal while it collects one update's batch."""

    @property
    def language(self) -> LanguageModel:
        """The student's tokenizer and prompt style."""

    @property
    def update(self) -> int:
        """The student update being collected for, from 0: the key of what a signal draws at random."""

    @property
    def grounded(self) -> bool:
        """Whether the reward has a teacher-grounded term; without one nobody needs g."""

    def total(self, value: float) -> float:
        """Return the sum of every rank's value; every rank must ask."""

    def mean(self, values_BT: Tensor, mask_BT: Tensor) -> float:
        """Return the mean over the tokens of every rank, given values that are 0 outside the mask; every rank asks."""

    def next_problems(self, rows: int, rows_per_problem: int = 1) -> list[Problem]:
        """Return this rank's share of the update's problems, enough for ``rows`` rows over all ranks."""

    def sample(self, problems: Sequence[Problem], samples: int = 1) -> Rollouts:
        """Let the student complete each problem ``samples`` times; the samples of one problem are adjacent rows."""

    def steps_of(self, problem: Problem, cut: Cut) -> list[str]:
        """Return the segments of a problem's reference."""

    def groups_of(self, problems: Sequence[Problem]) -> list[int]:
        """Return the difficulty group of each problem, 0 the easiest; every rank must ask, once per update."""

    def sequences(
        self, problems: Sequence[Problem], prompts: list[list[int]], completions: list[list[int]]
    ) -> Sequences:
        """Collate prompts and completions; refuse one that does not fit the model, naming its problem."""

    def teacher_logits(self, sequences: Sequences) -> Tensor:
        """Return the teacher's logits [B, T, V] for each completion token, without gradient."""

    def student_log_probs(self, sequences: Sequences) -> Tensor:
        """Return the log-probabilities [B, T] of the completions' tokens by the student as it is before the update."""

    def reference_log_probs(self, sequences: Sequences) -> Tensor:
        """Return the teacher's for references scored as g of the paper's reward, which is counted apart."""


class Signal(ABC):
    """Makes one update's batch and its per-token losses."""

    @abstractmethod
    def collect(self, context: UpdateContext, rows: int, exposure: Exposure) -> SignalBatch:
        """Return this rank's share of a batch of ``rows`` sequences, the teacher at ``exposure`` if there is one."""

    @abstractmethod
    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of every token [B, T], with gradient, and token columns [B, T] to summarise, without."""

    def summarise(self, columns: dict[str, Tensor]) -> dict[str, float]:
        """Turn the token columns of a whole update (each over all real tokens) into metrics."""
        return {}


@dataclass
class BaselineConfig(Config):
    """Base of every baseline's settings: a whole method is a signal and the exposure it is trained at."""

    def signal(self, run: RunConfig) -> Signal:
        """Return what the method learns from."""
        raise NotImplementedError(f"{type(self).__name__} does not say which signal it is")

    def exposure(self) -> float:
        """Return the exposure held throughout; a signal without a teacher ignores it."""
        return 1.0

    def updates(self, run: RunConfig) -> int:
        """Return how many student updates the method makes."""
        return run.train.updates
