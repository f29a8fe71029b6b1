"""The oracle: its correlations on planted states, and a whole small study of a real student."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

import atesd.run
from atesd.config import CheckpointConfig, EnvConfig, EvalConfig, RunConfig, TeacherConfig, TeacherKind, TrainConfig
from atesd.errors import UserError
from atesd.interfaces import Reading
from atesd.models import ModelConfig, SurrogateConfig
from atesd.oracle.__main__ import After, OracleConfig, correlations, environment, measured, oracle, schedule
from atesd.oracle.agreement import agreement
from atesd.oracle.fork import Glance, gain, variants
from atesd.oracle.retrace import read
from atesd.rewards import ProgressSignal, RewardConfig
from atesd.tasks.arithmetic import ArithmeticConfig
from atesd.training import weights
from atesd.training.adapter import LoraConfig
from atesd.training.engine import Zero0Config
from atesd.training.rollout import HfRolloutConfig
from baselines.opsd import OpsdConfig
from controllers.beta_reinforce import BetaReinforceConfig


@pytest.fixture
def make_run(language: Any, tmp_path: Path) -> Callable[..., RunConfig]:
    """Return a maker of finished runs of the tiny student: 8 updates in 4 hold windows."""
    language.save(tmp_path / "base")

    def make(output: str = "run", **sections: Any) -> RunConfig:
        run = RunConfig(
            **{
                "output_dir": str(tmp_path / output),
                "model": ModelConfig(name="folder", path=str(tmp_path / "base")),
                "data": ArithmeticConfig(name="arithmetic"),
                "controller": BetaReinforceConfig(name="beta_reinforce"),
                "rollout": HfRolloutConfig(name="hf", max_new_tokens=8),
                "deepspeed": Zero0Config(name="zero0"),
                "train": TrainConfig(updates=8, batch_size=5, micro_batch_size=5),
                "env": EnvConfig(hold_window=2),
                "teacher": TeacherConfig(TeacherKind.ema, 0.3),
                "reward": RewardConfig(lookahead=3, probe_problems=3),
                "eval": EvalConfig(every=4, problems=2, final_problems=2),
                "checkpoint": CheckpointConfig(every=4),
            }
            | sections
        )
        atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))
        return run

    return make


def make_surrogate(folder: Path, **sections: Any) -> RunConfig:
    """Return a finished run of a surrogate student, which takes a second: 40 updates in 10 hold windows."""
    run = RunConfig(
        output_dir=str(folder),
        data=ArithmeticConfig(name="arithmetic"),
        controller=BetaReinforceConfig(name="beta_reinforce"),
        rollout=HfRolloutConfig(name="hf"),
        deepspeed=Zero0Config(name="zero0"),
        **({"train": TrainConfig(updates=40), "model": SurrogateConfig(name="surrogate")} | sections),
    )
    atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))
    return run


@pytest.fixture(scope="module")
def surrogate_run(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return make_surrogate(tmp_path_factory.mktemp("surrogate") / "run")


def study(run: RunConfig, **changes: Any) -> OracleConfig:
    small = {"every": 2, "exposures": [0.0, 1.0], "lookahead": 3, "problems": 4}
    folders = {"run": run.output_dir, "output_dir": f"{run.output_dir}_oracle"}
    return OracleConfig(**(folders | small | changes))


@pytest.mark.slow
def test_a_small_study_of_a_real_student(make_run: Callable[..., RunConfig]) -> None:
    run = make_run()
    result = oracle(study(run))
    folder = Path(f"{run.output_dir}_oracle")
    assert json.loads((folder / "oracle.json").read_text()) == result
    assert (folder / "oracle.png").stat().st_size > 10_000
    assert [state["update"] for state in result["states"]] == [0, 4]
    metrics = [json.loads(line) for line in (Path(run.output_dir) / "metrics.jsonl").read_text().splitlines()]
    for state in result["states"]:
        assert [branch["exposure"] for branch in state["branches"]] == [0.0, 1.0]
        assert state["run_exposure"] == metrics[state["update"]]["exposure/asked"]
        for branch in state["branches"]:
            assert len(branch["readings"]) == 4
            assert set(branch["readings"][0]) >= {signal.value for signal in ProgressSignal}
            assert len(branch["rewards"]) == 3 * 4 * 3 + 4 * 3
            assert set(branch["gain"]) == {"window", "lookahead"}
            nll = [row["probe_nll"] for row in branch["readings"]]
            assert branch["rewards"]["one_step/probe_nll/signed"] == nll[0] - nll[1]
            assert branch["rewards"]["short_delay/probe_nll/signed"] == pytest.approx(nll[0] - nll[2])
        low, high = (branch["readings"] for branch in state["branches"])
        assert low[0] == high[0]
        assert low[1] != high[1]
    before = metrics[3]
    assert result["states"][1]["branches"][0]["readings"][0]["loss"] == before["loss/optimised"]


@pytest.mark.slow
@pytest.mark.parametrize("sections", [{}, {"lora": LoraConfig(name="opsd"), "teacher": TeacherConfig()}])
def test_a_fork_at_the_runs_own_exposure_plays_what_the_run_played(
    make_run: Callable[..., RunConfig], sections: dict[str, Any]
) -> None:
    run = make_run(**sections)
    record = read(Path(run.output_dir))
    state = oracle(study(run, exposures=[record.exposures[2], 0.0], lookahead=4))["states"][1]
    readings = state["branches"][0]["readings"][1:]
    for row, reading in zip(record.metrics[4:], readings, strict=True):
        assert (row["loss/optimised"], row["probe/nll_nats_per_token"]) == (reading["loss"], reading["probe_nll"])
    rule = variants(run.reward, 0.1, 2)["lookahead/probe_nll/signed"].rule
    decisions = [json.loads(line) for line in (Path(run.output_dir) / "decisions.jsonl").read_text().splitlines()]
    assert rule.span == 3
    assert state["branches"][0]["rewards"]["lookahead/probe_nll/signed"] == decisions[2]["reward"]


def test_measuring_a_state_leaves_the_student_as_it_was(make_run: Callable[..., RunConfig]) -> None:
    run = make_run()
    record = read(Path(run.output_dir))
    env = environment(record, 0.1)
    env.reset()
    env.step(np.array([record.exposures[0]]))
    before = weights.fingerprint(env.trainer.engine.module), env.state_dict()  # type: ignore[attr-defined]
    config = study(run)
    first = measured(config, record, env)
    assert (weights.fingerprint(env.trainer.engine.module), env.state_dict()) == before  # type: ignore[attr-defined]
    assert measured(config, record, env) == first
    env.step(np.array([record.exposures[1]]))  # raises unless it is what the run did


def test_another_student_is_refused(make_run: Callable[..., RunConfig]) -> None:
    run = make_run()
    path = Path(run.output_dir) / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["loss/optimised"] = float(np.nextafter(rows[1]["loss/optimised"], 9))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"run, student update 2: loss/optimised was .* so this is another student"):
        oracle(study(run))
    states = Path(f"{run.output_dir}_oracle") / "states"
    assert [json.loads(state.read_text())["update"] for state in states.iterdir()] == [0]


def test_a_study_goes_on_and_redoes_no_state(surrogate_run: RunConfig, tmp_path: Path) -> None:
    config = study(surrogate_run, lookahead=8, output_dir=str(tmp_path))
    result = oracle(config)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "states").iterdir()}
    assert len(written) == len(result["states"]) == 5
    lost = sorted(written)[2]
    lost.unlink()
    assert oracle(config) == result
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "states").iterdir()}
    assert {path for path in written if again[path] != written[path]} == {lost}


def test_states_of_other_settings_are_not_mixed(surrogate_run: RunConfig, tmp_path: Path) -> None:
    config = study(surrogate_run, lookahead=8, output_dir=str(tmp_path))
    oracle(config)
    other = oracle(replace(config, exposures=[0.0, 0.5, 1.0]))
    assert all(len(state["branches"]) == 3 for state in other["states"])


def test_several_runs_are_pooled(surrogate_run: RunConfig, tmp_path: Path) -> None:
    runs = [surrogate_run, make_surrogate(tmp_path / "other", seed=1)]
    config = study(surrogate_run, lookahead=8, output_dir=str(tmp_path / "oracle"))
    config = replace(config, run=[run.output_dir for run in runs])
    result = oracle(config)
    assert [state["run"] for state in result["states"]] == [run.output_dir for run in runs for _ in range(5)]
    with pytest.raises(UserError, match="each once"):
        oracle(replace(config, run=[runs[0].output_dir] * 2))


def test_the_oracle_finds_the_best_exposure_of_a_surrogate(tmp_path: Path) -> None:
    model = SurrogateConfig(name="surrogate", family="static", noise=0.0)
    run = make_surrogate(tmp_path / "run", model=model)
    grid = [0.0, 0.25, 0.5, 0.75, 1.0]
    result = oracle(study(run, lookahead=8, exposures=grid, problems=5_000, after=After.held))
    best = environment(read(Path(run.output_dir)), 0.0).trainer.student.law.centre.item()  # type: ignore[attr-defined]
    expected = min(grid, key=lambda exposure: abs(exposure - best))
    assert {state["best_exposure"] for state in result["states"]} == {expected}
    # Without noise the probe NLL is what is left to learn, so its signed drops order exposures as the gain does.
    assert result["correlations"]["lookahead/probe_nll/signed"]["mean"] > 0.95


def test_what_follows_the_window(surrogate_run: RunConfig) -> None:
    record, config = read(Path(surrogate_run.output_dir)), study(surrogate_run, lookahead=9)
    own = record.exposures
    assert schedule(config, record, 4, 0.3) == [0.3] * 4 + [own[2]] * 4 + [own[3]]
    assert schedule(replace(config, after=After.held), record, 4, 0.3) == [0.3] * 9
    assert config.states(record) == [0, 8, 16, 24]
    assert replace(config, lookahead=2 * 4).states(record) == [0, 8, 16, 24, 32]


def planted(gains: list[float], **rewards: list[float]) -> dict[str, Any]:
    """Return a state with these gains and rewards per exposure."""
    return {
        "branches": [
            {
                "exposure": index / 4,
                "gain": {"lookahead": {"mean": value}},
                "rewards": {name: values[index] for name, values in rewards.items()},
            }
            for index, value in enumerate(gains)
        ]
    }


def test_correlations_of_planted_states() -> None:
    """By hand: ranks within the state, then the mean over states; a state without an order does not count."""
    states = [
        planted([0.01, 0.02, 0.03], same=[5, 6, 9], partly=[1, 3, 2], blind=[7, 7, 7]),
        planted([0.10, 0.30, 0.20], same=[-3, 4, 0], partly=[0, 0, 1], blind=[1, 2, 3]),
        planted([0.05, 0.05, 0.05], same=[3, 2, 1], partly=[1, 2, 3], blind=[1, 2, 3]),
        planted([0.03, 0.01, 0.02], same=[100, 98, 99], partly=[1, 3, 2], blind=[4, 4, 4]),
    ]
    found = correlations(states)
    assert found["same"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "gain_lost": 0.0, "states": 3}
    # 1/2; gains rank 1 3 2 against 1.5 1.5 3, so 0; -1
    assert found["partly"]["mean"] == pytest.approx((0.5 + 0 - 1) / 3)
    assert (found["partly"]["low"], found["partly"]["high"]) == (-1.0, 0.5)
    # a reward that says nothing counts 0; gains 1 3 2 against 1 2 3 is 1/2
    assert found["blind"]["mean"] == pytest.approx((0 + 0.5 + 0) / 3)
    # best less chosen: the middle one of 1 2 3; the last of 10 30 20; the middle one of 3 1 2
    assert found["blind"]["gain_lost"] == pytest.approx((0.01 + 0.10 + 0.01) / 3)
    # exposures rise within a state: -1, -1/2 and 1/2 against less of it; the first is chosen
    assert found["control/less_exposure"]["mean"] == pytest.approx((-1 - 0.5 + 0.5) / 3)
    assert found["control/less_exposure"]["gain_lost"] == pytest.approx((0.02 + 0.20 + 0.0) / 3)
    assert found["control/constant"]["mean"] == 0.0


def test_the_interval_covers_what_a_noisy_reward_is_worth() -> None:
    """200 states of 5 exposures: a reward that is the gain plus as much noise; the true mean is near .66."""
    draws = np.random.default_rng(0)
    gains = draws.normal(size=(20_000, 5))
    rewards = gains + draws.normal(size=gains.shape)
    truth = agreement(gains[:5000].tolist(), rewards[:5000].tolist())["mean"]
    found = agreement(gains[-200:].tolist(), rewards[-200:].tolist())
    assert found["low"] < truth < found["high"]
    assert 0.05 < found["high"] - found["low"] < 0.2
    shuffled = agreement(gains[-200:].tolist(), draws.permuted(rewards[-200:], axis=1).tolist())
    assert shuffled["low"] < 0 < shuffled["high"]


def test_no_state_with_an_order_gives_no_correlation() -> None:
    nothing = {"mean": None, "low": None, "high": None, "gain_lost": None, "states": 0}
    assert correlations([planted([0.0, 0.0], any=[1, 2])])["any"] == nothing


def test_every_reward_is_paid_from_its_own_signal() -> None:
    values = {
        ProgressSignal.probe_nll: [1.0, 0.8, 0.9, 0.4],
        ProgressSignal.loss: [2.0, 2.5, 1.5, 1.0],
        ProgressSignal.probe_success: [1.0, 1.0, 0.5, 0.5],
        ProgressSignal.answer_nll: [3.0, 2.0, 2.0, 2.5],
    }
    glances = [
        Glance(Reading(0.0, 0.0, 0.0, 0.5, 0.1, -2.0), {signal: series[i] for signal, series in values.items()})
        for i in range(4)
    ]
    paid = {
        name: way.reward(glances) for name, way in variants(RewardConfig(lookahead=3, discount=0.5), 0.1, 2).items()
    }
    assert paid["lookahead/probe_nll/rectified"] == pytest.approx(0.2 + 0.25 * 0.5)
    assert paid["lookahead/probe_nll/rectified/grounded"] == pytest.approx(0.2 + 0.25 * 0.5 - 0.2)
    assert paid["lookahead/loss/signed"] == pytest.approx(-0.5 + 0.5 + 0.25 * 0.5)
    assert paid["short_delay/probe_success/rectified"] == pytest.approx(0.5)
    assert paid["short_delay/loss/signed"] == pytest.approx(0.5)
    assert paid["one_step/answer_nll/signed"] == pytest.approx(1.0)
    assert len(paid) == 48


def test_the_gain_is_paired() -> None:
    found = gain([True] * 50 + [False] * 50, [True] * 49 + [False] * 1 + [True] * 3 + [False] * 47)
    assert found.mean == pytest.approx(0.02)
    assert found.error == pytest.approx(np.sqrt(0.04 - 0.02**2) / 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exposures": [0.5]}, "exposures must be at least two numbers"),
        ({"exposures": [0.5, 0.5]}, "each once"),
        ({"exposures": [0.0, 1.5]}, r"exposures must lie in \[0, 1\], got 1.5"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"lookahead": 3}, "lookahead=3 ends before the hold window of 4"),
        ({"lookahead": 41}, "has 40 updates, fewer than the 41 a fork plays"),
        ({"run": "nowhere"}, "run=nowhere holds no complete run"),
    ],
)
def test_settings_that_measure_nothing_are_refused(
    change: dict[str, Any], message: str, surrogate_run: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        oracle(OracleConfig(**({"run": surrogate_run.output_dir, "output_dir": str(tmp_path / "out")} | change)))


def test_a_baseline_has_no_exposure_to_judge(make_run: Callable[..., RunConfig]) -> None:
    run = make_run(baseline=OpsdConfig(name="opsd"))
    with pytest.raises(UserError, match="played baseline=opsd, which chooses no exposure"):
        oracle(study(run))


@pytest.mark.slow
def test_the_command_line_measures_and_says_what_is_missing(surrogate_run: RunConfig, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "atesd.oracle", f"run={surrogate_run.output_dir}"]
    missing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert missing.stderr.startswith("error: output_dir is missing")
    command += [f"output_dir={tmp_path / 'out'}", "every=4", "problems=50", "exposures=[0,0.5]", "after=held"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "out" / "oracle.json").read_text())["states"]) == 3
    assert "lookahead/probe_nll/rectified" in done.stdout
