"""Every arm composes into settings a run takes, and no two arms are the same method."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

import atesd.run
import configs
from atesd.config import RunConfig

ARMS = sorted(path.stem for path in (Path(configs.__file__).parent / "arm").glob("*.yaml"))


@cache
def settings(arm: str) -> RunConfig:
    with initialize_config_module("configs", version_base="1.3"):
        composed = compose("config", overrides=[f"arm={arm}", "output_dir=unused"])
    run = OmegaConf.to_object(composed)
    assert isinstance(run, RunConfig)
    return run


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_is_a_method_of_its_name(arm: str) -> None:
    run = settings(arm)
    name, *_ = atesd.run.method(run, atesd.run.Setting(run.seed, run.windows, 6, 4))
    assert arm.startswith(name)


def test_arms_differ() -> None:
    assert len({repr(settings(arm)) for arm in ARMS}) == len(ARMS)


@pytest.mark.parametrize("experiment", ["controllers", "methods", "trust"])
def test_an_experiment_names_arms_that_there_are(experiment: str) -> None:
    folder = Path(configs.__file__).parent / "experiment"
    params = OmegaConf.load(folder / f"{experiment}.yaml").hydra.sweeper.params
    named = params.arm.split(",")
    assert len(set(named)) == len(named)
    assert set(named) <= set(ARMS)
