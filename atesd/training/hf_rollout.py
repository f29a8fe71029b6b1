"""Rollouts by Hugging Face ``generate``, each token drawn from its own key and so independent of its batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from atesd.training.language_model import LanguageModel
from atesd.training.rollout import Rollout, RolloutConfig, SampleKey
from atesd.training.sequences import TokenIds


class KeyedSampling(LogitsProcessor):
    """Turns greedy search into sampling: leaves only the token that the row's own uniform number points at."""

    def __init__(self, keys: Sequence[SampleKey], prompt_length: int, steps: int) -> None:
        self.uniforms_BT = torch.from_numpy(np.stack([np.random.default_rng(key).random(steps) for key in keys]))
        self.prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        cumulative_BV = scores.double().softmax(-1).cumsum(-1)
        uniforms_B1 = self.uniforms_BT[:, input_ids.shape[1] - self.prompt_length, None].to(scores.device)
        drawn_B1 = torch.searchsorted(cumulative_BV, uniforms_B1 * cumulative_BV[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn_B1.clamp(max=scores.shape[1] - 1), 0.0)


class HfRollout(Rollout):
    """Samples from a module in this process, whose weights are always the trainer's own."""

    def __init__(self, config: RolloutConfig, language: LanguageModel) -> None:
        self.config = config
        self.language = language
        self.generation = GenerationConfig(
            max_new_tokens=config.max_new_tokens,
            do_sample=False,
            pad_token_id=language.pad_id,
            eos_token_id=language.eos_id,
        )
        self.warpers = [TemperatureLogitsWarper(config.temperature)] if config.temperature != 1.0 else []
        self.warpers += [TopKLogitsWarper(config.top_k)] if config.top_k else []
        self.warpers += [TopPLogitsWarper(config.top_p)] if config.top_p < 1.0 else []

    def generate(self, prompts: Sequence[TokenIds], keys: Sequence[SampleKey] | None) -> list[list[int]]:
        if not prompts:  # a rank's share of a small probe set
            return []
        model = self.language.model
        batch = self.language.collate(prompts, [[]] * len(prompts))
        steps = self.config.max_new_tokens
        sampling = [] if keys is None else [*self.warpers, KeyedSampling(keys, batch.prompt_length, steps)]
        with torch.no_grad(), _without_own_settings(model):
            ids = model.generate(
                input_ids=batch.ids,
                attention_mask=batch.mask,
                generation_config=self.generation,
                logits_processor=LogitsProcessorList(sampling),
            )
        return [self._until_end(row) for row in ids[:, batch.prompt_length :].tolist()]

    def _until_end(self, ids: list[int]) -> list[int]:
        end = self.language.eos_id
        return ids[: ids.index(end) + 1] if end in ids else ids


@contextmanager
def _without_own_settings(model: Any) -> Iterator[None]:
    """Keep a model folder's generation settings, a repetition penalty say, from shaping what is sampled unseen.

    ``generate`` takes from them whatever it is not given; they are put back, since the folder is written with them.
    """
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    own, owner.generation_config = owner.generation_config, GenerationConfig()
    try:
        yield
    finally:
        owner.generation_config = own
