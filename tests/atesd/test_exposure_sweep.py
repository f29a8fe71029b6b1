"""The table of a sweep over fixed exposures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atesd.errors import UserError
from atesd.exposure_sweep import read, write
from tests.atesd.finished_runs import UPDATES, write_rows, write_run

Python = Callable[..., "subprocess.CompletedProcess[str]"]
ACCURACY = {"accuracy/before": 0.2, "accuracy/after": 0.5}


def finished(folder: Path, summary: dict[str, Any] = ACCURACY, **changes: Any) -> Path:
    """Write a run whose students disagree with the teacher on 0.1 of the tokens, 0.1 more with every update."""
    write_run(folder, [[0, 1], [0], [0, 1, 2, 3, 4]], summary=summary, **changes)
    disagreements = [0.1 * update for update in range(1, UPDATES + 1)]
    rows = [
        {"update": update, "mismatch/top1_disagreement": share, "mismatch/kl_tail_nats": 2.0}
        for update, share in enumerate(disagreements, 1)
    ]
    write_rows(folder / "metrics.jsonl", rows)
    return folder


def test_the_table_has_means_over_seeds_in_the_order_of_exposures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    better = ACCURACY | {"accuracy/after": 0.7}
    runs = [
        finished(tmp_path / "c", exposure=1.0),
        finished(tmp_path / "a", seed=1, exposure=0.0, summary=better),
        finished(tmp_path / "b", exposure=0.0),
    ]
    write(runs, tmp_path / "table")
    base, none, full = capsys.readouterr().out.splitlines()[2:5]
    assert base == "| base | 0.200 | - | 0.200 | - | - | - |"
    # the t quantile of one degree of freedom, 12.706, times the standard error 0.1
    assert none == "| 0 | 0.600 | ± 1.271 | 0.500 | 0.250 | 0.250 | 2.000 |"
    assert full == "| 1 | 0.500 | - | 0.500 | 0.250 | 0.250 | 2.000 |"
    assert [row["exposure"] for row in json.loads((tmp_path / "table/sweep.json").read_text())] == [1.0, 0.0, 0.0]
    assert (tmp_path / "table/sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_a_teacher_has_no_mismatch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", [[0], [0], [1]], summary=ACCURACY)
    write([tmp_path / "run"], tmp_path / "table")
    assert capsys.readouterr().out.splitlines()[3].endswith("| - | - | - |")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"summary": {**ACCURACY, "complete": False}}, "holds no complete run; finish it with resume=true"),
        ({"settings": {"baseline": {"name": "grpo"}}}, "was played by grpo, with 1 exposures; give runs of"),
    ],
)
def test_other_runs_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(finished(tmp_path / "run", **changes))


def test_a_run_of_moving_exposures_is_refused(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", method="linear", settings={"env": {"hold_window": 2, "groups": 1}})
    write_rows(run / "decisions.jsonl", [{"decision": d, "exposure": d / 2} for d in range(2)])
    with pytest.raises(UserError, match="was played by linear, with 2 exposures"):
        read(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "two runs have exposure 0.5 and seed 0; give each once"),
        ({"seed": 1, "settings": {"model": {"name": "tiny_weak"}}}, "the runs differ in model"),
    ],
)
def test_runs_that_are_no_seeds_of_one_sweep_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    runs = [finished(tmp_path / "one"), finished(tmp_path / "other", **changes)]
    with pytest.raises(UserError, match=message):
        write(runs, tmp_path / "table")
    assert not (tmp_path / "table").exists()


@pytest.mark.slow
def test_a_sweep_writes_its_table_once_all_its_runs_are_complete(python: Python, tmp_path: Path) -> None:
    length = ["train.updates=8", "eval.problems=5", "eval.final_problems=5", "tracker=none", "model=surrogate"]
    sweep = ["-m", "atesd.run", "experiment=fixed_sweep", "controller.exposure=0,1", *length]
    table = tmp_path / "outputs/fixed_sweep/surrogate/sweep.md"
    assert python(*sweep, "seed=-1,0").returncode == 1
    assert not table.exists()
    assert python(*sweep, "seed=0").returncode == 0
    assert table.read_text().count("\n") == 5
    broken = python("-m", "atesd.exposure_sweep", str(table.parent))
    assert broken.stderr.startswith("error: give a folder to write to and those of runs:")
