"""What the README says is so: its file tree is the disk, its commands compose, its example runs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

import atesd.evaluate.__main__
import atesd.run  # noqa: F401 (registers every choice)

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMA_OF_A_SWEEP = re.compile(r",(?![^\[]*\])")  # not one within a list
ONE_PER_FILE = ("controllers", "baselines", "atesd/models", "tests", "configs")


def block_after(marker: str) -> str:
    """Return the first fenced block after a marker."""
    return re.split(r"```\w*\n", README[README.index(marker) :])[1].partition("```")[0]


def tree() -> set[str]:
    """Return every path of the README's file tree."""
    folders: list[str] = []
    paths = set()
    for line in block_after("## Files").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], line.split()[0]]
        paths.add("".join(folders).rstrip("/"))
    return paths


def test_file_tree_is_the_disk() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {path for path in listed.stdout.split() if not path.endswith("__init__.py")}
    modules = {path for path in modules if not path.startswith(ONE_PER_FILE)}
    assert {path for path in tree() if path.endswith(".py")} == modules
    assert all((ROOT / path).exists() for path in tree())


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line.rpartition("&& ")[2] for line in lines if "atesd.run" in line and "--help" not in line]


@pytest.mark.parametrize("command", commands())
def test_commands_compose(command: str) -> None:
    overrides = [word for word in shlex.split(command.rpartition("atesd.run")[2]) if word != "-m"]
    if "launch=ray" in overrides:
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra ray is not installed")
    for swept in (0, -1):  # the first and the last value of every sweep
        parted = (override.partition("=") for override in overrides)
        chosen = [f"{key}={COMMA_OF_A_SWEEP.split(values)[swept]}" for key, _, values in parted]
        with initialize_config_module("configs", version_base="1.3"):
            settings = compose("config", overrides=chosen)
        assert settings.train.updates > 0


def test_the_evaluation_composes_with_the_papers_sampling() -> None:
    (command,) = [line for line in README.splitlines() if line.startswith("python -m atesd.evaluate")]
    with initialize_config_module("configs", version_base="1.3"):
        settings = compose("evaluate", overrides=shlex.split(command)[3:])
    assert (settings.samples, settings.data.hub) == (12, "HuggingFaceH4/aime_2024")
    assert (settings.rollout.temperature, settings.rollout.top_p, settings.rollout.max_new_tokens) == (1.0, 0.95, 38912)
    assert settings.model.template.evaluation.enable_thinking is True


def test_commands_are_found() -> None:
    assert len(commands()) >= 9


def test_the_environment_plays_as_shown(tmp_path: Path, python: Callable[..., object]) -> None:
    (tmp_path / "play.py").write_text(re.findall(r"<!-- environment -->\n```python\n(.*?)```", README, re.DOTALL)[0])
    done = python("play.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("40 0.")


def test_own_controller_runs_from_its_own_folder(tmp_path: Path, python: Callable[..., object]) -> None:
    (tmp_path / "my_study.py").write_text(block_after("<!-- own controller -->"))
    python("my_study.py", "controller=pulse", "controller.period=3", "model=surrogate", "output_dir=run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "decisions.jsonl").read_text().splitlines()]
    assert [row["exposure"] for row in rows[:4]] == [1.0, 0.25, 0.25, 1.0]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["complete"] is True
