"""The controllers that play others: guarded and bandit_over_bandits."""

import math
from typing import Any

import numpy as np
import pytest

import controllers  # noqa: F401 (registers them)
from atesd.errors import UserError
from atesd.interfaces import Controller, Setting
from atesd.registry import config_of

NOTHING = np.zeros(6, np.float32)


def build(name: str, **settings: Any) -> Controller:
    controller: Controller = config_of("controller", name)(name=name, **settings).build(Setting(0, 40, 6, 4))
    return controller


def guarded_exposures(inner: str, gain: float, windows: int = 20) -> list[float]:
    """Play a guarded controller where reward is ``gain`` times exposure, plus a ripple that gives it a spread."""
    controller, exposures = build("guarded", inner=inner, fallback=0.5, hold=4, memory=4), []
    for decision in range(windows):
        exposures.append(controller.act(NOTHING, decision).exposure)
        controller.learn(decision, gain * exposures[-1] + 0.01 * (-1) ** decision)
    return exposures


def test_guarded_holds_the_fallback_while_the_inner_one_does_harm() -> None:
    fallback, harmful = [0.5] * 4, [1.0] * 4
    assert guarded_exposures("full", gain=-1.0) == fallback + harmful + fallback + harmful + fallback


def test_guarded_lets_the_inner_one_play_while_it_does_good() -> None:
    assert guarded_exposures("full", gain=1.0) == [0.5] * 4 + [1.0] * 16


def test_guarded_inner_learns_from_its_own_windows_only() -> None:
    controller = build("guarded", inner="ucb1", hold=3)
    for decision in range(10):
        controller.act(NOTHING, decision)
    for decision in reversed(range(10)):
        controller.learn(decision, float(decision))
    assert sorted(controller.inner.history.rewards) == list(range(3, 10))  # type: ignore[attr-defined]


def test_guarded_ignores_rewards_the_inner_one_earned_before_the_last_stretch() -> None:
    controller = build("guarded", inner="full", hold=2, memory=2, sigmas=0.0)
    held = []
    for decision in range(8):
        held.append(controller.act(NOTHING, decision).details["guarded/held"])
        if decision >= 2:  # two windows late
            controller.learn(decision - 2, -1.0 if held[decision - 2] == 0 else 1.0)
    # 0-1 held; 2-5 inner, whose rewards of 2 and 3 are in when 6 is chosen; 6-7 held
    assert held == [1, 1, 0, 0, 0, 0, 1, 1]
    controller.learn(6, 1.0)
    controller.learn(7, 1.0)
    controller.act(NOTHING, 8)
    controller.learn(4, -1.0)  # late ones of before
    controller.learn(5, -1.0)
    assert controller.act(NOTHING, 9).details["guarded/held"] == 0


def test_bandit_over_bandits_comes_to_prefer_the_better_base() -> None:
    controller, exposures = build("bandit_over_bandits", bases=["none", "full"]), []
    for decision in range(60):
        exposures.append(controller.act(NOTHING, decision).exposure)
        controller.learn(decision, exposures[-1])
    assert np.mean(exposures[30:]) > 0.7


def test_bandit_over_bandits_reports_the_joint_probability() -> None:
    controller = build("bandit_over_bandits", bases=["ucb1", "fixed"])
    for decision in range(8):
        action = controller.act(NOTHING, decision)
        inner = {0.0: 1 / 5, 1.0: 1.0}[action.details["bandit/base"]]
        assert action.log_prob == pytest.approx(math.log(0.5 * inner))
        if action.details["bandit/base"] == 0.0:
            break  # the next ucb1 choice has fewer ties


def test_bandit_over_bandits_passes_a_reward_to_the_base_that_chose() -> None:
    controller = build("bandit_over_bandits", bases=["ucb1", "sec"])
    bases = [int(controller.act(NOTHING, decision).details["bandit/base"]) for decision in range(10)]
    for decision in reversed(range(10)):
        controller.learn(decision, 1.0)
    for base in (0, 1):
        expected = [decision for decision in range(10) if bases[decision] == base]
        assert sorted(controller.bases[base].history.rewards) == expected  # type: ignore[attr-defined]
    assert {0, 1} == set(bases)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("guarded", {"inner": "ucb2"}, r"controller\.inner=ucb2 is no controller; allowed are alp_gmm, .*uniform"),
        ("guarded", {"hold": 1}, r"controller\.hold and controller\.memory must be at least 2, got 1 and 4"),
        ("bandit_over_bandits", {"bases": ["fixed", "fxed"]}, r"controller\.bases=fxed is no controller"),
        ("bandit_over_bandits", {"bases": ["fixed"]}, r"controller\.bases must be two to four different controllers"),
        ("bandit_over_bandits", {"bases": ["fixed", "fixed"]}, r"controller\.bases must be two to four different"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, **settings)
