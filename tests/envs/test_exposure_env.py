import json
import warnings
from dataclasses import replace
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from atesd.errors import UserError
from atesd.interfaces import Reading, StudentDiverged, UpdateReport
from atesd.rewards import RewardConfig
from atesd.training.surrogate_trainer import SurrogateTrainer
from envs.exposure_env import DIVERGED_REWARD, ExposureEnv

HOLD_WINDOW = 4


def environment(updates: int = 10, noise: float = 0.01, seed: int = 0) -> ExposureEnv:
    trainer = SurrogateTrainer("static", noise, seed, updates)
    return ExposureEnv(trainer, RewardConfig().rule(HOLD_WINDOW), updates, HOLD_WINDOW)


def play(env: ExposureEnv, exposures: list[float]) -> list[tuple]:
    return [env.reset(), *(env.step(np.array([exposure])) for exposure in exposures)]


def test_gymnasium_accepts_the_environment():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*not having a spec")
        check_env(environment(updates=200))


def test_stable_baselines_accepts_the_environment():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", message="We recommend you to use a symmetric|Your action space has dtype float64"
        )
        check_env_sb3(environment(updates=200))


def test_same_seed_gives_the_same_run():
    exposures = [0.0, 0.7, 1.0]
    first, second, other = (play(environment(seed=seed), exposures) for seed in (0, 0, 1))
    for mine, twin in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine[0], twin[0])
        assert mine[1:] == twin[1:]
    assert not np.array_equal(first[-1][0], other[-1][0])


def test_reset_brings_the_base_student_back():
    env = environment()
    first, again = play(env, [0.6]), play(env, [0.6])
    np.testing.assert_array_equal(first[1][0], again[1][0])
    assert env.trainer.updates_done == HOLD_WINDOW


def test_a_step_is_one_hold_window_and_the_last_is_shorter():
    env = environment(updates=10)
    steps = play(env, [0.5, 0.5, 0.5])[1:]
    assert [info["update"] for *_, info in steps] == [4, 8, 10]
    assert [len(info["readings"]) for *_, info in steps] == [5, 5, 3]
    assert [(terminated, truncated) for _, _, terminated, truncated, _ in steps] == [(False, False)] * 2 + [
        (False, True)
    ]


def test_every_update_of_a_window_has_its_exposure():
    env = environment(updates=10)
    seen: list[tuple[int, float]] = []
    env.on_update = lambda update, report: seen.append((update, report.metrics["exposure/asked"]))
    play(env, [0.25, 1.0])
    assert seen == [(update, 0.25 if update <= 4 else 1.0) for update in range(1, 9)]


def test_a_finished_run_takes_no_more_steps():
    env = environment(updates=4)
    play(env, [0.5])
    with pytest.raises(UserError, match="4 student updates are done"):
        env.step(np.array([0.5]))


@pytest.mark.parametrize("action", [[-0.1], [1.1], [float("nan")]])
def test_an_exposure_outside_0_and_1_is_refused(action):
    env = environment()
    env.reset()
    with pytest.raises(UserError, match=r"action must lie in \[0, 1\]"):
        env.step(np.array(action))
    assert env.trainer.updates_done == 0


def test_an_action_of_another_shape_is_refused():
    env = environment()
    env.reset()
    with pytest.raises(UserError, match=r"shape \(2,\)"):
        env.step(np.array([0.5, 0.5]))


def test_info_is_enough_to_rebuild_every_reward():
    rule = RewardConfig().rule(HOLD_WINDOW)
    for _, reward, _, _, info in play(environment(), [0.0, 0.6, 1.0])[1:]:
        readings = json.loads(json.dumps(info["readings"]))
        assert rule([Reading(**reading) for reading in readings]).total == reward


def test_windows_join_without_a_gap():
    steps = play(environment(), [0.0, 0.6, 1.0])
    for (*_, before), (*_, after) in pairwise(steps):
        assert before["readings"][-1] == after["readings"][0]


def test_observations_keep_to_their_bounds():
    env = environment(updates=40, noise=0.5)
    for step in play(env, [0.0, 1.0] * 5):
        assert env.observation_space.contains(step[0])


def test_a_student_that_diverges_ends_the_episode():
    class Exploding(SurrogateTrainer):
        def update(self, exposure: float) -> UpdateReport:
            if self.updates_done == 2:
                raise StudentDiverged("student update 3: the loss is nan")
            return super().update(exposure)

    env = ExposureEnv(Exploding("static", 0.0, 0, 8), RewardConfig().rule(HOLD_WINDOW), 8, HOLD_WINDOW)
    env.reset()
    _, reward, terminated, truncated, info = env.step(np.array([0.5]))
    assert (reward, terminated, truncated) == (DIVERGED_REWARD, True, False)
    assert info["diverged"] == "student update 3: the loss is nan"
    assert len(info["readings"]) == 3


def test_resuming_goes_on_where_the_run_stopped(tmp_path):
    whole, half = environment(updates=12), environment(updates=12)
    expected = play(whole, [0.2, 0.9, 0.5])[-1]
    play(half, [0.2, 0.9])
    half.trainer.save(tmp_path)
    state = json.loads(json.dumps(half.state_dict()))
    resumed = environment(updates=12)
    resumed.trainer.load(tmp_path)
    resumed.resume(state)
    observation, *rest = resumed.step(np.array([0.5]))
    np.testing.assert_array_equal(observation, expected[0])
    assert tuple(rest) == expected[1:]


def test_a_restored_environment_repeats_its_steps_and_forks_leave_no_trace():
    straight, forked = environment(updates=12), environment(updates=12)
    expected = play(straight, [0.2, 0.9, 0.5])
    play(forked, [0.2])
    snapshot = forked.snapshot()
    for exposures in ([1.0], [0.0, 0.3], []):
        for exposure in exposures:
            forked.step(np.array([exposure]))
        observation, info = forked.restore(snapshot)
        np.testing.assert_array_equal(observation, expected[1][0])
        assert info == {"update": 4, "readings": expected[1][-1]["readings"][-1:]}
    for exposure, (observation, *rest) in zip([0.9, 0.5], expected[2:], strict=True):
        found, *others = forked.step(np.array([exposure]))
        np.testing.assert_array_equal(found, observation)
        assert others == rest


def test_it_is_registered_under_its_name():
    assert gymnasium.spec("ATESD/Exposure-v0").entry_point == "envs.exposure_env:ExposureEnv"


class Grouped(SurrogateTrainer):
    """Two surrogate students that pass for the two groups of one."""

    def __init__(self, updates: int = 10) -> None:
        super().__init__("static", 0.01, 0, updates)
        self.other = SurrogateTrainer("static", 0.01, 1, updates)

    def start(self, exposure):
        return replace(super().start(exposure), groups=(super().start(exposure), self.other.start(exposure)))

    def update(self, exposure):
        one, other = super().update(exposure[0]), self.other.update(exposure[1])
        return replace(one, reading=replace(one.reading, groups=(one.reading, other.reading)))


def test_two_groups_are_two_environments_side_by_side():
    rule = RewardConfig().rule(HOLD_WINDOW)
    both = ExposureEnv(Grouped(), rule, 10, HOLD_WINDOW, groups=2)
    one, other = environment(seed=0), environment(seed=1)
    for env in (both, one, other):
        env.reset()
    for exposures in ([0.2, 0.9], [1.0, 0.0]):
        state = json.loads(json.dumps(both.state_dict()))
        both.resume(state)
        seen, reward, *_, info = both.step(np.array(exposures))
        apart = [env.step(np.array([exposure])) for env, exposure in zip((one, other), exposures, strict=True)]
        np.testing.assert_array_equal(seen, np.concatenate([step[0] for step in apart]))
        assert reward == pytest.approx(np.mean([step[1] for step in apart]))
        assert info["exposure"] == exposures
    with pytest.raises(UserError, match=r"shape \(2,\), the exposure of each group; got shape \(1,\)"):
        both.step(np.array([0.5]))


def test_checkers_accept_two_groups():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", message=".*not having a spec|We recommend you to use a symm|Your action space"
        )
        for check in (check_env, check_env_sb3):
            check(ExposureEnv(Grouped(200), RewardConfig().rule(HOLD_WINDOW), 200, HOLD_WINDOW, groups=2))
