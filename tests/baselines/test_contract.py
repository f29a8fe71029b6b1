"""What every baseline keeps to, on a real engine; a new file in ``baselines/`` is picked up by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

import atesd.run  # noqa: F401 (registers every choice)
import baselines
from atesd import prompts, registry
from atesd.config import RunConfig
from atesd.stopwatch import Stopwatch
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.language_model import LanguageModel

FILES = sorted(path.stem for path in Path(baselines.__file__).parent.glob("*.py") if path.stem != "__init__")
SMALL = (
    "model=folder",
    "model.style=instructed",
    "output_dir=unused",
    "rollout.max_new_tokens=8",
    "train.batch_size=8",
    "reward.probe_problems=3",
)


def composed(*overrides: str) -> DictConfig:
    with initialize_config_module("configs", version_base="1.3"):
        return compose("config", overrides=list(overrides))


@pytest.fixture
def trainer(
    language: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., DeepSpeedTrainer]:
    """Return a function that makes a trainer of a baseline, composed like on the command line."""
    instructed = replace(prompts.TESTBED, concise="P{problem}\nR\nS")
    monkeypatch.setitem(prompts.STYLES, "instructed", instructed)
    language.save(tmp_path / "base")

    def make(name: str, *overrides: str) -> DeepSpeedTrainer:
        settings = composed(f"baseline={name}", f"model.path={tmp_path / 'base'}", *SMALL, *overrides)
        run = OmegaConf.to_object(settings)
        assert isinstance(run, RunConfig)
        return DeepSpeedTrainer(run, run.baseline.signal(run), run.data.build(run.seed), Stopwatch())

    return make


@pytest.mark.parametrize("name", FILES)
def test_micro_batches_do_not_change_an_update(name: str, trainer: Callable[..., DeepSpeedTrainer]) -> None:
    whole, parts = (trainer(name, f"train.micro_batch_size={size}") for size in (8, 3))
    assert math.isfinite(whole.start(1.0).loss)
    one, other = whole.update(1.0), parts.update(1.0)
    assert math.isfinite(one.reading.loss)
    assert one.reading.loss == pytest.approx(other.reading.loss, rel=1e-4, abs=1e-7)
    assert one.metrics["student/grad_norm"] == pytest.approx(other.metrics["student/grad_norm"], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_a_batch_weighs_real_tokens_only_and_every_share_of_it_alike(
    name: str, trainer: Callable[..., DeepSpeedTrainer]
) -> None:
    student = trainer(name)
    batch = student.signal.collect(student.collector, 8, 1.0)
    assert len(batch) == 8
    assert batch.weights_BT.shape == batch.sequences.completion_ids_BT.shape
    assert torch.all(batch.weights_BT >= 0)
    assert torch.all(batch.weights_BT[~batch.sequences.completion_mask_BT.bool()] == 0)
    assert all(len(tensor) == 8 for tensor in batch.tensors.values())
    assert all(math.isfinite(value) for value in batch.metrics.values())


@pytest.mark.parametrize("name", FILES)
def test_what_a_baseline_brings_replaces_defaults_and_yields_to_the_user(name: str) -> None:
    brings = registry.config_of("baseline", name).brings  # type: ignore[attr-defined]
    plain, settings = composed("output_dir=x"), composed("output_dir=x", f"baseline={name}")
    expected = OmegaConf.merge(plain, {"baseline": settings.baseline}, brings)
    assert OmegaConf.to_yaml(settings) == OmegaConf.to_yaml(expected)
    users = composed("output_dir=x", f"baseline={name}", "teacher.kind=live", "signal.divergence=jsd")
    assert (users.teacher.kind.value, users.signal.divergence.value) == ("live", "jsd")


@pytest.mark.parametrize("name", FILES)
def test_a_preset_leaves_a_method_what_makes_it(name: str) -> None:
    brings = registry.config_of("baseline", name).brings  # type: ignore[attr-defined]
    settings = composed("output_dir=x", "model=qwen3_1_7b", "preset=opsd_v3", f"baseline={name}")
    assert OmegaConf.to_yaml(settings) == OmegaConf.to_yaml(OmegaConf.merge(settings, brings))
    opsd = composed("output_dir=x", "model=qwen3_1_7b", "preset=opsd_v3")
    assert (opsd.signal.temperature, opsd.signal.clip) == (1.1, 0.05)
