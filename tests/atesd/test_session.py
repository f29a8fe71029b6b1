"""Whole runs: their files agree with each other, they resume exactly, and equal methods are equal runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from omegaconf import OmegaConf
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import atesd.run
from atesd.config import CheckpointConfig, EnvConfig, EvalConfig, RunConfig, TeacherConfig, TeacherKind, TrainConfig
from atesd.errors import UserError
from atesd.interfaces import Action, Observation, Setting
from atesd.models import ModelConfig
from atesd.oracle import retrace
from atesd.rewards import ProgressSignal, RewardConfig
from atesd.session import Stopped
from atesd.tasks.arithmetic import ArithmeticConfig
from atesd.training import testbed_model
from atesd.training.engine import DeepSpeedConfig
from atesd.training.rollout import HfRolloutConfig
from baselines.grpo import GrpoConfig
from baselines.none import NoneConfig
from baselines.opsd import OpsdConfig
from baselines.sft import SftConfig
from controllers.beta_reinforce import BetaReinforceConfig
from controllers.fixed import Fixed, FixedConfig

MakeRun = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers with weights large enough to have opinions, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("base")
    language = testbed_model.initialise(seed=0, layers=2, width=32)
    with torch.no_grad():
        for parameter in language.model.parameters():
            parameter.mul_(10 if parameter.dim() > 1 else 1)
    language.save(folder)
    return folder


@pytest.fixture
def make_run(base_folder: Path, tmp_path: Path) -> MakeRun:
    """Return a maker of settings for a run of 8 updates in 4 hold windows; keyword arguments replace sections."""

    def make(output: str = "run", **sections: Any) -> RunConfig:
        defaults: dict[str, Any] = {
            "output_dir": str(tmp_path / output),
            "model": ModelConfig(name="folder", path=str(base_folder)),
            "data": ArithmeticConfig(name="arithmetic"),
            "controller": BetaReinforceConfig(name="beta_reinforce", batch=2),
            "rollout": HfRolloutConfig(name="hf", max_new_tokens=12),
            "deepspeed": DeepSpeedConfig(name="zero0"),
            "train": TrainConfig(updates=8, batch_size=8, micro_batch_size=8),
            "env": EnvConfig(hold_window=2),
            "reward": RewardConfig(lookahead=3, probe_problems=8),
            "eval": EvalConfig(every=4, problems=8, final_problems=10),
            "checkpoint": CheckpointConfig(every=1),
        }
        return RunConfig(**(defaults | sections))

    return make


def play(run: RunConfig) -> dict[str, Any]:
    """Play a run through the same entry as the command line."""
    return atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))


def rows(run: RunConfig, log: str) -> list[dict[str, Any]]:
    """Read a log without its timings."""
    lines = (Path(run.output_dir) / log).read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]


def weights(run: RunConfig) -> dict[str, torch.Tensor]:
    return load_file(Path(run.output_dir) / "model" / "model.safetensors")


def assert_same_run(one: RunConfig, other: RunConfig, logs: tuple[str, ...]) -> None:
    for log in logs:
        assert rows(one, log) == rows(other, log)
    for name, weight in weights(one).items():
        assert torch.equal(weight, weights(other)[name]), name


def test_files_agree_with_each_other(make_run: MakeRun) -> None:
    run = make_run()
    summary = play(run)
    folder = Path(run.output_dir)
    metrics, decisions, evaluations = (rows(run, f"{log}.jsonl") for log in ("metrics", "decisions", "evaluations"))
    assert [row["update"] for row in metrics] == list(range(1, 9))
    assert [row["decision"] for row in decisions] == [0, 1, 2, 3]
    assert [row["exposure/asked"] for row in metrics[::2]] == [row["exposure"] for row in decisions]
    assert [row["update"] for row in evaluations] == [0, 4, 8]
    rollouts = rows(run, "rollouts.jsonl")
    assert [row["update"] for row in rollouts] == [0] * 3 + [4] * 3 + [8] * 3
    assert {row["teacher"][1]["exposure"] for row in rollouts[6:]} == {decisions[-1]["exposure"]}
    assert summary["accuracy/before"] == evaluations[0]["mean"]
    assert summary["accuracy/after"] == evaluations[-1]["mean"]
    assert summary["total/tokens/generated"] == sum(row["tokens/generated"] for row in metrics)
    assert json.loads((folder / "summary.json").read_text())["complete"] is True
    for judged, counted in zip(rows(run, "verdicts.jsonl"), evaluations, strict=True):
        assert judged["update"] == counted["update"]
        assert len(judged["right"]) == counted["mean"] * counted["problems"]
        assert len({*judged["right"], *judged["wrong"]}) == counted["problems"]
    assert OmegaConf.load(folder / "config.yaml").train.updates == 8
    assert {path.name for path in (folder / "figures").iterdir()} == {"progress.png", "exposure.png", "mismatch.png"}


def test_a_run_counts_what_it_spends(make_run: MakeRun) -> None:
    run = make_run()
    summary = play(run)
    metrics = rows(run, "metrics.jsonl")
    spent = {key: sum(row[key] for row in metrics) for key in metrics[0] if "tokens" in key and "/length" not in key}
    assert summary["total/updates"] == 8
    unspent = {
        "probe/tokens_generated",
        "tokens/scored_by_student",
        "tokens/scored_reference",
    }  # by this signal and these rewards
    assert {key for key, total in spent.items() if not total} == unspent
    assert all(summary[f"total/{key}"] == total for key, total in spent.items())
    assert 0 < summary["total/seconds"] < summary["seconds"]["total"]
    # Two layers of width 32: four 32 x 32 attention weights with two norms of 8, three 32 x 96 of the perceptron, two
    # norms of 32 each; one norm after them.
    parameters = 2 * (4 * 32 * 32 + 2 * 8 + 3 * 32 * 96 + 2 * 32) + 32
    forward = spent["tokens/prompted"] + spent["tokens/generated"] + spent["tokens/scored"]
    forward += spent["probe/tokens_scored"]
    assert summary["total/flops"] == parameters * (2 * forward + 6 * spent["tokens/trained"])


def test_rewards_in_the_log_follow_from_the_metrics(make_run: MakeRun) -> None:
    run = make_run(reward=RewardConfig(lookahead=3, probe_problems=8, discount=0.5, grounding=0.25))
    play(run)
    metrics, decisions = rows(run, "metrics.jsonl"), rows(run, "decisions.jsonl")
    nll = [row["probe/nll_nats_per_token"] for row in metrics]  # nll[i] is after update i + 1
    teacher = [row["teacher/reference_log_prob_nats_per_token"] for row in metrics]
    progress = sum(0.5**i * (nll[1 + i] - nll[2 + i]) for i in range(3))
    grounded = (teacher[2] + 0.5 * teacher[3] + 0.25 * teacher[4]) / 1.75
    assert decisions[1]["reward"] == pytest.approx(progress + 0.25 * grounded)
    assert decisions[1]["matured_at"] == 5
    assert decisions[3]["reward"] is None


def test_saved_student_loads_and_is_the_trained_one(make_run: MakeRun, base_folder: Path) -> None:
    run = make_run()
    summary = play(run)
    model = AutoModelForCausalLM.from_pretrained(Path(run.output_dir) / "model", dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    name, moved = next(iter(model.named_parameters()))
    assert not torch.equal(moved, dict(base.named_parameters())[name])
    card = ModelCard.load(Path(run.output_dir) / "model" / "README.md")
    assert card.data.library_name == "transformers"
    assert f"| after training | {summary['accuracy/after']:.3f} |" in card.text


def test_opsd_is_fixed_exposure_one_bit_for_bit(make_run: MakeRun) -> None:
    opsd = make_run("opsd", baseline=OpsdConfig(name="opsd"))
    fixed = make_run("fixed", controller=FixedConfig(name="fixed", exposure=1.0))
    play(opsd)
    play(fixed)
    assert_same_run(opsd, fixed, ("metrics.jsonl", "decisions.jsonl", "evaluations.jsonl"))


@pytest.mark.slow
def test_same_seed_same_run_other_seed_other_run(make_run: MakeRun) -> None:
    one, again, other = make_run("one"), make_run("again"), make_run("other", seed=1)
    for run in (one, again, other):
        play(run)
    assert_same_run(one, again, ("metrics.jsonl", "decisions.jsonl"))
    assert rows(one, "metrics.jsonl") != rows(other, "metrics.jsonl")


@pytest.mark.parametrize("kind", list(TeacherKind))
def test_stopped_run_resumes_exactly(make_run: MakeRun, kind: TeacherKind) -> None:
    teacher = TeacherConfig(kind=kind, ema_rate=0.3)
    whole, stopped = make_run("whole", teacher=teacher), make_run("stopped", teacher=teacher)
    play(whole)
    with stop_signal_after(3, Path(stopped.output_dir) / "metrics.jsonl"), pytest.raises(Stopped):
        play(stopped)
    assert json.loads((Path(stopped.output_dir) / "summary.json").read_text())["complete"] is False
    play(replace(stopped, resume=True))
    assert_same_run(whole, stopped, ("metrics.jsonl", "decisions.jsonl", "evaluations.jsonl", "rollouts.jsonl"))


@pytest.mark.slow
def test_a_run_ends_with_the_update_that_spends_its_tokens(make_run: MakeRun) -> None:
    whole = make_run("whole")
    play(whole)
    spent = [row["tokens/generated"] for row in rows(whole, "metrics.jsonl")]
    assert len(spent) == 8
    limited = replace(whole.train, tokens_generated=sum(spent[:5]) + 1)  # of which the sixth update spends the last
    short, stopped = make_run("short", train=limited), make_run("stopped", train=limited)
    assert play(short)["total/tokens/generated"] == sum(spent[:6])
    assert rows(short, "metrics.jsonl") == rows(whole, "metrics.jsonl")[:6]
    assert [row["update"] for row in rows(short, "evaluations.jsonl")][-1] == 6
    with stop_signal_after(3, Path(stopped.output_dir) / "metrics.jsonl"), pytest.raises(Stopped):
        play(stopped)
    play(replace(stopped, resume=True))
    assert_same_run(short, stopped, ("metrics.jsonl", "decisions.jsonl", "evaluations.jsonl"))


@contextmanager
def stop_signal_after(updates: int, log: Path) -> Iterator[None]:
    """Send this process a SIGTERM as soon as a log holds so many rows."""

    def watch() -> None:
        while not log.exists() or log.read_text().count("\n") < updates:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()


def test_rows_after_the_checkpoint_are_not_repeated(make_run: MakeRun) -> None:
    run = make_run()
    play(run)
    folder = Path(run.output_dir)
    before = rows(run, "metrics.jsonl")
    (folder / "summary.json").write_text('{"complete": false}')
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"update": 99}\n')
    shutil.rmtree(folder / "model")
    play(replace(run, resume=True))
    assert rows(run, "metrics.jsonl") == before


def test_resume_refuses_other_settings(make_run: MakeRun) -> None:
    run = make_run()
    play(run)
    with pytest.raises(UserError, match="seed was 0 and is 1"):
        play(replace(run, resume=True, seed=1))


def test_existing_output_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    Path(run.output_dir).mkdir()
    (Path(run.output_dir) / "precious").write_text("")
    with pytest.raises(UserError, match="exists and is never overwritten"):
        play(run)
    assert [path.name for path in Path(run.output_dir).iterdir()] == ["precious"]


def test_non_finite_loss_stops_the_run(make_run: MakeRun) -> None:
    run = make_run(train=TrainConfig(updates=8, batch_size=8, micro_batch_size=8, learning_rate=1e30))
    with pytest.raises(UserError, match=r"student update \d: the .* is (nan|inf)"):
        play(run)
    assert json.loads((Path(run.output_dir) / "summary.json").read_text())["complete"] is False


def test_sft_learns_the_references(make_run: MakeRun) -> None:
    run = make_run(
        baseline=SftConfig(name="sft"),
        train=TrainConfig(updates=8, batch_size=16, micro_batch_size=16, learning_rate=1e-2),
    )
    play(run)
    metrics = rows(run, "metrics.jsonl")
    assert metrics[-1]["probe/nll_nats_per_token"] < metrics[0]["probe/nll_nats_per_token"] - 0.3
    assert "exposure/asked" not in metrics[0]


def test_grpo_leaves_the_student_where_no_group_is_mixed(make_run: MakeRun, base_folder: Path) -> None:
    """A random model answers nothing, all rewards are equal, and equal rewards must teach nothing."""
    run = make_run(baseline=GrpoConfig(name="grpo", group_size=4))
    play(run)
    assert all(row["grpo/mixed_groups"] == 0 for row in rows(run, "metrics.jsonl"))
    base = load_file(base_folder / "model.safetensors")
    assert all(torch.equal(weight, base[name]) for name, weight in weights(run).items())


def test_no_training_evaluates_the_base_only(make_run: MakeRun) -> None:
    run = make_run(baseline=NoneConfig(name="none"))
    summary = play(run)
    assert summary["complete"] is True
    assert summary["accuracy/before"] == summary["accuracy/after"]
    assert not (Path(run.output_dir) / "metrics.jsonl").exists()


@pytest.mark.parametrize("measured", list(ProgressSignal))
def test_every_progress_signal_is_measured_and_its_cost_counted(make_run: MakeRun, measured: ProgressSignal) -> None:
    run = make_run(reward=RewardConfig(lookahead=3, probe_problems=8, signal=measured))
    play(run)
    last = rows(run, "metrics.jsonl")[-1]
    generates = measured in (ProgressSignal.probe_success, ProgressSignal.answer_nll)
    assert (last["probe/tokens_generated"] > 0) == generates
    assert last["probe/tokens_scored"] > 0
    if measured is ProgressSignal.loss:
        assert last["probe/progress_signal"] == last["loss/optimised"]
    if measured is ProgressSignal.probe_success:
        assert last["probe/progress_signal"] == 1.0  # a random model fails every problem


class Broken(Fixed):
    """Plays two windows, then asks for more than everything."""

    def choose(self, observation: Observation, decision: int) -> Action:
        return Action(0.5 if decision < 2 else 1.5)


@dataclass
class BrokenConfig(FixedConfig):
    def controller(self, setting: Setting) -> Broken:
        return Broken(setting, 0.5)


def test_a_broken_controller_stops_its_window_and_loses_nothing(make_run: MakeRun) -> None:
    run = make_run(controller=BrokenConfig(name="broken"))
    with pytest.raises(UserError, match=r"controller broken, window 2: chose exposure 1\.5"):
        play(run)
    assert len(rows(run, "metrics.jsonl")) == 4
    assert [path.name for path in (Path(run.output_dir) / "checkpoints").iterdir()] == ["update_000004"]


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_begins_again(make_run: MakeRun) -> None:
    whole, killed = make_run("whole"), make_run("killed")
    for run in (whole, killed):
        play(run)
    folder = Path(killed.output_dir)
    (folder / "summary.json").write_text('{"complete": false}')
    shutil.rmtree(folder / "checkpoints")
    play(replace(killed, resume=True))
    assert_same_run(whole, killed, ("metrics.jsonl", "decisions.jsonl", "evaluations.jsonl"))


@pytest.mark.slow
def test_groups_have_rewards_of_their_own_and_resume_exactly(make_run: MakeRun) -> None:
    groups = EnvConfig(hold_window=2, groups=3)
    whole, stopped = make_run("whole", env=groups), make_run("stopped", env=groups)
    play(whole)
    with stop_signal_after(3, Path(stopped.output_dir) / "metrics.jsonl"), pytest.raises(Stopped):
        play(stopped)
    play(replace(stopped, resume=True))
    assert_same_run(whole, stopped, ("metrics.jsonl", "decisions.jsonl", "evaluations.jsonl"))
    metrics, decisions = rows(whole, "metrics.jsonl"), rows(whole, "decisions.jsonl")
    assert sorted((row["decision"], row["group"]) for row in decisions) == [(d, g) for d in range(4) for g in range(3)]
    for row in decisions:
        held = [update[f"group_{row['group']}/exposure/asked"] for update in metrics[row["update"] :][:2]]
        assert held == pytest.approx([row["exposure"]] * 2, rel=1e-12)
        assert len(row["observation"]) == 6
    assert len({row["exposure"] for row in decisions}) == 12
    second = next(row for row in decisions if (row["decision"], row["group"]) == (1, 2))
    nll = [row["group_2/probe/nll_nats_per_token"] for row in metrics]
    progress = sum(0.9**i * (nll[1 + i] - nll[2 + i]) for i in range(3))
    assert second["reward/learning_progress"] == pytest.approx(progress)
    with pytest.raises(UserError, match=r"has env\.groups=3, .* only one exposure for all problems can be retraced"):
        retrace.read(Path(whole.output_dir))
