"""Stable-Baselines3 in a run it did not start and cannot reset."""

from __future__ import annotations

import gc
import json
import math
import threading
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import controllers  # noqa: F401 (registers them)
import envs  # noqa: F401 (registers the surrogate)
from atesd.errors import UserError
from atesd.interfaces import Action, Controller, Observation, Setting
from atesd.observation import NAMES
from controllers.sb3 import Choosing, Mode, Sb3Config, Sb3Settings
from controllers.sb3_learner import MeetingEnv
from controllers.sb3_practice import PracticeEnv
from controllers.sb3_recipes import RECIPES, Algorithm

ALGORITHMS = list(Algorithm)


def build(algo: Algorithm, windows: int = 24, seed: int = 0, **settings: Any) -> Any:
    sizes = Sb3Settings(**settings.pop("settings", {}))
    return Sb3Config(name="sb3", algo=algo, settings=sizes, **settings).build(Setting(seed, windows, len(NAMES), 4))


def observed(decision: int) -> Observation:
    noise = np.random.default_rng([3, decision]).uniform(-0.05, 0.05, len(NAMES))
    return (np.array([decision / 24, 0.5, 0.15, 0.1, 0.2, 0.8]) + noise).astype(np.float32)


def play(controller: Controller, windows: int) -> list[Action]:
    actions = []
    for decision in range(windows):
        actions.append(controller.act(observed(decision), decision))
        controller.learn(decision, 0.01 * (1 - (actions[-1].exposure - 0.6) ** 2))
    return actions


def parameters(controller: Any) -> dict[str, Any]:
    return {name: rows.clone() for name, rows in controller.learner.model.policy.state_dict().items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return any(not torch.equal(before[name], rows) for name, rows in after.items())


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("windows", [3, 24])
def test_fitted_sizes_update_within_the_run(algo: Algorithm, windows: int) -> None:
    controller = build(algo, windows)
    before = parameters(controller)
    actions = play(controller, windows)
    assert len(actions) == windows
    assert changed(before, parameters(controller))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_as_many_actions_as_windows_after_one_reset(algo: Algorithm, monkeypatch: pytest.MonkeyPatch) -> None:
    resets = []
    reset = MeetingEnv.reset
    monkeypatch.setattr(MeetingEnv, "reset", lambda self, **given: resets.append(1) or reset(self, **given))
    controller = build(algo)
    play(controller, 24)
    assert len(resets) == 1
    assert controller.learner.meeting.actions.empty()
    assert controller.learner.model.num_timesteps == 23  # the last window has no successor to learn from yet
    with pytest.raises(UserError, match="a run of 24 windows, which are over"):
        controller.act(observed(24), 24)


@pytest.mark.parametrize(
    ("algo", "settings", "named"),
    [
        (Algorithm.PPO, {"n_steps": 24}, "n_steps=24, n_epochs=4 .* after 24 finished windows, and there are 23"),
        (Algorithm.PPO, {"n_epochs": 0}, "n_epochs=0 .* after inf"),
        (Algorithm.A2C, {"n_steps": 2048}, "n_steps=2048"),
        (Algorithm.RecurrentPPO, {"n_steps": 128}, "n_steps=128"),
        (Algorithm.SAC, {"learning_starts": 100}, "learning_starts=100"),
        (Algorithm.TD3, {"gradient_steps": 0}, "gradient_steps=0"),
        (Algorithm.TQC, {"train_freq": 24}, "train_freq=24"),
        (Algorithm.DQN, {"learning_starts": 22, "train_freq": 12}, "learning_starts=22, train_freq=12"),
    ],
)
def test_settings_that_never_update_are_refused_by_name(algo: Algorithm, settings: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        build(algo, settings=settings)


@pytest.mark.parametrize(
    ("algo", "settings"),
    [
        (Algorithm.PPO, {"n_steps": 23}),
        (Algorithm.A2C, {"n_steps": 23}),
        (Algorithm.SAC, {"learning_starts": 22}),
        (Algorithm.DQN, {"learning_starts": 5, "train_freq": 23}),
    ],
)
def test_the_largest_settings_allowed_do_update(algo: Algorithm, settings: dict[str, int]) -> None:
    controller = build(algo, settings=settings)
    before = parameters(controller)
    actions = play(controller, 23)
    assert not changed(before, parameters(controller))
    assert len(actions) == 23
    controller.act(observed(23), 23)
    assert changed(before, parameters(controller))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (
            {"tau": 0.5},
            "tau is no setting of controller.algo=PPO with .*mode=online; allowed are n_steps, learning_rate",
        ),
        ({"n_steps": 1}, "n_steps must be a finite number, at least 2, got 1"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number, at least 0, got nan"),
        ({"n_epochs": -1}, "n_epochs must be a finite number, at least 0, got -1"),
    ],
)
def test_settings_sb3_does_not_have_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        build(Algorithm.PPO, settings=settings)


def test_other_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match=r"controller\.levels"):
        build(Algorithm.DQN, levels=[0.5])
    with pytest.raises(UserError, match=r"controller\.families=steady"):
        build(Algorithm.PPO, families=["steady"])
    with pytest.raises(UserError, match=r"controller\.noise"):
        build(Algorithm.PPO, noise=[0.1, 0.01])
    with pytest.raises(UserError, match=r"choosing=sampled: .*TD3"):
        build(Algorithm.TD3, choosing=Choosing.sampled)
    with pytest.raises(UserError, match=r"after 512 finished windows, and there are 511"):
        build(Algorithm.PPO, mode=Mode.pretrained, pretrain_windows=511)
    odd = build(Algorithm.PPO, mode=Mode.pretrained, settings={"batch_size": 7})
    with pytest.raises(UserError, match=r"batch_size=7 leaves one of a rollout's 512 windows"):
        odd.act(observed(0), 0)
    narrow = build(Algorithm.PPO, mode=Mode.pretrained, settings={"batch_size": 1})
    with pytest.raises(UserError, match=r"PPO refuses .*`batch_size` must be greater than 1"):
        narrow.act(observed(0), 0)


def test_each_step_is_paid_its_own_reward_however_late() -> None:
    controller = build(Algorithm.SAC, windows=12)
    for decision in range(9):
        controller.act(observed(decision), decision)
        if decision in (4, 6):
            controller.learn(decision - 3, float(decision))  # decision 1 earned 4, decision 3 earned 6
    stored = controller.learner.model.replay_buffer.rewards[:8, 0]
    assert stored == pytest.approx([0, -1, 0, 1, 0, 0, 0, 0], abs=1e-6)


def test_a_replay_buffer_that_has_come_round_is_corrected_in_all_it_holds() -> None:
    controller = build(Algorithm.DQN, windows=12, settings={"buffer_size": 4, "learning_starts": 2, "batch_size": 2})
    for decision in range(11):
        controller.act(observed(decision), decision)
        if decision == 9:
            controller.learn(1, 4.0)  # which the buffer holds no more
            controller.learn(7, 6.0)  # held before the ring's last turn
    model = controller.learner.model
    assert model.replay_buffer.full
    stored = [model.replay_buffer.rewards[step % 4, 0] for step in range(6, 10)]
    assert stored == pytest.approx([0, 1, 0, 0], abs=1e-6)


def test_a_rollout_in_use_is_corrected_and_a_used_one_is_not() -> None:
    controller = build(Algorithm.PPO, windows=13, settings={"n_steps": 6})
    for decision in range(12):
        controller.act(observed(decision), decision)
        if decision == 10:
            controller.learn(3, 1.0)  # of the first rollout, which is over
            controller.learn(7, 3.0)
            controller.learn(9, 2.0)
    stored = controller.learner.model.rollout_buffer.rewards[:5, 0]
    assert stored == pytest.approx([0, math.sqrt(1.5), 0, 0, 0], abs=1e-6)


def test_dqn_plays_the_levels_and_reports_their_probability() -> None:
    actions = play(build(Algorithm.DQN, levels=[0.25, 0.5, 1.0]), 24)
    assert {action.exposure for action in actions} <= {0.25, 0.5, 1.0}
    warm_up = [action.log_prob for action in actions[:6]]
    assert warm_up == pytest.approx([-math.log(3)] * 6)


@pytest.mark.parametrize("algo", [Algorithm.PPO, Algorithm.SAC, Algorithm.TD3, Algorithm.RecurrentPPO])
def test_first_log_probs_are_log_densities_over_exposure(algo: Algorithm) -> None:
    """A histogram of first draws of the policy is as high as the reported densities say."""
    settings = {} if algo in (Algorithm.PPO, Algorithm.RecurrentPPO) else {"learning_starts": 0}
    actions = [play(build(algo, seed=seed, settings=settings), 1)[0] for seed in range(100)]
    inside = [action for action in actions if 0 < action.exposure < 1]
    width = np.mean([1 / math.exp(action.log_prob or math.nan) for action in inside]) * len(inside) / len(actions)
    assert width == pytest.approx(1, abs=0.35)  # E[1 / p] over the support of length 1 is 1


def test_helper_threads_end_with_their_controllers() -> None:
    gc.collect()
    started = threading.active_count()
    several = [build(Algorithm.A2C), build(Algorithm.DQN)]
    for controller in several:
        play(controller, 5)
    assert threading.active_count() == started + 2
    state = json.loads(json.dumps(several[0].state_dict()))
    several[0].load_state_dict(state)
    del controller, several
    gc.collect()
    until = time.monotonic() + 5
    while threading.active_count() > started and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == started


def test_a_controllers_end_waits_for_its_helper_thread() -> None:
    """One that still unwinds within torch when the interpreter ends aborts it, and with it a finished run."""
    controller = build(Algorithm.PPO)
    play(controller, 3)
    thread = controller.learner.thread
    assert thread.is_alive()
    controller.learner.close()
    assert not thread.is_alive()


def test_other_draws_in_between_change_nothing() -> None:
    alone = play(build(Algorithm.TQC), 12)
    controller = build(Algorithm.TQC)
    disturbed = []
    for decision in range(12):
        torch.manual_seed(decision)
        np.random.seed(decision)
        disturbed.append(controller.act(observed(decision), decision))
        controller.learn(decision, 0.01 * (1 - (disturbed[-1].exposure - 0.6) ** 2))
    assert disturbed == alone


def test_a_history_that_leads_elsewhere_is_not_gone_on_with() -> None:
    controller = build(Algorithm.PPO)
    play(controller, 6)
    state = controller.state_dict()
    state["past"][4]["played"] = 0.123
    with pytest.raises(UserError, match=r"at window 4 its history leads to exposure .* but the run played 0\.123"):
        build(Algorithm.PPO).load_state_dict(state)


def few(algo: Algorithm, **settings: Any) -> Any:
    """Return a controller that practises as little as still makes an update."""
    sizes = {
        Algorithm.PPO: {"n_steps": 4, "batch_size": 16},
        Algorithm.RecurrentPPO: {"n_steps": 4, "batch_size": 16},
        Algorithm.A2C: {"n_steps": 4},
    }.get(algo, {"learning_starts": 24})
    return build(algo, windows=8, mode=Mode.pretrained, pretrain_windows=32, settings=sizes, **settings)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_pretrained_policy_is_frozen_and_goes_on_bit_for_bit(algo: Algorithm) -> None:
    sampled = Choosing.sampled if RECIPES[algo].stochastic else Choosing.likeliest
    untouched = torch.get_rng_state().tolist()
    whole = few(algo, choosing=sampled)
    begun = play(whole, 4)
    state = json.loads(json.dumps(whole.state_dict(), allow_nan=False))
    weights = state["policy"]
    end = [whole.act(observed(decision), decision) for decision in range(4, 8)]
    resumed = few(algo, choosing=sampled)
    resumed.load_state_dict(state)
    assert [resumed.act(observed(decision), decision) for decision in range(4, 8)] == end
    assert whole.state_dict()["policy"] == resumed.state_dict()["policy"] == weights
    assert torch.get_rng_state().tolist() == untouched
    assert all((action.log_prob is not None) == RECIPES[algo].stochastic for action in begun + end)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_practice_changes_the_policy_and_repeats(algo: Algorithm) -> None:
    first, second = few(algo), few(algo)
    fresh = {name: rows.tolist() for name, rows in first._practice().model.policy.state_dict().items()}
    assert play(first, 8) == play(second, 8)
    assert first.state_dict()["policy"] != fresh
    assert first.state_dict()["policy"] == second.state_dict()["policy"]


def competence(controller: Controller, students: range, windows: int) -> float:
    """Return the mean competence of static students taught by a controller that need not be told of a new run."""
    ends = []
    for student in students:
        env: Any = gymnasium.make(
            "ATESD/Surrogate-v0", family="static", noise=0.01, seed=student, updates=4 * windows
        ).unwrapped
        observation, _ = env.reset()
        controller.first = None  # type: ignore[attr-defined]
        for decision in range(windows):
            action = controller.act(observation, decision)
            observation, _, _, _, info = env.step(np.array([action.exposure]))
        ends.append(info["competence"])
    return float(np.mean(ends))


@pytest.mark.parametrize("hold_window", [1, 6])
def test_practice_holds_an_exposure_as_long_as_the_run_will(hold_window: int) -> None:
    setting = Setting(0, 3, len(NAMES), hold_window)
    practice = PracticeEnv(setting, ["static"], [0.01, 0.01], None, lambda action: 0.5, 0)
    practice.reset()
    ends = [practice.step(np.zeros(1)) for _ in range(3)]
    assert [info["update"] for *_, info in ends] == [hold_window, 2 * hold_window, 3 * hold_window]
    assert [truncated for *_, truncated, _ in ends] == [False, False, True]


@pytest.mark.slow
def test_practice_teaches_a_policy_to_beat_its_untrained_self() -> None:
    """Untrained, A2C holds 0.5, which is 0.1 below the mean best exposure of static students."""
    settings = {"mode": Mode.pretrained, "families": ["static"], "settings": {"learning_rate": 3e-3}}
    trained = build(Algorithm.A2C, 24, pretrain_windows=4096, **settings)
    untrained = build(Algorithm.A2C, 24, pretrain_windows=4096, **settings)
    untrained.model = untrained._practice().model
    students = range(900, 908)
    assert competence(trained, students, 24) > competence(untrained, students, 24) + 0.01
