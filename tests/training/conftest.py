"""Real runs of a real, very small transformer on a real DeepSpeed engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import atesd.run  # registers every part
from atesd.config import CheckpointConfig, EnvConfig, EvalConfig, RunConfig, TrainConfig
from atesd.models import ModelConfig
from atesd.rewards import RewardConfig
from atesd.tasks.arithmetic import ArithmeticConfig
from atesd.training import testbed_model
from atesd.training.engine import DeepSpeedConfig
from atesd.training.rollout import HfRolloutConfig
from controllers.beta_reinforce import BetaReinforceConfig

MakeRun = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers with weights large enough to have opinions, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("base")
    language = testbed_model.initialise(seed=0, layers=2, width=32)
    with torch.no_grad():
        for parameter in language.model.parameters():
            parameter.mul_(10 if parameter.dim() > 1 else 1)
    language.save(folder)
    return folder


@pytest.fixture
def make_run(base_folder: Path, tmp_path: Path) -> MakeRun:
    """Return a maker of settings for a run of 8 updates in 4 hold windows; keyword arguments replace sections."""

    def make(output: str = "run", **sections: Any) -> RunConfig:
        defaults: dict[str, Any] = {
            "output_dir": str(tmp_path / output),
            "model": ModelConfig(name="folder", path=str(base_folder)),
            "data": ArithmeticConfig(name="arithmetic"),
            "controller": BetaReinforceConfig(name="beta_reinforce", batch=2),
            "rollout": HfRolloutConfig(name="hf", max_new_tokens=12),
            "deepspeed": DeepSpeedConfig(name="zero0"),
            "train": TrainConfig(updates=8, batch_size=8, micro_batch_size=8),
            "env": EnvConfig(hold_window=2),
            "reward": RewardConfig(lookahead=3, probe_problems=8),
            "eval": EvalConfig(every=4, problems=8, final_problems=10),
            "checkpoint": CheckpointConfig(every=1),
        }
        return RunConfig(**(defaults | sections))

    return make


def play(run: RunConfig) -> dict[str, Any]:
    """Play a run through the same entry as the command line."""
    return atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))
