"""Replay: yoked and shuffled controls."""

import json
from pathlib import Path

import numpy as np
import pytest

from atesd.errors import UserError
from atesd.interfaces import Setting
from controllers.replay import Order, ReplayConfig

RECORD = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [{"decision": d, "update": 4 * d, "exposure": exposure} for d, exposure in enumerate(RECORD)]
    (tmp_path / "decisions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def played(run: Path, order: Order, windows: int = len(RECORD), seed: int = 0) -> list[float]:
    controller = ReplayConfig("replay", str(run), order).build(Setting(seed, windows, 6, 4))
    return [controller.act(np.zeros(6, np.float32), decision).exposure for decision in range(windows)]


def test_recorded_order_is_the_record_and_a_shorter_run_its_beginning(run: Path) -> None:
    assert played(run, Order.recorded) == RECORD
    assert played(run, Order.recorded, windows=3) == RECORD[:3]


def test_shuffled_order_keeps_the_exposures_and_depends_on_the_seed(run: Path) -> None:
    first, second = played(run, Order.shuffled, seed=0), played(run, Order.shuffled, seed=1)
    assert sorted(first) == sorted(second) == RECORD
    assert RECORD != first != second
    assert sorted(played(run, Order.shuffled, windows=3)) == RECORD[:3]


def test_too_few_decisions_are_refused_with_both_counts(run: Path) -> None:
    with pytest.raises(UserError, match=r"holds 8 decisions, but this run has 9 hold windows"):
        played(run, Order.recorded, windows=9)


def test_a_record_of_another_hold_window_is_refused_with_both(run: Path) -> None:
    with pytest.raises(UserError, match=r"for 4 student updates each, .* env\.hold_window=8; .* env\.hold_window=4"):
        ReplayConfig("replay", str(run)).build(Setting(0, 2, 6, 8))


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path)):
        with pytest.raises(UserError, match=r"holds no decisions\.jsonl; give the output_dir of a recorded run"):
            ReplayConfig("replay", folder).build(Setting(0, 1, 6, 4))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"decision": 0, "expo', "is not a record"),
        ('{"decision": 1, "exposure": 0.5}', "does not hold decisions 0, 1, ... in order"),
        ('{"decision": 0, "exposure": 1.5}', "decision 0: exposure must lie in"),
    ],
)
def test_a_broken_record_is_refused(tmp_path: Path, record: str, message: str) -> None:
    (tmp_path / "decisions.jsonl").write_text(record + "\n")
    with pytest.raises(UserError, match=message):
        ReplayConfig("replay", str(tmp_path)).build(Setting(0, 1, 6, 4))


def test_a_record_of_groups_is_played_group_by_group(tmp_path: Path) -> None:
    rows = [{"decision": d, "exposure": (d + g) / 4, "group": g} for d in range(3) for g in range(2)]
    (tmp_path / "decisions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = ReplayConfig("replay", str(tmp_path))
    second = config.build(Setting(0, 3, 6, 4, group=1, groups=2))
    assert [second.choose(np.zeros(6, np.float32), d).exposure for d in range(3)] == [0.25, 0.5, 0.75]
    with pytest.raises(UserError, match=r"decisions for 2 difficulty groups, and this run has env\.groups=1"):
        config.build(Setting(0, 3, 6, 4))
