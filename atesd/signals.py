"""What a student update learns from. A trainer asks a signal for a batch and for per-token losses; it never asks which
method made them, so a rival method is a signal of its own and touches nothing else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from atesd.errors import UserError
from atesd.exposure import Cut, Revealed, reveal
from atesd.registry import Config
from atesd.tasks.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from atesd.config import RunConfig
    from atesd.training.language_model import LanguageModel
    from atesd.training.sequences import Sequences

# Share of tokens whose divergence makes the logged tail. ours: the paper names the tail, not its size
KL_TAIL_SHARE = 0.05


class Divergence(Enum):
    """Between teacher and student, per token over the full vocabulary."""

    forward_kl = "forward_kl"
    reverse_kl = "reverse_kl"
    jsd = "jsd"


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
    """

    sequences: Sequences
    weights_BT: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, rows: slice) -> SignalBatch:
        tensors = {name: tensor[rows] for name, tensor in self.tensors.items()}
        return replace(self, sequences=self.sequences[rows], weights_BT=self.weights_BT[rows], tensors=tensors)


class UpdateContext(Protocol):
    """What a trainer offers a signal while it collects one update's batch."""

    @property
    def language(self) -> LanguageModel:
        """The student's tokenizer and prompt style."""

    def next_problems(self, rows: int, rows_per_problem: int = 1) -> list[Problem]:
        """Return this rank's share of the update's problems, enough for ``rows`` rows over all ranks."""

    def sample(self, problems: Sequence[Problem], samples: int = 1) -> Rollouts:
        """Let the student complete each problem ``samples`` times; the samples of one problem are adjacent rows."""

    def steps_of(self, problem: Problem, cut: Cut) -> list[str]:
        """Return the segments of a problem's reference."""

    def sequences(
        self, problems: Sequence[Problem], prompts: list[list[int]], completions: list[list[int]]
    ) -> Sequences:
        """Collate prompts and completions; refuse one that does not fit the model, naming its problem."""

    def teacher_logits(self, sequences: Sequences) -> Tensor:
        """Return the teacher's logits [B, T, V] for each completion token, without gradient."""


class Signal(ABC):
    """Makes one update's batch and its per-token losses."""

    @abstractmethod
    def collect(self, context: UpdateContext, rows: int, exposure: float) -> SignalBatch:
        """Return this rank's share of a batch of ``rows`` sequences, the teacher at ``exposure`` if there is one."""

    @abstractmethod
    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of every token [B, T], with gradient, and token columns [B, T] to summarise, without."""

    def summarise(self, columns: dict[str, Tensor]) -> dict[str, float]:
        """Turn the token columns of a whole update (each over all real tokens) into metrics."""
        return {}


@dataclass
class SignalConfig:
    """The distillation signal. Its values in OPSD v3: forward_kl, temperature 1.1, clip 0.05 (8B: 0.06).

    Attributes:
        divergence: between teacher and student.
        temperature: divides both logits. ours: 1, the rollouts' own temperature on the testbed.
        clip: upper bound of each vocabulary entry's term. ours: none, since with 22 entries it removes all learning.
        jsd_weight: share of the teacher in the mixture of ``jsd``.
    """

    divergence: Divergence = Divergence.forward_kl
    temperature: float = 1.0
    clip: float = math.inf
    jsd_weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"signal.temperature must be above 0, got {self.temperature}")
        if not self.clip > 0:
            raise UserError(f"signal.clip must be above 0, got {self.clip}; .inf clips nothing")
        if not 0 < self.jsd_weight < 1:
            raise UserError(f"signal.jsd_weight must lie in (0, 1), got {self.jsd_weight}")

    def build(self, cut: Cut) -> Distillation:
        return Distillation(self, cut)


class Distillation(Signal):
    """On-policy self-distillation: the exposed teacher scores the student's own tokens (OPSD; paper, section 3)."""

    def __init__(self, config: SignalConfig, cut: Cut) -> None:
        self.config = config
        self.cut = cut

    def collect(self, context: UpdateContext, rows: int, exposure: float) -> SignalBatch:
        problems = context.next_problems(rows)
        rollouts = context.sample(problems)
        revealed = [reveal(context.steps_of(problem, self.cut), exposure) for problem in problems]
        prompts = exposed_prompts(context, problems, revealed)
        sequences = context.sequences(problems, rollouts.prompts, rollouts.completions)
        exposed = context.sequences(problems, prompts, rollouts.completions)
        return SignalBatch(
            sequences,
            sequences.completion_mask_BT.float(),
            {"teacher_logits_BTV": context.teacher_logits(exposed)},
            {
                "exposure/asked": exposure,
                "exposure/realised": sum(shown.realised for shown in revealed) / len(revealed),
                "teacher/reference_log_prob_nats_per_token": reference_log_prob(context, problems, prompts),
            },
        )

    def token_losses(self, student_logits_BTV: Tensor, batch: SignalBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from atesd.losses import token_divergence, top1_disagreement

        config = self.config
        teacher_logits_BTV = batch.tensors["teacher_logits_BTV"]
        losses_BT = token_divergence(
            student_logits_BTV,
            teacher_logits_BTV,
            config.divergence,
            config.temperature,
            config.clip,
            config.jsd_weight,
        )
        detached_BTV = student_logits_BTV.detach()
        return losses_BT, {
            "kl": token_divergence(detached_BTV, teacher_logits_BTV),
            "top1_disagreement": top1_disagreement(detached_BTV, teacher_logits_BTV),
        }

    def summarise(self, columns: dict[str, Tensor]) -> dict[str, float]:
        from atesd.losses import tail_mean

        return {
            "loss/kl_nats_per_token": float(columns["kl"].mean()),
            "mismatch/kl_tail_nats": tail_mean(columns["kl"], KL_TAIL_SHARE),
            "mismatch/top1_disagreement": float(columns["top1_disagreement"].mean()),
        }


def exposed_prompts(
    context: UpdateContext, problems: Sequence[Problem], revealed: Sequence[Revealed]
) -> list[list[int]]:
    """Return the teacher's prompts with what is revealed of each problem's reference."""
    language = context.language
    return [language.teacher_prompt(problem, shown.text) for problem, shown in zip(problems, revealed, strict=True)]


def reference_log_prob(context: UpdateContext, problems: Sequence[Problem], prompts: list[list[int]]) -> float:
    """Return g of the paper's teacher-grounded term: the exposed teacher's mean log-probability of the reference.

    The paper says "reference answer"; we score the whole reference with its boxed answer, per token. ours
    """
    from atesd.losses import token_log_probs

    references = [context.language.reference_completion(problem) for problem in problems]
    sequences = context.sequences(problems, prompts, references)
    log_probs_BT = token_log_probs(context.teacher_logits(sequences), sequences.completion_ids_BT)
    mask_BT = sequences.completion_mask_BT
    return float((log_probs_BT * mask_BT).sum() / mask_BT.sum())


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
