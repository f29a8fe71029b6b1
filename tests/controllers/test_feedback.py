"""The feedback controllers: pi, competence, target_success."""

import math

import numpy as np
import pytest

from atesd.errors import UserError
from atesd.interfaces import Controller, Setting
from atesd.observation import NAMES
from controllers.competence import CompetenceConfig
from controllers.pi import PiConfig, Signal
from controllers.target_success import TargetSuccessConfig

SETTING = Setting(0, 100, len(NAMES), 4)


def exposure(controller: Controller, entry: str, value: float, decision: int = 0) -> float:
    observation = np.full(len(NAMES), 0.25, np.float32)
    observation[NAMES.index(entry)] = value
    return controller.act(observation, decision).exposure


def test_pi_worked_numbers() -> None:
    pi = PiConfig(target=0.5, proportional=0.5, integral=0.25).build(SETTING)
    assert exposure(pi, "mismatch", 0.25) == 0.5 + 0.5 * 0.25 + 0.25 * 0.25
    assert exposure(pi, "mismatch", 0.25) == 0.5 + 0.5 * 0.25 + 0.25 * 0.5
    assert exposure(pi, "mismatch", 0.5) == 0.5 + 0.25 * 0.5


@pytest.mark.parametrize("signal", Signal)
def test_pi_holds_the_signal_it_is_told(signal: Signal) -> None:
    others_off_target = PiConfig(signal=signal, target=0.75).build(SETTING)
    assert exposure(others_off_target, signal.value, 0.75) == 0.5


def test_pi_does_not_wind_up() -> None:
    pi = PiConfig(target=0.5).build(SETTING)
    for decision in range(50):
        assert exposure(pi, "mismatch", 0.0, decision) <= 1
    assert exposure(pi, "mismatch", 0.75, 50) < 0.6  # 50 errors of 0.5 in the sum would keep it at 1


def test_pi_settles_on_the_target_where_mismatch_is_proportional_to_exposure() -> None:
    pi, mismatch = PiConfig(target=0.2).build(SETTING), 0.0
    for decision in range(60):
        mismatch = 0.25 * exposure(pi, "mismatch", mismatch, decision)
    assert mismatch == pytest.approx(0.2, abs=1e-3)


def test_competence_follows_its_slope_and_stays_in_range() -> None:
    rising, falling = CompetenceConfig().build(SETTING), CompetenceConfig(slope=-1.0, offset=1.25).build(SETTING)
    assert exposure(rising, "confidence", 0.75) == pytest.approx(0.45)
    assert exposure(falling, "confidence", 0.75) == 0.5
    assert exposure(rising, "confidence", 0.25) == 0.0
    assert exposure(falling, "confidence", 0.125) == 1.0


def test_target_success_steps_by_the_tanh_of_the_gap() -> None:
    controller = TargetSuccessConfig(target=0.75, rate=0.125, sensitivity=4.0).build(SETTING)
    assert exposure(controller, "confidence", 1.0) == pytest.approx(0.5 - 0.125 * math.tanh(1))
    assert exposure(controller, "confidence", 0.5) == pytest.approx(0.5)
    for decision in range(2, 100):
        last = exposure(controller, "confidence", 0.0, decision)
    assert last == 1.0


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (PiConfig, {"target": math.nan}, r"controller\.target must be a finite number, got nan"),
        (PiConfig, {"start": 1.5}, r"controller\.start must lie in \[0, 1\]"),
        (CompetenceConfig, {"slope": math.inf}, r"controller\.slope must be a finite number"),
        (TargetSuccessConfig, {"target": 2.0}, r"controller\.target must lie in \[0, 1\], got 2.0"),
        (TargetSuccessConfig, {"rate": 0.0}, r"controller\.rate must be a finite number above 0"),
    ],
)
def test_bad_settings_are_refused(config: type, settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config(**settings)
