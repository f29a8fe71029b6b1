"""The student on a real engine: one update against plain AdamW by hand, and what may not change its result."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from atesd.config import RunConfig, TeacherConfig, TeacherKind
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.interfaces import StudentDiverged
from atesd.losses import token_divergence
from atesd.models import ModelConfig
from atesd.prompts import TESTBED, PromptStyle
from atesd.rewards import ProgressSignal, RewardConfig
from atesd.stopwatch import Stopwatch
from atesd.tasks.jsonl import JsonlConfig
from atesd.training import weights
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import Sequences, completion_logits
from baselines.grpo import GrpoConfig

Settings = Callable[..., RunConfig]


def trainer(run: RunConfig) -> DeepSpeedTrainer:
    return DeepSpeedTrainer(run, run.signal.build(Cut.step), run.data.build(run.seed), Stopwatch())


def state(student: DeepSpeedTrainer) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in weights.whole(student.engine.module)}


def test_an_update_is_adamw_on_the_clipped_mean_token_loss(settings: Settings, language: LanguageModel) -> None:
    student = trainer(settings(micro_batch_size=2))
    with student.collector.rewinding():
        batch = student.signal.collect(student.collector, 5, 0.5)
    report = student.update(0.5)

    losses = token_divergence(completion_logits(language.model, batch.sequences), batch.tensors["teacher_logits_BTV"])
    loss = losses[batch.sequences.completion_mask_BT.bool()].mean()
    optimizer = torch.optim.AdamW(language.model.parameters(), lr=1e-3, weight_decay=0.0)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(language.model.parameters(), 1.0)
    optimizer.step()

    assert report.reading.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert report.metrics["student/grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    moved = state(student)
    for name, weight in language.model.named_parameters():
        # Adam's first step is lr * sign(g), so entries with a gradient near 0 may differ by rounding alone.
        assert (moved[name] - weight.detach()).abs().mean() < 1e-5, name


@pytest.mark.parametrize(("micro_batch_size", "stage"), [(2, 0), (8, 1), (2, 2), (2, 3)])
def test_micro_batches_and_zero_stages_do_not_change_an_update(
    micro_batch_size: int, stage: int, settings: Settings
) -> None:
    whole, parts = trainer(settings(8)), trainer(settings(micro_batch_size, stage))
    for exposure in (1.0, 0.5):
        one, other = whole.update(exposure), parts.update(exposure)
        assert one.reading.loss == pytest.approx(other.reading.loss, rel=1e-4)
        assert one.metrics["student/grad_norm"] == pytest.approx(other.metrics["student/grad_norm"], rel=1e-4)
    for name, weight in state(parts).items():
        assert (weight - state(whole)[name]).abs().mean() < 1e-5, name


def test_the_same_seed_makes_the_same_student_bit_for_bit_and_a_checkpoint_goes_on(
    settings: Settings, tmp_path: Path
) -> None:
    run = settings(teacher=TeacherConfig(TeacherKind.ema, 0.1))
    straight = trainer(run)
    straight.start(0.5)
    reports = [straight.update(exposure) for exposure in (0.5, 1.0)]
    (tmp_path / "checkpoint").mkdir()
    straight.save(tmp_path / "checkpoint")
    reports += [straight.update(exposure) for exposure in (0.0, 0.7)]
    resumed = trainer(run)
    resumed.load(tmp_path / "checkpoint")
    assert resumed.updates_done == 2
    assert [resumed.update(exposure) for exposure in (0.0, 0.7)] == reports[2:]
    assert weights.fingerprint(resumed.engine.module) == weights.fingerprint(straight.engine.module)
    with pytest.raises(UserError, match="has had 4 updates and cannot start again"):
        resumed.start(0.5)


@pytest.mark.parametrize("kind", TeacherKind)
@pytest.mark.parametrize("micro_batch_size", [2, 8])
def test_a_restored_student_repeats_its_updates_bit_for_bit(
    kind: TeacherKind, micro_batch_size: int, settings: Settings
) -> None:
    student = trainer(settings(micro_batch_size, teacher=TeacherConfig(kind, 0.3)))
    student.update(0.5)
    snapshot, before = student.snapshot(), weights.fingerprint(student.engine.module)
    first = [student.update(exposure) for exposure in (0.0, 0.7)], weights.fingerprint(student.engine.module)
    student.restore(snapshot)
    assert (weights.fingerprint(student.engine.module), student.updates_done) == (before, 1)
    other = [student.update(1.0) for _ in range(3)], weights.fingerprint(student.engine.module)
    student.restore(snapshot)
    again = [student.update(exposure) for exposure in (0.0, 0.7)], weights.fingerprint(student.engine.module)
    assert first == again
    assert first[1] != other[1] != before


def test_a_fork_leaves_no_trace_in_the_run(settings: Settings) -> None:
    forked, straight = (trainer(settings(teacher=TeacherConfig(TeacherKind.ema, 0.3))) for _ in range(2))
    for student in (forked, straight):
        student.start(0.5)
    snapshot = forked.snapshot()  # before the first update the optimizer has no state yet
    for exposure in (0.0, 1.0):
        forked.update(exposure)
        forked.measure()
        forked.evaluate(3)
        forked.restore(snapshot)
    reports = [[student.update(exposure) for exposure in (0.2, 0.9)] for student in (forked, straight)]
    assert reports[0] == reports[1]
    assert forked.engine.global_steps == straight.engine.global_steps == 2
    assert weights.fingerprint(forked.engine.module) == weights.fingerprint(straight.engine.module)


def test_a_student_restored_after_an_update_that_diverged_goes_on_as_if_it_had_not_been(settings: Settings) -> None:
    student = trainer(settings(micro_batch_size=2))
    student.update(0.5)
    snapshot = student.snapshot()
    expected = student.update(1.0)
    student.restore(snapshot)
    weight = next(student.engine.module.parameters())
    spoiled = weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(StudentDiverged):
        student.update(1.0)
    spoiled.remove()
    assert not student.engine.module.training
    student.restore(snapshot)
    assert student.update(1.0) == expected


def test_the_first_reading_takes_no_more_memory_than_an_update(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(model: Any, batch: Sequences) -> torch.Tensor:
        sizes.append(len(batch))
        return completion_logits(model, batch)

    monkeypatch.setattr("atesd.training.deepspeed_trainer.completion_logits", counted)
    readings = [trainer(settings(micro_batch_size=size)).start(0.5) for size in (2, 8)]
    assert sizes == [2, 2, 1, 5]
    assert readings[0].loss == pytest.approx(readings[1].loss, rel=1e-5)


def test_a_snapshot_is_a_copy_in_both_directions(settings: Settings) -> None:
    student = trainer(settings(teacher=TeacherConfig(TeacherKind.ema, 0.3)))
    student.update(0.5)
    snapshot = student.snapshot()
    tensors = [
        *snapshot.weights.values(),
        *snapshot.teacher.values(),
        *(tensor for entry in snapshot.optimizer["state"].values() for tensor in entry.values()),
    ]
    before = [tensor.clone() for tensor in tensors]
    student.update(0.5)
    student.restore(snapshot)
    student.update(0.5)
    with torch.no_grad():
        for module in (student.engine.module, student.teacher.model):
            for weight in module.parameters():
                weight.zero_()
    assert len(tensors) > 50
    assert all(map(torch.equal, tensors, before))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_sharded_student_has_no_snapshot(stage: int, settings: Settings) -> None:
    with pytest.raises(UserError, match=rf"deepspeed\.stage={stage} shards the student .* deepspeed\.stage=0"):
        trainer(settings(stage=stage)).snapshot()


def test_measuring_gives_what_an_update_with_that_signal_reads(settings: Settings) -> None:
    for signal, value in trainer(settings()).measure().items():
        reward = RewardConfig(lookahead=2, probe_problems=3, signal=signal)
        assert trainer(settings(reward=reward)).start(0.5).progress_signal == value


@pytest.mark.parametrize("signal", ProgressSignal)
def test_every_progress_signal_is_measured(signal: ProgressSignal, settings: Settings) -> None:
    student = trainer(settings(reward=RewardConfig(lookahead=2, probe_problems=3, signal=signal)))
    reading = student.start(0.5)
    same = {
        ProgressSignal.probe_nll: reading.probe_nll,
        ProgressSignal.loss: reading.loss,
        ProgressSignal.probe_success: 1.0,
    }
    assert reading.progress_signal == same.get(signal, reading.progress_signal)
    assert reading.progress_signal > 0


def test_starting_leaves_the_student_and_its_first_update_as_they_were(settings: Settings) -> None:
    started, fresh = trainer(settings()), trainer(settings())
    before = weights.fingerprint(started.engine.module)
    started.start(0.3)
    assert weights.fingerprint(started.engine.module) == before
    assert started.update(1.0) == fresh.update(1.0)
    assert weights.fingerprint(started.engine.module) == weights.fingerprint(fresh.engine.module) != before


def test_other_base_weights_are_refused_on_resume(settings: Settings, language: LanguageModel, tmp_path: Path) -> None:
    student = trainer(settings())
    (tmp_path / "checkpoint").mkdir()
    student.save(tmp_path / "checkpoint")
    with torch.no_grad():
        language.model.get_input_embeddings().weight.mul_(1.5)
    language.save(tmp_path / "other")
    with pytest.raises(UserError, match=r"began from other base weights than model\.path=.*other"):
        trainer(settings(model=ModelConfig(path=str(tmp_path / "other")))).load(tmp_path / "checkpoint")


def test_an_update_without_a_gradient_changes_nothing(settings: Settings) -> None:
    run = settings(baseline=GrpoConfig(group_size=5))
    student = DeepSpeedTrainer(run, run.baseline.signal(run), run.data.build(run.seed), Stopwatch())
    before = weights.fingerprint(student.engine.module)
    report = student.update(1.0)  # an untrained student is never right, so every group is of equals
    assert (report.reading.loss, report.metrics["student/grad_norm"]) == (0.0, 0.0)
    assert weights.fingerprint(student.engine.module) == before


def test_a_diverged_update_is_named_by_its_own_number(settings: Settings) -> None:
    """The update's own pass is sound, and all the student says after it is not a number."""
    student, learned = trainer(settings()), []

    def break_after_learning(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if module.training:
            learned.append(True)
        elif learned:
            output.logits.fill_(torch.nan)

    student.engine.module.register_forward_hook(break_after_learning)
    student.start(0.5)
    with pytest.raises(StudentDiverged, match=r"student update 1: the progress signal is nan"):
        student.update(0.5)


def test_same_weights_and_empty_privilege_give_divergence_zero(settings: Settings) -> None:
    """With the student's own prompt as the teacher's, the base teacher and the base student are one function."""
    student = trainer(settings())
    student.student.style = PromptStyle(
        student=TESTBED.student, teacher=TESTBED.student, answer="#{answer}", marker="#"
    )
    reading = student.start(1.0)
    assert reading.loss == pytest.approx(0.0, abs=1e-9)
    assert reading.mismatch == 0.0


def test_overlong_prompt_names_its_problem(settings: Settings, tmp_path: Path) -> None:
    rows = [
        {"problem": f"{n:02d}+01", "reference": f"{n:02d}+01={n + 1:02d};" * 40, "answer": f"{n + 1:02d}"}
        for n in range(90)
    ]
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    data = JsonlConfig(name="jsonl", path=str(path), step_pattern=";")
    student = trainer(settings(data=data, reward=RewardConfig(lookahead=2, probe_problems=1)))
    with pytest.raises(
        UserError, match=r"problem long\.jsonl:\d+, teacher prompt: \d+ tokens .* more than the model's 256"
    ):
        student.start(1.0)


ALONE = [sys.executable, "-m"]
DEEPSPEED = ["deepspeed", "--num_gpus", "2", "--no_local_rank", "--master_port", "PORT", "--module"]
TORCHRUN = ["torchrun", "--nproc_per_node", "2", "--master_port", "PORT", "--module"]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def launch(language: LanguageModel, tmp_path: Path) -> Callable[..., list[dict[str, float]]]:
    """Return a function that launches a run of 4 updates with more settings, and returns its metrics."""
    language.save(tmp_path / "base")
    shared = [
        "model=folder",
        f"model.path={tmp_path / 'base'}",
        "train.updates=4",
        "train.batch_size=8",
        "train.threads=1",
        "env.hold_window=2",
        "reward.lookahead=2",
        "reward.grounding=0.1",
        "reward.probe_problems=9",
        "eval.every=2",
        "eval.problems=9",
        "eval.final_problems=9",
        "rollout.max_new_tokens=12",
    ]
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)  # this process's own group

    def run(launcher: list[str], *overrides: str) -> list[dict[str, float]]:
        output = tmp_path / Path(launcher[0]).name
        name, *how = [free_port() if word == "PORT" else word for word in launcher]
        command = [str(scripts / name), *how, "atesd.run", *shared, *overrides, f"output_dir={output}"]
        finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]

    return run


def column(rows: list[dict[str, float]], key: str) -> list[float]:
    return [row[key] for row in rows]


TOLERANCES = {
    "exposure/asked": 1e-12,
    "loss/optimised": 1e-4,
    "teacher/reference_log_prob_nats_per_token": 1e-4,
    "tokens/generated": 0,
}


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "groups"), [(0, 1), (1, 1), (2, 1), (3, 1), (0, 3)])
def test_two_processes_agree_with_one(stage: int, groups: int, launch: Callable[..., list[dict[str, float]]]) -> None:
    one, two = (launch(how, f"env.groups={groups}", f"deepspeed=zero{stage}") for how in (ALONE, DEEPSPEED))
    for key, tolerance in TOLERANCES.items():
        assert column(two, key) == pytest.approx(column(one, key), rel=tolerance), key
    for alone, shared in zip(one, two, strict=True):
        by_group = [key for key in alone if key.startswith("group_")]
        assert {key: shared[key] for key in by_group} == pytest.approx({key: alone[key] for key in by_group}, rel=1e-3)


@pytest.mark.slow
def test_two_processes_agree_with_one_on_adapters_in_bf16(launch: Callable[..., list[dict[str, float]]]) -> None:
    """Under the other launcher; 16 bits round differently in batches of other shapes."""
    settings = ["deepspeed=zero2", "model.dtype=bfloat16", "lora=opsd", "lora.rank=4", "controller=fixed"]
    settings += ["train.updates=2", "rollout.max_new_tokens=6", "eval.final_problems=2", "eval.rollouts=0"]
    one, two = (launch(how, *settings) for how in (ALONE, TORCHRUN))
    assert column(two, "loss/optimised") == pytest.approx(column(one, "loss/optimised"), rel=0.02)
    assert column(two, "student/grad_norm") == pytest.approx(column(one, "student/grad_norm"), rel=0.02)
