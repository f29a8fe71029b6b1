"""Rollouts by a vLLM engine in this process, which takes over the student's weights after every update.

vLLM keeps weights of its own, so a sync that is skipped or half done samples from an older student without a word
(TRL's issue 5312). Each call therefore has the student score some of the tokens just sampled again, and refuses a gap.

A sample's seed comes from its key alone, so the same weights and key give the same sample whatever the batch, up to
rounding: vLLM may add in another order in another batch, and a token whose draw lies within that rounding of another's
falls the other way. A resumed run too is the same up to rounding. ``rollout=hf`` draws other samples.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from atesd.errors import UserError
from atesd.training import weights
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import Rollout, SampleKey, VllmRolloutConfig
from atesd.training.sequences import TokenIds, score_tokens

Request = tuple[TokenIds, SampleKey | None]

# In this process, or the weights would have to travel; silent, and without moving the trainer's threads.
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def seed(key: SampleKey) -> int:
    """Return a request's seed: 63 bits, all that vLLM takes.

    >>> seed((0, 1, 2, 3)) == seed((0, 1, 2, 3)) != seed((0, 1, 2, 4))
    True
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _refusals() -> Iterator[None]:
    """Report what vLLM refuses as the user's to mend."""
    try:
        yield
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"rollout=vllm: vLLM does not start: {reason}; change rollout.kv_cache_gib or the model, or take rollout=hf"
        ) from error


class VllmRollout(Rollout):
    """Samples from a copy of the student's weights in a vLLM engine."""

    def __init__(self, config: VllmRolloutConfig, language: LanguageModel) -> None:
        self.config = config
        self.language = language
        self.gap: float | None = None
        self.asleep = False
        self.engine = self._engine()
        self.sync()

    def _engine(self) -> Any:
        """Return an engine of the student's shape, its weights still arbitrary."""
        os.environ |= {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()}
        from vllm import LLM
        from vllm.platforms import current_platform
        from vllm.v1.engine import core

        ranks = dist.get_world_size() if dist.is_initialized() else 1
        if ranks % self.config.tensor_parallel:
            raise UserError(
                f"rollout.tensor_parallel={self.config.tensor_parallel} does not divide the {ranks} processes; choose "
                "a divisor, or start more"
            )
        if dist.is_initialized():
            # An engine that is collected would end the processes' group as its own, and this one is the trainer's:
            # the next run of a sweep, or the run itself, would be left without.
            core.cleanup_dist_env_and_memory = gc.collect
        set_num_threads = torch.set_num_threads
        with TemporaryDirectory() as folder, _refusals():
            self.language.model.config.save_pretrained(folder)
            engine = LLM(
                folder,
                load_format="dummy",  # the weights are the student's in memory, wherever those came from
                skip_tokenizer_init=True,
                generation_config="vllm",  # a model folder's own settings must not shape rollouts unseen
                dtype=str(self.language.model.dtype).removeprefix("torch."),
                max_model_len=self.language.context,
                kv_cache_memory_bytes=int(self.config.kv_cache_gib * 2**30),
                tensor_parallel_size=self.config.tensor_parallel,
                distributed_executor_backend="external_launcher" if dist.is_initialized() else "uni",
                # Before temperature and truncation: the student's own log-probabilities.
                logprobs_mode="raw_logprobs",
                enforce_eager=current_platform.is_cpu(),
                enable_sleep_mode=current_platform.is_sleep_mode_available(),
            )
        torch.set_num_threads = set_num_threads  # vLLM switches the function off
        return engine

    def sync(self) -> None:
        # Level 2 of sleep has dropped the weights, and keeps no room for the cache while they come.
        self._wake("weights")
        self.engine.collective_rpc(
            "reload_weights", kwargs={"weights_iterator": weights.under_every_name(self.language.model)}
        )
        self._wake("kv_cache")
        self.asleep = False
        if not self.engine.reset_prefix_cache():
            raise RuntimeError("vLLM keeps cached prefixes of the older weights")

    def sleep(self) -> None:
        if self.engine.llm_engine.vllm_config.model_config.enable_sleep_mode:
            self.engine.sleep(level=2)
            self.asleep = True

    def _wake(self, what: str) -> None:
        if self.asleep:
            self.engine.wake_up(tags=[what])

    def generate(self, prompts: Sequence[TokenIds], keys: Sequence[SampleKey] | None) -> list[list[int]]:
        if self.asleep:  # an update that failed before its sync
            self.sync()
        own = list(zip(prompts, keys or [None] * len(prompts), strict=True))
        completions = self._complete(own)
        self._check(prompts[: self.config.checked], completions[: self.config.checked])
        return [list(completion.token_ids) for completion in completions]

    def _complete(self, own: list[Request]) -> list[Any]:
        """Return vLLM's completions of this rank's requests; the ranks of one engine ask it all of theirs together."""
        shares, rank = self._shares(own)
        requests = list(chain(*shares))
        if not requests:
            return []
        outputs = self.engine.generate(
            [{"prompt_token_ids": list(prompt)} for prompt, _ in requests],
            [self._sampling(key) for _, key in requests],
            use_tqdm=False,
        )
        start = sum(map(len, shares[:rank]))
        return [output.outputs[0] for output in outputs[start : start + len(own)]]

    def _shares(self, own: list[Request]) -> tuple[list[list[Request]], int]:
        """Return the requests of every rank of this engine, and which of them this rank is."""
        if self.config.tensor_parallel == 1:
            return [own], 0
        from vllm.distributed.parallel_state import get_tp_group

        group = get_tp_group()
        shares: list[Any] = [None] * group.world_size
        dist.all_gather_object(shares, own, group=group.cpu_group)
        return shares, group.rank_in_group

    def _sampling(self, key: SampleKey | None) -> Any:
        from vllm import SamplingParams

        config = self.config
        how = {"temperature": 0.0}
        if key is not None:
            how = {"temperature": config.temperature, "top_p": config.top_p, "top_k": config.top_k, "seed": seed(key)}
        return SamplingParams(
            **how,
            max_tokens=config.max_new_tokens,
            stop_token_ids=[self.language.eos_id],
            logprobs=0,  # of the sampled token alone
            detokenize=False,
        )

    def _check(self, prompts: Sequence[TokenIds], completions: Sequence[Any]) -> None:
        """Compare the log-probabilities of sampled tokens with the student's own.

        Raises:
            UserError: they differ by more than ``max_gap``.
        """
        if not prompts:
            return
        batch = self.language.collate(prompts, [list(completion.token_ids) for completion in completions])
        log_probs_BT = score_tokens(self.language.model, batch, len(batch))
        own = log_probs_BT[batch.completion_mask_BT.bool()].tolist()
        sampled = [
            entries[token].logprob
            for completion in completions
            for token, entries in zip(completion.token_ids, completion.logprobs, strict=True)
        ]
        gap = float(np.max(np.abs(np.subtract(own, sampled))))
        if not gap <= self.config.max_gap:  # nan is refused too
            raise UserError(
                f"vLLM's log-probabilities are up to {gap:.3g} nats from the student's, and rollout.max_gap="
                f"{self.config.max_gap:g}: it samples from other weights, most likely those before a sync that did not "
                "happen; take rollout=hf, or raise rollout.max_gap if the weights are of 16 bits"
            )
        self.gap = max(gap, self.gap or 0.0)

    def take_gap(self) -> float | None:
        gap, self.gap = self.gap, None
        return gap
