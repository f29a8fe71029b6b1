"""The command line: what a user's mistakes are answered with, and how fast."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["controller=fixed", "controller.exposure=1.5"], "error: controller.exposure must lie in [0, 1], got 1.5"),
        (["env.hold_window=0"], "error: env.hold_window must be at least 1 student update, got 0"),
        (["train.updates=4"], "error: reward.kind=lookahead looks 8 student updates ahead"),
        (["baseline=opsd", "controller=fixed"], "error: baseline=opsd and controller=fixed are two methods"),
        (["data=jsonl"], "error: data.path must be given"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_leaves_no_folder(
    overrides: list[str], message: str, python: Python, tmp_path: Path
) -> None:
    done = python("-m", "atesd.run", *overrides, "output_dir=run")
    assert done.returncode not in (0, None)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("controller=nope", ["controller/nope", "beta_reinforce", "uniform"]),
        ("controller.exposre=0.5", ["controller.exposre", "BetaReinforceConfig"]),
    ],
)
def test_an_unknown_name_is_refused_and_named(override: str, words: list[str], python: Python, tmp_path: Path) -> None:
    done = python("-m", "atesd.run", override, "output_dir=run")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_left_alone(python: Python, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept.txt").write_text("precious")
    done = python("-m", "atesd.run", "controller=fixed", "output_dir=run")
    assert done.returncode != 0
    assert done.stderr.startswith("error: output_dir=run exists and is never overwritten")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["kept.txt"]


INTERRUPTED = """
import signal
from dataclasses import dataclass
import atesd.run
from atesd.interfaces import ControllerConfig
from atesd.registry import register

@register("controller", "interrupted")
@dataclass
class InterruptedConfig(ControllerConfig):
    def controller(self, setting):
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal, also where these tests run without one
atesd.run.main()
"""


def test_ctrl_c_before_there_is_a_run_ends_with_one_line(python: Python, tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(INTERRUPTED)
    done = python("study.py", "controller=interrupted", "output_dir=run")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_help_names_the_choices(python: Python, tmp_path: Path) -> None:
    done = python("-m", "atesd.run", "--help")
    assert done.returncode == 0
    for word in ("controller: ", "beta_reinforce", "baseline: ", "grpo", "hold_window", "lookahead"):
        assert word in done.stdout, word
    assert list(tmp_path.iterdir()) == []


def test_the_composed_settings_show_the_stable_names(python: Python, tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    done = python("-m", "atesd.run", "controller=fixed", "controller.exposure=0.25", "seed=0", "--cfg", "job")
    assert done.returncode == 0
    settings = OmegaConf.create(done.stdout)
    assert "output_dir" in settings
    for key in STABLE:
        assert OmegaConf.select(settings, key, default="absent") != "absent", key
    assert settings.controller.exposure == 0.25
    assert settings.seed == 0
    assert list(tmp_path.iterdir()) == []


STABLE = [
    "seed",
    "resume",
    "model",
    "data",
    "controller",
    "baseline",
    "rollout",
    "deepspeed",
    "train.updates",
    "train.batch_size",
    "train.learning_rate",
    "env.hold_window",
    "reward.kind",
    "reward.signal",
    "reward.discount",
    "reward.lookahead",
    "controller.exposure",
    "eval.every",
    "eval.problems",
    "eval.final_problems",
]


HEAVY = ("torch", "transformers", "deepspeed", "stable_baselines3", "gymnasium", "matplotlib", "sklearn", "scipy.stats")


def loaded_by(statement: str, python: Python) -> list[str]:
    done = python("-c", f"{statement}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_command_line_loads_nothing_heavy(python: Python) -> None:
    assert loaded_by("import controllers, atesd.run", python) == []


def test_the_check_on_what_is_loaded_can_fail(python: Python) -> None:
    assert "matplotlib" in loaded_by("import atesd.run, atesd.figures", python)
