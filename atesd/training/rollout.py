"""Sampling completions from the student: the interface, and its settings. Importing this module imports no engine."""

from __future__ import annotations

import importlib.util
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

        Raises:
            UserError: the sampler does not have the student's weights.
        """

    def sync(self) -> None:  # noqa: B027 (nothing to do for a sampler that shares the student's weights)
        """Take over the student's weights, which have changed. Every rank must call."""

    def sleep(self) -> None:  # noqa: B027
        """Free the device's memory until the next ``sync``, which ``generate`` makes up for where there was none."""

    def take_gap(self) -> float | None:
        """Return the largest gap, in nats, between sampler and student since the last call; None: nothing to check."""
        return None


@register("rollout", "hf")
@dataclass
class HfRolloutConfig(RolloutConfig):
    """Sampling by Hugging Face ``generate``."""

    def build(self, language: LanguageModel) -> Rollout:
        from atesd.training.hf_rollout import HfRollout

        return HfRollout(self, language)


@register("rollout", "vllm")
@dataclass
class VllmRolloutConfig(RolloutConfig):
    """Sampling by a vLLM engine in this process, one per rank unless ``tensor_parallel`` joins some. All numbers: ours.

    Attributes:
        tensor_parallel: ranks that share one engine; divides the number of processes.
        kv_cache_gib: memory of an engine's key-value cache, on each rank.
        checked: completions of each call of which the student scores the sampled tokens again.
        max_gap: largest difference of the two log-probabilities of such a token, in nats. 1e-3 is for fp32, where
            rounding makes some 1e-6; 16-bit weights round thousands of times more coarsely and need a higher limit.
    """

    tensor_parallel: int = 1
    kv_cache_gib: float = 1.0
    checked: int = 2
    max_gap: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("tensor_parallel", "checked"):
            if getattr(self, key) < 1:
                raise UserError(f"rollout.{key} must be at least 1, got {getattr(self, key)}")
        for key in ("kv_cache_gib", "max_gap"):
            if not getattr(self, key) > 0:
                raise UserError(f"rollout.{key} must be above 0, got {getattr(self, key)}")

    def build(self, language: LanguageModel) -> Rollout:
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                "rollout=vllm needs vLLM, which is not installed; pip install -e '.[vllm]' (README, vLLM), or take "
                "rollout=hf"
            )
        from atesd.training.vllm_rollout import VllmRollout

        return VllmRollout(self, language)
