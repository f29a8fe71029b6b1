"""Checkpoints are whole or absent."""

from __future__ import annotations

from pathlib import Path

from atesd.checkpoints import Checkpoints
from atesd.training.surrogate_trainer import SurrogateTrainer


def test_a_checkpoint_of_the_same_update_is_never_taken_away(tmp_path: Path) -> None:
    trainer = SurrogateTrainer("static", 0.01, 0, 8)
    checkpoints = Checkpoints(tmp_path, trainer)
    checkpoints.save({"decisions": 0})
    (first,) = checkpoints.complete()
    made = first.stat().st_ino
    checkpoints.save({"decisions": 0})
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == [made]


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    trainer = SurrogateTrainer("static", 0.01, 0, 8)
    checkpoints = Checkpoints(tmp_path, trainer)
    checkpoints.save({"decisions": 0})
    trainer.start(0.5)
    trainer.update(0.5)
    checkpoints.save({"decisions": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["update_000001"]
    assert checkpoints.load_newest() == {"decisions": 1}
