"""Ranges of the run's settings, and what each error says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from atesd.config import CheckpointConfig, EnvConfig, EvalConfig, RunConfig, TeacherConfig, TrainConfig
from atesd.distillation import SignalConfig
from atesd.errors import UserError
from atesd.models import ModelConfig, TinyConfig
from atesd.rewards import Kind, RewardConfig
from atesd.tasks.jsonl import JsonlConfig
from atesd.training.engine import DeepSpeedConfig
from baselines.grpo import GrpoConfig


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (TrainConfig, {"updates": 0}, r"^train\.updates must be at least 1, got 0"),
        (TrainConfig, {"tokens_generated": 0}, r"^train\.tokens_generated must be at least 1, or null .*, got 0"),
        (TrainConfig, {"batch_size": -1}, r"^train\.batch_size must be at least 1, got -1"),
        (TrainConfig, {"micro_batch_size": 0}, r"^train\.micro_batch_size must be at least 1, got 0"),
        (TrainConfig, {"learning_rate": 0.0}, r"^train\.learning_rate must be a finite number above 0, got 0"),
        (TrainConfig, {"learning_rate": math.nan}, r"^train\.learning_rate must be a finite number above 0, got nan"),
        (TrainConfig, {"max_grad_norm": math.inf}, r"^train\.max_grad_norm must be a finite number above 0, got inf"),
        (TrainConfig, {"weight_decay": -0.1}, r"^train\.weight_decay must be a finite number of 0 or more, got -0\.1"),
        (
            TrainConfig,
            {"weight_decay": math.nan},
            r"^train\.weight_decay must be a finite number of 0 or more, got nan",
        ),
        (TrainConfig, {"threads": -2}, r"^train\.threads must be 0 \(torch's own choice\) or more, got -2"),
        (EnvConfig, {"hold_window": 0}, r"^env\.hold_window must be at least 1 student update, got 0"),
        (EvalConfig, {"every": 0}, r"^eval\.every must be at least 1, got 0"),
        (EvalConfig, {"problems": 0}, r"^eval\.problems must be at least 1, got 0"),
        (EvalConfig, {"final_problems": 0}, r"^eval\.final_problems must be at least 1, got 0"),
        (EvalConfig, {"batch_size": 0}, r"^eval\.batch_size must be at least 1, got 0"),
        (CheckpointConfig, {"every": 0}, r"^checkpoint\.every must be at least 1 hold window, got 0"),
        (TeacherConfig, {"ema_rate": 0.0}, r"^teacher\.ema_rate must lie in \(0, 1\], got 0"),
        (SignalConfig, {"temperature": 0.0}, r"^signal\.temperature must be above 0, got 0"),
        (SignalConfig, {"clip": 0.0}, r"^signal\.clip must be above 0, got 0"),
        (SignalConfig, {"clip": math.nan}, r"^signal\.clip must be above 0, got nan"),
        (SignalConfig, {"jsd_weight": 1.0}, r"^signal\.jsd_weight must lie in \(0, 1\), got 1"),
        (DeepSpeedConfig, {"stage": 4}, r"^deepspeed\.stage must be 0, 1, 2 or 3, got 4"),
        (ModelConfig, {"style": "x"}, r"^model\.style='x' is unknown; known: .*testbed"),
        (TinyConfig, {"name": "tiny", "path": "x"}, r"^model=tiny comes with its weights, got model\.path=x; take mod"),
        (
            JsonlConfig,
            {"answer_marker": "####"},
            r"^data\.answer_marker=#### takes .* and data\.columns\.answer=answer out of .*; add data\.columns",
        ),
        (GrpoConfig, {"group_size": 1}, r"^baseline\.group_size must be at least 2, got 1"),
        (RunConfig, {"seed": -1}, r"^seed must be 0 or more, got -1"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(
    config: Callable[..., Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config(**settings)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("reward", "hold_window", "message"),
    [
        (
            RewardConfig(lookahead=11),
            4,
            r"reward\.kind=lookahead looks 11 student updates ahead .* but train\.updates=10",
        ),
        (
            RewardConfig(kind=Kind.short_delay),
            11,
            r"reward\.kind=short_delay looks 11 student updates ahead .* but train\.updates=10",
        ),
    ],
)
def test_a_reward_that_cannot_mature_is_refused(reward: RewardConfig, hold_window: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig(train=TrainConfig(updates=10), reward=reward, env=EnvConfig(hold_window))


def test_a_reward_that_can_just_mature_is_allowed() -> None:
    RunConfig(train=TrainConfig(updates=10), reward=RewardConfig(lookahead=10))
    RunConfig(train=TrainConfig(updates=1), reward=RewardConfig(kind=Kind.one_step, lookahead=99))


@pytest.mark.parametrize(("updates", "hold_window", "windows"), [(120, 4, 30), (10, 4, 3), (8, 8, 1), (9, 1, 9)])
def test_windows(updates: int, hold_window: int, windows: int) -> None:
    run = RunConfig(train=TrainConfig(updates=updates), env=EnvConfig(hold_window))
    assert run.windows == windows
