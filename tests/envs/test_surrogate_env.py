import time

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import envs as envs
from atesd.errors import UserError
from atesd.surrogate.law import FAMILIES

NAME = "ATESD/Surrogate-v0"
pytestmark = pytest.mark.filterwarnings(
    "ignore:We recommend you to use a symmetric", "ignore:Your action space has dtype"
)


def vector(**settings) -> gymnasium.vector.VectorEnv:
    return gymnasium.make_vec(NAME, vectorization_mode="vector_entry_point", **settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_checkers_accept_it(family):
    check_env(gymnasium.make(NAME, family=family).unwrapped)
    check_env_sb3(gymnasium.make(NAME, family=family).unwrapped)


def test_its_spec_is_json():
    spec = gymnasium.make(NAME, family="rising", noise=0.02, seed=4, updates=20, hold_window=5).spec
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(spec.to_json()))
    assert again.unwrapped.trainer.settings == {"family": "rising", "noise": 0.02, "seed": 4, "updates": 20}


def test_it_has_the_spaces_of_the_real_environment():
    from envs.exposure_env import ExposureEnv

    env = gymnasium.make(NAME).unwrapped
    assert isinstance(env, ExposureEnv)
    assert env.action_space == gymnasium.spaces.Box(0.0, 1.0, (1,), np.float64)
    assert env.observation_space.shape == (6,)


def test_reset_brings_the_student_asked_for_or_the_next():
    env = gymnasium.make(NAME, seed=4).unwrapped
    seeds = []
    for seed in (None, None, 9, None):
        env.reset(seed=seed)
        seeds.append(env.trainer.settings["seed"])
    assert seeds == [4, 5, 9, 10]


@pytest.mark.parametrize("family", FAMILIES)
def test_side_by_side_equals_one_by_one(family):
    settings = {"family": family, "noise": 0.01, "updates": 18, "hold_window": 4}
    rng = np.random.default_rng(0)
    actions = rng.random((5, 3, 1))
    many = vector(num_envs=3, seed=7, **settings)
    seen = [many.reset(), *(many.step(action) for action in actions)]
    for i in range(3):
        one = gymnasium.make(NAME, seed=7 + i, **settings).unwrapped
        for mine, theirs in zip([one.reset(), *(one.step(action[i]) for action in actions)], seen, strict=True):
            np.testing.assert_allclose(mine[0], theirs[0][i], rtol=1e-6)
            np.testing.assert_allclose(mine[1:-1], [part[i] for part in theirs[1:-1]], rtol=1e-9, atol=1e-12)
            assert mine[-1]["competence"] == pytest.approx(theirs[-1]["competence"][i], rel=1e-12)
            assert mine[-1]["update"] == theirs[-1]["update"][i]


def test_a_finished_cohort_restarts_with_the_next_students():
    env = vector(num_envs=2, seed=0, updates=4, hold_window=4)
    first, _ = env.reset()
    *_, truncated, _ = env.step(np.full((2, 1), 0.5))
    assert truncated.all()
    observations, rewards, _, truncated, info = env.step(np.full((2, 1), 0.5))
    assert not truncated.any()
    assert rewards.tolist() == [0.0, 0.0]
    assert info["update"].tolist() == [0, 0]
    expected, _ = vector(num_envs=2, seed=2, updates=4).reset()
    np.testing.assert_array_equal(observations, expected)
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize(
    ("action", "message"), [([[0.5]], "shape"), ([[0.5], [1.5]], r"got 1\.5"), ([[0.5], [np.nan]], "nan")]
)
def test_bad_actions_are_refused(action, message):
    env = vector(num_envs=2)
    env.reset()
    with pytest.raises(UserError, match=message):
        env.step(np.array(action))


def test_it_plays_a_hundred_thousand_windows_per_second():
    env = vector(num_envs=2000)
    env.reset()
    actions = np.full((2000, 1), 0.5)
    begun = time.process_time()
    for _ in range(60):
        env.step(actions)
    assert 60 * 2000 / (time.process_time() - begun) > 1e5


@pytest.mark.parametrize("make", [lambda **settings: gymnasium.make(NAME, **settings).unwrapped, vector])
@pytest.mark.parametrize(
    "settings", [{"hold_window": 0}, {"updates": 0}, {"noise": -0.1}, {"noise": float("nan")}, {"seed": -1}]
)
def test_settings_of_no_episode_are_refused(make, settings):
    with pytest.raises(UserError, match=rf"^{next(iter(settings))} must be"):
        make(**settings)
