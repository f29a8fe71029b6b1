"""What trackers show: every number once, also of a run that was stopped and resumed, and never a key."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import atesd.run
from atesd.config import EvalConfig, RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.models import SurrogateConfig
from atesd.registry import config_of, names
from atesd.trackers import AppendOnly, NoTrackerConfig, TensorBoardConfig, Tracker, WandbConfig, WandbMode, page

BEGIN = {"metrics.jsonl": -1, "evaluations.jsonl": -1}
ROOT = Path(__file__).parent.parent.parent
KEY = "0123456789abcdef0123456789abcdef01234567"


def play(tracker: Tracker, resumed: int, shown: Mapping[str, int], updates: range) -> None:
    """Show what a run logs: a loss per update, and an accuracy every second update."""
    tracker.open(resumed, shown)
    for update in updates:
        if update:
            tracker.log("metrics.jsonl", update, {"update": update, "loss": update / 8, "bad": "nan", "none": None})
        if update % 2 == 0:
            tracker.log("evaluations.jsonl", update, {"accuracy/mean": update / 100})
    tracker.close()


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_every_tracker_is_a_choice() -> None:
    assert names("tracker") == ["none", "tensorboard", "trackio", "wandb"]


def test_no_tracker_leaves_nothing(tmp_path: Path) -> None:
    play(NoTrackerConfig().build(tmp_path, {}), -1, BEGIN, range(3))
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_shows_a_resumed_run_once(tmp_path: Path) -> None:
    tracker = TensorBoardConfig()
    play(tracker.build(tmp_path, {}), -1, BEGIN, range(6))
    assert [step for step, _ in points(tmp_path, "loss")] == [1, 2, 3, 4, 5]
    # Stopped after update 5, but the checkpoint is that of update 3.
    play(tracker.build(tmp_path, {}), 3, {"metrics.jsonl": 5, "evaluations.jsonl": 4}, range(4, 8))
    assert points(tmp_path, "loss") == [(update, update / 8) for update in range(1, 8)]
    assert [step for step, _ in points(tmp_path, "accuracy/mean")] == [0, 2, 4, 6]


def test_tensorboard_shows_a_run_that_begins_again_once(tmp_path: Path) -> None:
    tracker = TensorBoardConfig()
    play(tracker.build(tmp_path, {}), -1, BEGIN, range(3))
    play(tracker.build(tmp_path, {}), -1, {"metrics.jsonl": 2, "evaluations.jsonl": 2}, range(5))
    assert [step for step, _ in points(tmp_path, "accuracy/mean")] == [0, 2, 4]
    assert [step for step, _ in points(tmp_path, "loss")] == [1, 2, 3, 4]


def test_a_tracker_that_was_never_opened_closes(tmp_path: Path) -> None:
    TensorBoardConfig().build(tmp_path, {}).close()
    WandbConfig(mode=WandbMode.offline).build(tmp_path, {}).close()
    assert list(tmp_path.iterdir()) == []


class Page:
    """A page that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.sent.append((step, values))

    def finish(self) -> None:
        self.sent.append((-1, {}))


class Appending(AppendOnly):
    """An append-only tracker in memory."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page

    def begin(self) -> Any:
        return self.page


def test_an_append_only_tracker_is_sent_nothing_twice() -> None:
    page = Page()
    # Killed while update 4 was being evaluated: its metrics had been logged, its accuracy had not.
    play(Appending(page), 3, {"metrics.jsonl": 4, "evaluations.jsonl": 2}, range(4, 7))
    assert page.sent == [
        (4, {"accuracy/mean": 0.04}),
        (5, {"update": 5, "loss": 0.625}),
        (6, {"update": 6, "loss": 0.75}),
        (6, {"accuracy/mean": 0.06}),
        (-1, {}),
    ]


def test_a_run_keeps_its_page(tmp_path: Path) -> None:
    first = page(tmp_path)
    assert len(first) == 16
    assert page(tmp_path) == first


def test_wandb_without_a_key_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"tracker=wandb needs WANDB_API_KEY .* tracker\.mode=offline"):
        WandbConfig().build(tmp_path, {}).open(-1, BEGIN)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r'tracker=wandb needs wandb; install it with pip install "atesd\[wandb\]"'):
        WandbConfig(mode=WandbMode.offline).build(tmp_path, {}).open(-1, BEGIN)


@pytest.mark.wandb
def test_wandb_offline_writes_the_run_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    tracker = WandbConfig(mode=WandbMode.offline)
    play(tracker.build(tmp_path, {"seed": 0}), -1, BEGIN, range(4))
    play(tracker.build(tmp_path, {"seed": 0}), 3, {"metrics.jsonl": 3, "evaluations.jsonl": 2}, range(4, 6))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


@pytest.mark.trackio
def test_trackio_keeps_every_row_once_and_reaches_no_network(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="needs the extra trackio")
    program = f"""
import socket, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
connect = socket.socket.connect
def local(self, address):
    assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"), address
    return connect(self, address)
socket.socket.connect = local
from pathlib import Path
from atesd.trackers import TrackioConfig
from test_trackers import BEGIN, play
build = TrackioConfig(project="study").build
play(build(Path("."), {{"seed": 0}}), -1, BEGIN, range(4))
play(build(Path("."), {{"seed": 0}}), 3, {{"metrics.jsonl": 3, "evaluations.jsonl": 2}}, range(4, 6))
"""
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "store"), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=120)
    with closing(sqlite3.connect(tmp_path / "store/study.db")) as store:
        rows = store.execute("select run_name, step, metrics from metrics order by id").fetchall()
    shown = [(step, key, value) for _, step, row in rows for key, value in json.loads(row).items() if key != "update"]
    assert len({name for name, _, _ in rows}) == 1
    assert sorted(shown) == sorted(
        [(update, "loss", update / 8) for update in range(1, 6)]
        + [(update, "accuracy/mean", update / 100) for update in (0, 2, 4)]
    )


def test_no_tracker_has_a_key_among_its_settings() -> None:
    settings = {field.name for name in names("tracker") for field in fields(config_of("tracker", name))}
    assert settings == {"name", "project", "mode"}


def test_a_resumed_run_is_shown_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = RunConfig(
        output_dir=str(folder),
        model=SurrogateConfig(name="surrogate"),
        data=config_of("data", "arithmetic")(name="arithmetic"),
        controller=config_of("controller", "uniform")(name="uniform"),
        tracker=TensorBoardConfig(name="tensorboard"),
        train=TrainConfig(updates=12),
        eval=EvalConfig(every=4, problems=5, final_problems=5),
    )
    atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))
    whole = points(folder, "accuracy/mean")
    (folder / "summary.json").write_text('{"complete": false}')
    again = replace(run, resume=True)
    atesd.run.play(again, OmegaConf.to_yaml(OmegaConf.structured(again)))
    assert [step for step, _ in whole] == [0, 4, 8, 12]
    assert points(folder, "accuracy/mean") == whole
    assert [step for step, _ in points(folder, "probe/nll_nats_per_token")] == list(range(1, 13))
    assert len(list((folder / "tensorboard").iterdir())) == 2
