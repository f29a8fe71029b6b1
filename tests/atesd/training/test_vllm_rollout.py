"""Rollouts by vLLM: the student's own weights, or none at all."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from atesd.config import RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.models import TinyConfig
from atesd.stopwatch import Stopwatch
from atesd.training import weights
from atesd.training.adapter import LoraConfig
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import HfRolloutConfig, VllmRolloutConfig
from atesd.training.vllm_rollout import ENVIRONMENT

installed = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not installed, reason="vLLM is not installed; .ci/vllm brings it")
# The first fills a block of vLLM's prefix cache, which must not survive the weights it was computed with.
PROMPTS = [[19, *[4, 14, 5, 15] * 40, 18], [19, 6], [19, 7, 8, 9, 10, 11, 18], [3], [19, 14, 18]]
KEYS = [(0, 0, 1000 + row, 0) for row in range(5)]
# vLLM's CPU kernels know no heads as small as those of the other tests' student.
SETTINGS = {"model": TinyConfig(name="tiny"), "rollout": VllmRolloutConfig(max_new_tokens=8, kv_cache_gib=0.1)}


ADAPTERS = {
    "lora": LoraConfig(name="small", rank=4, alpha=64),
    "train": TrainConfig(updates=4, batch_size=5, micro_batch_size=8, learning_rate=1e-2),
}


def trainer(run: RunConfig) -> DeepSpeedTrainer:
    return DeepSpeedTrainer(run, run.signal.build(Cut.step), run.data.build(run.seed), Stopwatch())


@pytest.fixture
def student(settings: Callable[..., RunConfig]) -> DeepSpeedTrainer:
    return trainer(settings(**SETTINGS))


@contextmanager
def no_sync(student: DeepSpeedTrainer) -> Iterator[None]:
    """Leave the sampler with the weights it has."""
    student.rollout.sync = lambda: None  # type: ignore[method-assign]
    yield
    del student.rollout.sync


def gap_after(student: DeepSpeedTrainer) -> float | None:
    student.rollout.take_gap()
    student.rollout.generate(PROMPTS, KEYS)
    return student.rollout.take_gap()


def move(module: torch.nn.Module) -> None:
    """Change every weight, the tied embedding too, by a twentieth of its spread."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.05 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))


def test_a_tied_head_goes_out_under_both_names(language: LanguageModel) -> None:
    """Without it the CPU build keeps the old head, and says nothing."""
    sent = dict(weights.under_every_name(language.model))
    assert set(sent) - set(dict(weights.whole(language.model))) == {"lm_head.weight"}
    assert torch.equal(sent["lm_head.weight"], sent["model.embed_tokens.weight"])


def test_without_vllm_the_error_says_what_to_install(language: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"rollout=vllm needs vLLM, .*pip install -e '\.\[vllm\]'.* rollout=hf"):
        VllmRolloutConfig().build(language)


@pytest.mark.parametrize(
    ("key", "value"), [("tensor_parallel", 0), ("checked", 0), ("kv_cache_gib", 0.0), ("max_gap", 0.0)]
)
def test_settings_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"rollout\.{key} must be .*, got {value}"):
        VllmRolloutConfig(**{key: value})


@pytest.mark.vllm
@needs_vllm
def test_samples_are_the_students_and_stay_so_over_updates(student: DeepSpeedTrainer) -> None:
    """One engine for all of it: starting one takes seconds."""
    rollout = student.rollout
    greedy = HfRolloutConfig(max_new_tokens=8).build(student.student)
    assert rollout.generate(PROMPTS, None) == greedy.generate(PROMPTS, None)

    together = rollout.generate(PROMPTS, KEYS)
    assert len(set(map(tuple, together))) == 5
    assert rollout.generate(PROMPTS[::-1], KEYS[::-1])[::-1] == together
    assert rollout.generate(PROMPTS[2:3], KEYS[2:3]) == together[2:3]
    assert rollout.generate(PROMPTS, [(0, 1, *key[2:]) for key in KEYS]) != together

    move(student.student.model)
    with pytest.raises(UserError, match=r"up to \S+ nats from the student's, and rollout\.max_gap=0\.001: .*sync"):
        rollout.generate(PROMPTS, KEYS)
    rollout.sync()
    gap = gap_after(student)
    assert gap is not None
    assert 0 < gap < 1e-4  # rounding
    assert rollout.generate(PROMPTS, None) == greedy.generate(PROMPTS, None)

    snapshot = student.snapshot()
    reports = [student.update(exposure) for exposure in (0.5, 1.0)]
    # A student that is sure of itself may round to the very same numbers.
    assert all(report.metrics["rollout/logprob_gap"] < 1e-4 for report in reports)
    assert student.stopwatch.seconds["sync"] > 0
    student.restore(snapshot)
    assert student.update(0.5).reading.loss == pytest.approx(reports[0].reading.loss, rel=1e-6)

    with no_sync(student):
        student.update(0.5)
    with pytest.raises(UserError, match=r"it samples from other weights, most likely those before a sync"):
        student.update(0.5)


@pytest.mark.vllm
@needs_vllm
def test_what_adapters_add_is_part_of_what_is_sent(settings: Callable[..., RunConfig]) -> None:
    student = trainer(settings(**SETTINGS, **ADAPTERS))
    before = weights.fingerprint(student.student.model)
    student.rollout.sync()
    assert weights.fingerprint(student.student.model) == before
    for _ in range(2):
        student.update(0.5)
        gap = gap_after(student)
        assert gap is not None
        assert gap < 1e-3
    with no_sync(student):
        student.update(0.5)
    with pytest.raises(UserError, match=r"it samples from other weights, most likely those before a sync"):
        student.rollout.generate(PROMPTS, KEYS)


@pytest.mark.vllm
@needs_vllm
def test_an_engine_that_slept_wakes_for_its_weights_before_it_samples(
    student: DeepSpeedTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the order: vLLM's CPU build keeps count of who sleeps, refuses samples meanwhile, and frees no memory."""
    rollout = student.rollout
    rollout.engine.llm_engine.vllm_config.model_config.enable_sleep_mode = True
    executor = rollout.engine.llm_engine.model_executor
    asleep, stream = [], weights.under_every_name

    def watched(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
        asleep.append(set(executor.sleeping_tags))
        return stream(model)

    monkeypatch.setattr(weights, "under_every_name", watched)
    student.update(0.5)  # sleeps, and wakes in its sync
    assert not rollout.engine.llm_engine.is_sleeping()
    rollout.sleep()
    assert rollout.engine.llm_engine.is_sleeping()
    move(student.student.model)  # and no sync: that of generate makes up for it
    gap = gap_after(student)
    assert gap is not None
    assert gap < 1e-4
    assert asleep == [{"kv_cache"}] * 2  # room for the weights, and none yet for the cache
    assert not rollout.asleep


@pytest.mark.vllm
@needs_vllm
def test_a_run_after_another_in_one_process_finds_its_group_of_processes(settings: Callable[..., RunConfig]) -> None:
    for seed in (0, 1):  # a sweep
        student = trainer(settings(**SETTINGS, seed=seed))
        student.update(0.5)
        del student
        gc.collect()
        assert dist.is_initialized()


@pytest.mark.vllm
@needs_vllm
def test_an_exported_folder_loads_in_vllm(settings: Callable[..., RunConfig], tmp_path: Path) -> None:
    from vllm import LLM, SamplingParams

    run = settings(**{**SETTINGS, **ADAPTERS, "rollout": HfRolloutConfig(max_new_tokens=8)})
    student = trainer(run)
    for _ in range(2):
        student.update(0.5)
    student.export(tmp_path / "model")
    os.environ |= ENVIRONMENT
    engine = LLM(
        str(tmp_path / "model"),
        dtype="float32",
        kv_cache_memory_bytes=2**26,
        enforce_eager=True,
        distributed_executor_backend="external_launcher",  # the trainer's processes are vLLM's
    )
    sampling = SamplingParams(temperature=0.0, max_tokens=8, stop_token_ids=[student.student.eos_id])
    texts = [student.student.decode(prompt) for prompt in PROMPTS]
    answers = engine.generate(texts, sampling, use_tqdm=False)
    assert [list(answer.outputs[0].token_ids) for answer in answers] == student.rollout.generate(PROMPTS, None)


@pytest.mark.vllm
@needs_vllm
def test_what_vllm_refuses_is_the_users_to_mend(language: LanguageModel) -> None:
    for settings, reason in (
        ({"tensor_parallel": 3}, r"rollout\.tensor_parallel=3 does not divide the 1 processes"),
        (
            {"kv_cache_gib": 1e-6},
            r"rollout=vllm: vLLM does not start: No available .*; change rollout\.kv_",
        ),
    ):
        with pytest.raises(UserError, match=reason):
            VllmRolloutConfig(**settings).build(language)
