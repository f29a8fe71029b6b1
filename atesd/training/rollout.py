"""Sampling completions from the student: the interface, and its settings. Importing this module imports no engine."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atesd.errors import UserError
from atesd.registry import Config, register
from atesd.tasks.problem import Problem

if TYPE_CHECKING:
    from atesd.training.language_model import LanguageModel

SampleKey = tuple[int, int, int, int]
"""(seed, update, CRC-32 of the problem's id, sample): all the randomness of one completion."""


def sample_key(seed: int, update: int, problem: Problem, sample: int) -> SampleKey:
    """Return the key of one completion of a problem."""
    return seed, update, zlib.crc32(problem.id.encode()), sample


@dataclass
class RolloutConfig(Config):
    """How completions are sampled. Temperature 1.1, top-p 0.95, top-k 20 and 1,024 tokens are OPSD v3's; these, ours.

    Attributes:
        temperature: divides the logits before sampling.
        top_p: nucleus; 1 keeps all.
        top_k: most likely entries kept; 0 keeps all.
        max_new_tokens: longest completion, in tokens.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(
                f"rollout.temperature must be above 0, got {self.temperature}; evaluation is greedy already"
            )
        if not 0 < self.top_p <= 1:
            raise UserError(f"rollout.top_p must lie in (0, 1], got {self.top_p}; 1 keeps every token")
        if self.top_k < 0:
            raise UserError(f"rollout.top_k must be 0 (keep all) or more, got {self.top_k}")
        if self.max_new_tokens < 1:
            raise UserError(f"rollout.max_new_tokens must be at least 1, got {self.max_new_tokens}")


class Rollout(ABC):
    """Samples completions from the student's current weights."""

    @abstractmethod
    def generate(self, prompts: Sequence[Sequence[int]], keys: Sequence[SampleKey] | None) -> list[list[int]]:
        """Complete every prompt, greedily where ``keys`` is None.

        Returns:
            the completions' token ids, ending with the end token unless cut at ``max_new_tokens``.
        """


@register("rollout", "hf")
@dataclass
class HfRolloutConfig(RolloutConfig):
    """Sampling by Hugging Face ``generate``."""

    def build(self, language: LanguageModel) -> Rollout:
        from atesd.training.hf_rollout import HfRollout

        return HfRollout(self, language)
