"""The rival methods: all registered, each a signal, an exposure and a number of updates."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

import atesd.run  # noqa: F401 (registers what a run is made of)
import baselines
from atesd import registry
from atesd.config import RunConfig
from atesd.distillation import Distillation
from atesd.signals import BaselineConfig, Signal

FILES = sorted(path.stem for path in Path(baselines.__file__).parent.glob("*.py") if path.stem != "__init__")


def test_every_file_is_a_registered_baseline() -> None:
    assert {"grpo", "none", "opsd", "sft"} <= set(FILES)
    assert registry.names("baseline") == FILES


@pytest.mark.parametrize("name", FILES)
def test_every_baseline_is_a_whole_method(name: str) -> None:
    with initialize_config_module("configs", version_base="1.3"):
        overrides = [f"baseline={name}", "model=hf", "model.path=unused", "output_dir=unused"]
        run = OmegaConf.to_object(compose("config", overrides))
    assert isinstance(run, RunConfig)
    config = run.baseline
    assert isinstance(config, BaselineConfig)
    assert config.__module__ == f"baselines.{name}"
    assert isinstance(config.signal(run), Signal)
    assert 0.0 <= config.exposure() <= 1.0
    assert config.updates(run) == (0 if name == "none" else run.train.updates)


def test_opsd_is_distillation_at_full_exposure_with_the_runs_own_settings() -> None:
    run = RunConfig()
    config = registry.config_of("baseline", "opsd")()
    signal = config.signal(run)
    assert isinstance(signal, Distillation)
    assert signal.config is run.signal
    assert signal.cut is run.exposure.cut
    assert config.exposure() == 1.0
