"""What a run leaves behind: rows that JSON can hold, and folders that are never overwritten."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from atesd.errors import UserError
from atesd.logbook import LOGS, Logbook, finite, provenance, refuse_existing


@pytest.fixture
def logbook(tmp_path: Path) -> Logbook:
    book = Logbook(tmp_path / "run", writes=True)
    book.open_new("seed: 0\n")
    return book


def test_a_new_run_is_incomplete_from_the_first_moment(logbook: Logbook) -> None:
    assert (logbook.folder / "config.yaml").read_text() == "seed: 0\n"
    assert json.loads((logbook.folder / "summary.json").read_text()) == {"complete": False}


def test_rows_come_back_as_written(logbook: Logbook) -> None:
    rows = [{"update": 1, "x": 0.1 + 0.2}, {"update": 2, "x": None, "text": "a\nb\u2028é", "list": [1, 2.5]}]
    for row in rows:
        logbook.append("metrics.jsonl", row)
    assert logbook.rows("metrics.jsonl") == rows
    assert logbook.rows("decisions.jsonl") == []
    assert len((logbook.folder / "metrics.jsonl").read_bytes().splitlines()) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_that_json_lacks_gets_into_a_file(value: float, logbook: Logbook) -> None:
    with pytest.raises(ValueError, match="JSON"):
        logbook.append("metrics.jsonl", {"loss": value})
    with pytest.raises(ValueError, match="JSON"):
        logbook.summarise({"loss": value})
    assert logbook.rows("metrics.jsonl") == []
    assert json.loads((logbook.folder / "summary.json").read_text()) == {"complete": False}
    logbook.append("metrics.jsonl", finite({"loss": value, "ok": 0.5, "none": None}))
    assert logbook.rows("metrics.jsonl") == [{"loss": str(value), "ok": 0.5, "none": None}]


def test_cutting_back_forgets_what_came_after_a_checkpoint(logbook: Logbook) -> None:
    logbook.append("metrics.jsonl", {"update": 1})
    sizes = json.loads(json.dumps(logbook.sizes()))
    assert set(sizes) == set(LOGS)
    for update in (2, 3):
        logbook.append("metrics.jsonl", {"update": update})
        logbook.append("decisions.jsonl", {"decision": update})
    logbook.cut_back(sizes)
    assert logbook.rows("metrics.jsonl") == [{"update": 1}]
    assert logbook.rows("decisions.jsonl") == []
    logbook.append("metrics.jsonl", {"update": 2})
    assert logbook.rows("metrics.jsonl") == [{"update": 1}, {"update": 2}]


def test_cutting_back_removes_half_a_row(logbook: Logbook) -> None:
    logbook.append("metrics.jsonl", {"update": 1})
    sizes = logbook.sizes()
    with (logbook.folder / "metrics.jsonl").open("a") as log:
        log.write('{"update": 2, "lo')
    logbook.cut_back(sizes)
    assert logbook.rows("metrics.jsonl") == [{"update": 1}]


def test_a_log_shorter_than_its_checkpoint_is_refused_and_not_filled_up(logbook: Logbook) -> None:
    logbook.append("metrics.jsonl", {"update": 1})
    logbook.append("metrics.jsonl", {"update": 2})
    sizes = logbook.sizes()
    path = logbook.folder / "metrics.jsonl"
    path.write_text('{"update": 1}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        logbook.cut_back(sizes)
    assert path.read_text() == '{"update": 1}\n'
    path.unlink()
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        logbook.cut_back(sizes)


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "run" / "kept.txt"
    kept.parent.mkdir()
    refuse_existing(kept.parent)
    kept.write_text("precious")
    book = Logbook(kept.parent, writes=True)
    with pytest.raises(UserError, match=r"output_dir=.*run exists and is never overwritten; choose another"):
        book.open_new("seed: 0\n")
    assert [path.name for path in kept.parent.iterdir()] == ["kept.txt"]
    with pytest.raises(UserError, match="never overwritten"):
        refuse_existing(kept)


def test_a_logbook_that_does_not_write_writes_nothing(tmp_path: Path) -> None:
    book = Logbook(tmp_path / "run", writes=False)
    book.open_new("seed: 0\n")
    book.append("metrics.jsonl", {"update": 1})
    book.summarise({"complete": True})
    book.cut_back(dict.fromkeys(LOGS, 0))
    assert list(tmp_path.iterdir()) == []


def test_provenance_is_json_and_names_the_engine() -> None:
    found = json.loads(json.dumps(provenance(), allow_nan=False))
    assert "absent" not in (found["versions"]["torch"], found["versions"]["stable-baselines3"])
    assert found["command"].startswith("python ")
    assert found["commit"]
