"""Schedules, forward and reversed: worked numbers."""

import numpy as np
import pytest

import controllers  # noqa: F401 (registers them)
from atesd.errors import UserError
from atesd.interfaces import Setting
from atesd.registry import config_of
from controllers.exponential import ExponentialConfig


def exposures(name: str, windows: int = 5) -> list[float]:
    controller = config_of("controller", name)(name=name).build(Setting(0, windows, 6, 4))
    return [controller.act(np.zeros(6, np.float32), decision).exposure for decision in range(windows)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", [0, 0.25, 0.5, 0.75, 1]),
        ("cosine", [0, (1 - 0.5**0.5) / 2, 0.5, (1 + 0.5**0.5) / 2, 1]),
        ("step", [0, 1 / 3, 2 / 3, 1, 1]),
        ("exponential", [0, 0.555279, 0.817574, 0.941474, 1]),  # (1 - e^-3x) / (1 - e^-3)
    ],
)
def test_worked_numbers_and_their_mirror(name: str, expected: list[float]) -> None:
    assert exposures(name) == pytest.approx(expected, abs=1e-6)
    assert exposures(f"{name}_down") == pytest.approx([1 - exposure for exposure in expected], abs=1e-6)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_exponential_refuses_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(UserError, match=r"controller\.rate must be a finite number above 0"):
        ExponentialConfig(rate=rate)
