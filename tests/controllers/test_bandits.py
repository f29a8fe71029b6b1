"""The bandits: what each promises beyond the contract."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

import controllers  # noqa: F401 (registers them)
from atesd.errors import UserError
from atesd.interfaces import Controller, Setting
from atesd.registry import config_of
from controllers.bandit import LEVELS
from controllers.discounted_ts import best_probabilities
from controllers.exp3s import exponential_weights
from controllers.history import Choice, History

NOTHING = np.zeros(6, np.float32)
BANDITS = ["d_ucb", "discounted_ts", "exp3s", "lin_ucb", "sec", "sw_ucb", "tscl", "ucb1"]
MAXIMISERS = ["d_ucb", "discounted_ts", "exp3s", "gp_ucb", "lin_ucb", "sec", "sw_ucb", "ucb1"]


def build(name: str, seed: int = 0, **settings: Any) -> Controller:
    controller: Controller = config_of("controller", name)(name=name, **settings).build(Setting(seed, 60, 6, 4))
    return controller


def play(
    controller: Controller, reward: Callable[[float, int], float], windows: int = 60, delay: int = 0
) -> list[float]:
    exposures: list[float] = []
    for decision in range(windows):
        exposures.append(controller.act(NOTHING, decision).exposure)
        if decision >= delay:
            controller.learn(decision - delay, reward(exposures[decision - delay], decision - delay))
    return exposures


def history(*rows: tuple[int, float, float]) -> History:
    """Return a history of (arm, probability, reward)."""
    past = History()
    for decision, (arm, probability, reward) in enumerate(rows):
        past.add(decision, Choice(arm, probability, []))
        past.reward(decision, reward)
    return past


@pytest.mark.parametrize("name", ["ucb1", "sw_ucb", "d_ucb"])
def test_ucbs_try_every_level_once_before_any_twice_though_rewards_are_late(name: str) -> None:
    for seed in range(5):
        exposures = play(build(name, seed), lambda exposure, decision: 1.0, windows=5, delay=3)
        assert sorted(exposures) == list(LEVELS)


def test_the_order_of_the_first_tries_depends_on_the_seed() -> None:
    orders = {tuple(play(build("ucb1", seed), lambda exposure, decision: 0.0, windows=5)) for seed in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("name", ["ucb1", "sw_ucb", "d_ucb", "sec", "discounted_ts", "exp3s"])
def test_the_better_of_two_noise_free_levels_wins(name: str) -> None:
    exposures = play(build(name, levels=[0.2, 0.8]), lambda exposure, decision: exposure, delay=3)
    assert exposures[20:].count(0.8) > 0.65 * 40


def test_ucb1_worked_index() -> None:
    ucb1 = build("ucb1", levels=[0.0, 1.0], exploration=0.5)
    ucb1.history = history((0, 1.0, 2.0), (1, 1.0, 0.0), (0, 1.0, 2.0), (1, 1.0, 0.0))  # type: ignore[attr-defined]
    width = 0.5 * math.sqrt(math.log(4) / 2)
    indices = ucb1.indices(ucb1.history.table(), NOTHING, 4)  # type: ignore[attr-defined]
    assert indices == pytest.approx([1 + width, -1 + width])


@pytest.mark.parametrize(("name", "returns"), [("ucb1", False), ("sw_ucb", True), ("d_ucb", True)])
def test_forgetting_ucbs_come_back_to_a_level_that_has_become_good(name: str, returns: bool) -> None:
    def switched(exposure: float, decision: int) -> float:
        return exposure if decision < 40 else 1 - exposure

    controller = build(name, levels=[0.0, 1.0], exploration=0.3)
    assert (0.0 in play(controller, switched)[48:56]) == returns


def test_sw_ucb_refuses_a_memory_shorter_than_its_levels() -> None:
    with pytest.raises(UserError, match=r"controller\.memory must be at least the number of levels, 5, got 4"):
        build("sw_ucb", memory=4)


def test_exp3s_worked_weights() -> None:
    past = history((0, 0.5, 1.0), (1, 0.25, 3.0))  # scores -1 and 1
    first, second = 0.5 * math.exp(0.2 * float(ndtr(-1.0) - 0.5) / 0.5), 0.5
    first, second = first + math.e * 0.1 / 2, second + math.e * 0.1 / 2
    regained = math.e * 0.1 / 2 * (first + second)
    first, second = first + regained, second * math.exp(0.2 * float(ndtr(1.0) - 0.5) / 0.25) + regained
    expected = [0.8 * weight / (first + second) + 0.1 for weight in (first, second)]
    assert exponential_weights(past.table(), 2, exploration=0.2, rate=0.2, share=0.1) == pytest.approx(expected)


def test_thompson_probabilities_agree_with_drawing() -> None:
    mean, sd = np.array([0.0, 0.3, -0.5, 1.0, 0.2]), np.array([1.0, 0.5, 2.0, 0.3, 0.7])
    draws = np.random.default_rng(0).normal(mean, sd, (40_000, 5)).argmax(axis=1)
    shares = np.bincount(draws, minlength=5) / len(draws)
    error = np.sqrt(shares * (1 - shares) / len(draws))
    assert np.all(np.abs(best_probabilities(mean, sd) - shares) < 4 * error)


def test_sec_worked_policy() -> None:
    sec = build("sec", levels=[0.0, 1.0], rate=0.5, temperature=2.0)
    sec.history = history((0, 1.0, 2.0), (1, 1.0, 0.0), (0, 1.0, 2.0), (1, 1.0, 0.0))  # type: ignore[attr-defined]
    policy = sec.policy(sec.history.table(), NOTHING, 4)  # type: ignore[attr-defined]
    assert policy[0] == pytest.approx(1 / (1 + math.exp(-1.5 / 2)))  # values 0.75 and -0.75


def test_tscl_prefers_the_level_whose_rewards_change_be_it_for_the_worse() -> None:
    tscl = build("tscl", levels=[0.0, 1.0], temperature=0.1)
    for sign in (1.0, -1.0):
        tscl.history = history(*((d % 2, 0.5, sign * d * (d % 2)) for d in range(8)))  # type: ignore[attr-defined]
        policy = tscl.policy(tscl.history.table(), NOTHING, 8)  # type: ignore[attr-defined]
        assert policy[1] > 0.9


def test_lin_ucb_learns_that_the_best_level_depends_on_the_observation() -> None:
    controller, generator = build("lin_ucb"), np.random.default_rng(0)
    chosen: dict[float, list[float]] = {0.0: [], 1.0: []}
    for decision in range(60):
        state = float(generator.integers(2))
        exposure = controller.act(np.array([0, 0, 0, state, 0, 0], np.float32), decision).exposure
        controller.learn(decision, (exposure - 0.5) * (state - 0.5))
        chosen[state].append(exposure)
    assert np.mean(chosen[0.0][-10:]) < 0.2
    assert np.mean(chosen[1.0][-10:]) > 0.8


def test_gp_ucb_finds_a_peak_between_the_usual_levels() -> None:
    exposures = play(build("gp_ucb"), lambda exposure, decision: -((exposure - 0.625) ** 2), windows=30, delay=2)
    assert np.mean(exposures[15:]) == pytest.approx(0.625, abs=0.1)


def test_gp_ucb_spreads_choices_whose_rewards_are_pending() -> None:
    for seed in range(5):
        exposures = sorted(play(build("gp_ucb", seed), lambda exposure, decision: 0.0, windows=4, delay=9))
        assert min(np.diff(exposures)) > 0.15


@pytest.mark.parametrize("name", MAXIMISERS)
def test_the_scale_of_the_reward_does_not_matter(name: str) -> None:
    def reward(exposure: float, decision: int) -> float:
        return float(-((exposure - 0.5) ** 2) + np.random.default_rng(decision).normal(0, 0.05))

    plain = play(build(name), reward)
    scaled = play(build(name), lambda exposure, decision: 1024 * reward(exposure, decision) - 2.0)
    assert np.mean(np.array(plain) != np.array(scaled)) < 0.1  # rounding may tip a tie


@pytest.mark.parametrize("name", [*BANDITS, "gp_ucb"])
def test_the_order_in_which_rewards_arrive_does_not_matter(name: str) -> None:
    states, following = [], []
    for order in (range(12), reversed(range(12))):
        controller = build(name)
        for decision in range(12):
            controller.act(NOTHING, decision)
        for decision in order:
            controller.learn(decision, math.sin(decision))
        states.append(controller.state_dict())
        following.append(controller.act(NOTHING, 12))
    assert states[0] == states[1]
    assert following[0] == following[1]


@pytest.mark.parametrize("name", BANDITS)
def test_levels_are_a_setting(name: str) -> None:
    settings: dict[str, Any] = {"levels": [0.1, 0.3]}
    assert set(Counter(play(build(name, **settings), lambda exposure, decision: 0.0))) == {0.1, 0.3}
    for levels in ([0.5], [0.5, 0.5], []):
        with pytest.raises(UserError, match=r"controller\.levels must be at least two different exposures"):
            build(name, levels=levels)
    with pytest.raises(UserError, match=r"controller\.levels must lie in \[0, 1\], got 1.2"):
        build(name, levels=[0.5, 1.2])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ucb1", {"exploration": -1.0}),
        ("d_ucb", {"discount": 0.0}),
        ("exp3s", {"exploration": 0.0}),
        ("exp3s", {"rate": math.inf}),
        ("exp3s", {"share": 2.0}),
        ("discounted_ts", {"discount": 1.1}),
        ("discounted_ts", {"noise": 0.0}),
        ("sec", {"rate": 0.0}),
        ("sec", {"temperature": 0.0}),
        ("tscl", {"memory": 1}),
        ("tscl", {"temperature": math.nan}),
        ("tscl", {"epsilon": -0.1}),
        ("lin_ucb", {"ridge": 0.0}),
        ("lin_ucb", {"width": -1.0}),
        ("gp_ucb", {"candidates": 1}),
        ("gp_ucb", {"decay": 1.0}),
        ("gp_ucb", {"length": 0.0}),
        ("alp_gmm", {"refit": 1}),
        ("alp_gmm", {"uniform": 0.0}),
        ("bandit_over_bandits", {"exploration": 0.0}),
        ("bandit_over_bandits", {"rate": 0.0}),
        ("beta_reinforce", {"batch": 1}),
        ("logitnormal_reinforce", {"low": 0.5, "high": 0.5}),
    ],
)
def test_settings_out_of_range_are_refused_by_key_and_value(name: str, settings: dict[str, Any]) -> None:
    (key, value), *_ = settings.items()
    with pytest.raises(UserError, match=rf"controller\.{key} .*{value}"):
        build(name, **settings)
