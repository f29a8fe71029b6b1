"""``python -m atesd.evaluate``: a real model, killed and started again; what a user's mistakes are answered with."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from atesd.errors import UserError
from atesd.evaluate.__main__ import begin, evaluate
from atesd.tasks.problem import Problem
from atesd.training import testbed_model

ROOT = Path(__file__).parent.parent.parent
TINY = ["model=tiny", "data=arithmetic", "problems=8", "samples=6", "batch_size=9", "rollout.max_new_tokens=48"]
Python = Callable[..., "subprocess.CompletedProcess[str]"]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def ask(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Evaluate in this process and return what ``evaluation.json`` holds."""
    with initialize_config_module("configs", version_base="1.3"):
        settings = compose("evaluate", overrides=[*arguments, f"output_dir={folder}"])
    plain = OmegaConf.to_container(settings, enum_to_str=True)
    evaluate(OmegaConf.to_object(settings), plain)  # type: ignore[arg-type]
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return found


def kill_after(count: int, folder: Path, arguments: list[str]) -> None:
    """Start an evaluation in a process and kill it once it has written so many samples."""
    command = [sys.executable, "-m", "atesd.evaluate", *arguments, f"output_dir={folder}"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    file = folder / "samples.jsonl"
    while process.poll() is None and not (file.exists() and file.read_bytes().count(b"\n") >= count):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_without_repeating_a_sample(tmp_path: Path) -> None:
    kill_after(9, tmp_path / "killed", TINY)
    before = lines(tmp_path / "killed")
    assert 9 <= len(before) < 48
    with (tmp_path / "killed" / "samples.jsonl").open("a") as file:
        file.write('{"problem": "torn')
    resumed, whole = ask(tmp_path / "killed", TINY), ask(tmp_path / "whole", TINY)
    after = lines(tmp_path / "killed")
    assert after[: len(before)] == before
    assert after == lines(tmp_path / "whole")
    assert len({(row["problem"], row["sample"]) for row in after}) == len(after) == 48
    counted = sum(row["grade"] == "right" for row in after) / 48
    assert resumed["average_at_n"] == whole["average_at_n"] == pytest.approx(counted)
    assert 0.2 < counted < 0.9
    assert resumed["problems"] == whole["problems"]
    for row in resumed["problems"]:
        assert row["right"] == sum(s["grade"] == "right" for s in after if s["problem"] == row["id"])
    with (tmp_path / "killed" / "problems.csv").open() as file:
        assert [int(row["right"]) for row in csv.DictReader(file)] == [row["right"] for row in resumed["problems"]]
    assert lines(tmp_path / "killed") != lines_of_seed_one(tmp_path)


def lines_of_seed_one(tmp_path: Path) -> list[dict[str, Any]]:
    ask(tmp_path / "other", [*TINY, "seed=1"])
    return lines(tmp_path / "other")


def test_any_model_is_asked_the_rows_of_a_file(tmp_path: Path) -> None:
    testbed_model.initialise(seed=0, layers=1, width=32).save(tmp_path / "model")
    (tmp_path / "exam.csv").write_text('question,result\n07+48,"\\frac{110}{2}"\n01+01,02\n')
    columns = ["data.columns.problem=question", "data.columns.answer=result"]
    model = ["model=folder", f"model.path={tmp_path / 'model'}", "rollout.max_new_tokens=8", "samples=3"]
    found = ask(tmp_path / "e", [*model, "data=jsonl", f"data.path={tmp_path / 'exam.csv'}", *columns])
    assert [row["answer"] for row in found["problems"]] == [r"\frac{110}{2}", "02"]
    assert found["n"] == 3
    assert set(found["pass_at_k"]) == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=arithmetic", "output_dir=e"], "error: model must be given and has no default; add model=…, one of "),
        (["model=tiny", "output_dir=e"], "error: data must be given and has no default; add data=…, one of aime24, "),
        (["model=tiny", "data=arithmetic"], "error: output_dir must be given"),
        (["model=tiny", "data=arithmetic", "output_dir=e"], "error: data=arithmetic makes problems without end"),
        (["model=tiny", "data=jsonl", "output_dir=e"], "error: data.path must be given"),
        (["model=tiny", "data=jsonl", "data.path=absent", "output_dir=e"], "error: data.path=absent is not a file"),
        (["model=surrogate", "data=arithmetic", "problems=3", "output_dir=e"], "error: model=surrogate answers no"),
        (["model=tiny", "data=arithmetic", "samples=0", "output_dir=e"], "error: samples must be at least 1, got 0"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_leaves_no_folder(
    overrides: list[str], message: str, python: Python, tmp_path: Path
) -> None:
    done = python("-m", "atesd.evaluate", *overrides)
    assert done.returncode == 1
    assert done.stderr.startswith(message), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_help_needs_nothing_else(python: Python, tmp_path: Path) -> None:
    done = python("-m", "atesd.evaluate", "--help")
    assert done.returncode == 0, done.stderr
    assert "data: aime24, aime25, " in done.stdout
    assert "samples: 12" in done.stdout


def test_another_evaluation_in_the_folder_is_refused_by_its_differences(tmp_path: Path) -> None:
    problems = [Problem("p", "?", "", "5", 0)]
    settings = {"seed": 0, "data": {"name": "jsonl"}, "output_dir": "e"}
    begin(tmp_path / "e", settings, "abc", problems)
    begin(tmp_path / "e", settings | {"output_dir": "moved"}, "abc", problems)
    with pytest.raises(UserError, match="holds another evaluation: seed was 0 and is 1; choose another folder"):
        begin(tmp_path / "e", settings | {"seed": 1}, "abc", problems)
    with pytest.raises(UserError, match="model weights was abc and is abd"):
        begin(tmp_path / "e", settings, "abd", problems)
    with pytest.raises(UserError, match="problems' content was"):
        begin(tmp_path / "e", settings, "abc", [Problem("p", "?", "", "6", 0)])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    with pytest.raises(UserError, match="exists and holds no evaluation"):
        begin(tmp_path / "other", settings, "abc", problems)
