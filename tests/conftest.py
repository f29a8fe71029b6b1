"""What several tests share: a tiny untrained student, ready-made problems, and a way to run the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atesd.config import EnvConfig, EvalConfig, RunConfig, TeacherConfig, TrainConfig
from atesd.models import ModelConfig
from atesd.rewards import RewardConfig
from atesd.stopwatch import Stopwatch
from atesd.tasks.arithmetic import Arithmetic, ArithmeticConfig
from atesd.tasks.problem import Problem
from atesd.training.engine import DeepSpeedConfig
from atesd.training.rollout import HfRolloutConfig

if TYPE_CHECKING:
    from atesd.training.collector import Collector
    from atesd.training.language_model import LanguageModel

ROOT = Path(__file__).parent.parent


@pytest.fixture
def problem() -> Problem:
    return Problem("07+48*3-09", "07+48*3-09", "07+48=55;55*3=65;65-09=56;", "56", 3)


@pytest.fixture(scope="session")
def arithmetic() -> Arithmetic:
    return Arithmetic(seed=0)


@pytest.fixture(scope="session")
def context() -> Callable[..., Collector]:
    """Return a function that makes the context of a run's first update, for one rank without a process group."""
    from atesd.training import teacher
    from atesd.training.collector import Collector
    from atesd.training.ranks import Ranks

    def make(
        language: LanguageModel,
        max_new_tokens: int = 64,
        seed: int = 0,
        rank: int = 0,
        size: int = 1,
        kind: type[Collector] = Collector,
    ) -> Collector:
        rollout = HfRolloutConfig(max_new_tokens=max_new_tokens).build(language)
        frozen = teacher.build(TeacherConfig(), language.model)
        task, ranks = Arithmetic(seed), Ranks(rank, size)
        return kind(seed, task, language, rollout, frozen, ranks, Stopwatch(), size=2, groups=1, grounded=True)

    return make


@pytest.fixture
def language() -> LanguageModel:
    """Return a fresh random student of 2 layers, which a test may change.

    Its weights are spread so that next-token distributions are far from uniform and differ between positions.
    """
    import torch

    from atesd.training import testbed_model

    student = testbed_model.initialise(seed=3, layers=2, width=32)
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.mul_(8 if weight.dim() > 1 else 1)
    student.model.eval()
    return student


@pytest.fixture
def settings(language: LanguageModel, tmp_path: Path) -> Callable[..., RunConfig]:
    """Return a function that makes the settings of a run of 4 updates of the tiny student, some of them changed."""
    language.save(tmp_path / "base")

    def make(micro_batch_size: int = 8, stage: int = 0, **changes: Any) -> RunConfig:
        parts: dict[str, Any] = {
            "model": ModelConfig(path=str(tmp_path / "base")),
            "data": ArithmeticConfig(),
            "rollout": HfRolloutConfig(max_new_tokens=8),
            "deepspeed": DeepSpeedConfig(stage=stage),
            "train": TrainConfig(updates=4, batch_size=5, micro_batch_size=micro_batch_size, learning_rate=1e-3),
            "env": EnvConfig(hold_window=2),
            "eval": EvalConfig(every=2, problems=4, final_problems=4),
            "reward": RewardConfig(lookahead=2, probe_problems=3),
        }
        return RunConfig(**(parts | changes))

    return make


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs this interpreter on this checkout, in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run
