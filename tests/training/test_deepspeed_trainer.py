"""The trainer on a real engine: what must not depend on batching, sharding or the number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atesd.config import RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.stopwatch import Stopwatch
from atesd.tasks.jsonl import Columns, JsonlConfig
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.engine import DeepSpeedConfig
from tests.training.conftest import MakeRun


def build(run: RunConfig) -> DeepSpeedTrainer:
    return DeepSpeedTrainer(run, run.signal.build(run.exposure.cut), run.data.build(run.seed), Stopwatch())


def losses(run: RunConfig, updates: int = 3) -> list[float]:
    trainer = build(run)
    trainer.start(0.5)
    return [trainer.update(0.5).reading.loss for _ in range(updates)]


def test_micro_batches_do_not_change_the_update(make_run: MakeRun) -> None:
    whole = losses(make_run(train=TrainConfig(updates=8, batch_size=8, micro_batch_size=8)))
    split = losses(make_run(train=TrainConfig(updates=8, batch_size=8, micro_batch_size=3)))
    assert split == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_stages_give_the_same_curve(make_run: MakeRun, stage: int) -> None:
    plain = losses(make_run())
    sharded = losses(make_run(deepspeed=DeepSpeedConfig(name="sharded", stage=stage)))
    assert sharded == pytest.approx(plain, rel=1e-4)


def test_start_measures_the_first_batch_without_an_update(make_run: MakeRun) -> None:
    trainer = build(make_run())
    before = [parameter.clone() for parameter in trainer.engine.module.parameters()]
    first = trainer.start(0.5)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.engine.module.parameters(), strict=True))
    assert first.loss == pytest.approx(trainer.update(0.5).reading.loss, rel=1e-6)
    with pytest.raises(UserError, match="cannot start again"):
        trainer.start(0.5)


def test_same_weights_and_empty_privilege_give_divergence_zero(make_run: MakeRun) -> None:
    """With the student's own prompt as the teacher's, the base teacher and the base student are one function."""
    trainer = build(make_run())
    trainer.student.style = trainer.student.style.__class__(
        student=trainer.student.style.student, teacher=trainer.student.style.student, answer="#{answer}", marker="#"
    )
    reading = trainer.start(1.0)
    assert reading.loss == pytest.approx(0.0, abs=1e-9)
    assert reading.mismatch == 0.0


def test_overlong_prompt_names_its_problem(make_run: MakeRun, tmp_path: Path) -> None:
    rows = [
        {"problem": f"{n:02d}+01", "reference": f"{n:02d}+01={n + 1:02d};" * 40, "answer": f"{n + 1:02d}"}
        for n in range(90)
    ]
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    data = JsonlConfig(name="jsonl", path=str(path), columns=Columns(), step_pattern=";")
    trainer = build(make_run(data=data, reward=make_run().reward.__class__(lookahead=3, probe_problems=1)))
    with pytest.raises(
        UserError, match=r"problem long\.jsonl:\d+: its prompt of \d+ tokens .* more than the model's 256"
    ):
        trainer.start(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 3])
def test_two_processes_agree_with_one(base_folder: Path, tmp_path: Path, stage: int) -> None:
    settings = [
        "model=folder",
        f"model.path={base_folder}",
        "train.updates=4",
        "train.batch_size=8",
        "train.threads=1",
        "env.hold_window=2",
        "reward.lookahead=2",
        "reward.probe_problems=9",
        "eval.every=2",
        "eval.problems=9",
        "eval.final_problems=9",
        "rollout.max_new_tokens=12",
        f"deepspeed=zero{stage}",
    ]
    launcher = [str(Path(sys.executable).parent / "deepspeed"), "--num_gpus", "2", "--no_local_rank"]
    launcher += ["--master_port", str(29600 + stage), "--module"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)  # this process's own group
    for output, launch in (("one", [sys.executable, "-m"]), ("two", launcher)):
        command = [*launch, "atesd.run", *settings, f"output_dir={tmp_path / output}"]
        finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
    one, two = (
        [json.loads(line) for line in (tmp_path / o / "metrics.jsonl").read_text().splitlines()] for o in ("one", "two")
    )
    assert [row["exposure/asked"] for row in one] == [row["exposure/asked"] for row in two]
    assert [row["loss/optimised"] for row in two] == pytest.approx([row["loss/optimised"] for row in one], rel=1e-4)
    assert [row["tokens/generated"] for row in two] == [row["tokens/generated"] for row in one]
