"""The observation: its layout, its bounds, its state."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from atesd import observation
from atesd.interfaces import Reading
from atesd.observation import DECAY, HIGH, LOW, NAMES, RunningState, squash

FIRST = Reading(progress_signal=9.0, probe_nll=1.0, loss=-3.0, confidence=0.75, mismatch=0.25, teacher_log_prob=-1.0)


def test_layout() -> None:
    assert NAMES == ("progress", "exposure", "loss", "mismatch", "probe", "confidence")
    found = RunningState(FIRST).observation(0.125)
    assert found.dtype == np.float32
    assert dict(zip(NAMES, found.tolist(), strict=True)) == {
        "progress": 0.125,
        "exposure": 0.5,
        "loss": -0.75,
        "mismatch": 0.25,
        "probe": 0.5,
        "confidence": 0.75,
    }


def test_the_documented_ranges_are_the_ones_in_force() -> None:
    table = [line for line in (observation.__doc__ or "").splitlines() if line.startswith("| ") and "index" not in line]
    for row, (name, low, high) in zip(table, zip(NAMES, LOW, HIGH, strict=True), strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert (cells[1], cells[3]) == (name, f"[{low:.0f}, {high:.0f}]")


def test_running_averages_by_hand() -> None:
    state = RunningState(FIRST)
    state.include(Reading(0.0, 2.0, 5.0, 0.25, None), exposure=1.0)
    old, new = DECAY, 1 - DECAY
    _, exposure, loss, mismatch, probe, confidence = state.observation(0.0).tolist()
    assert exposure == pytest.approx(old * 0.5 + new)
    assert loss == pytest.approx(squash(old * -3 + new * 5))
    assert mismatch == pytest.approx(old * 0.25)  # without a teacher there is none
    assert probe == pytest.approx(squash(old * 1 + new * 2))
    assert confidence == pytest.approx(old * 0.75 + new * 0.25)


@pytest.mark.parametrize("size", [0.0, 1e-300, 1.0, 1e6, 1e300, sys.float_info.max])
@pytest.mark.parametrize("share", [0.0, 1.0, 1 / 3, 0.1])
def test_bounds_hold_for_extreme_readings(size: float, share: float) -> None:
    for sign in (-1, 1):
        extreme = Reading(sign * size, sign * size, -sign * size, share, share)
        for state in (RunningState(extreme), RunningState(FIRST)):
            for progress in (0.0, 1.0):
                for _ in range(60):
                    state.include(extreme, share)
                found = state.observation(progress)
                assert np.all(np.isfinite(found))
                assert np.all(found >= LOW)
                assert np.all(found <= HIGH)


def test_state_goes_on_bit_for_bit_through_json() -> None:
    rng = np.random.default_rng(0)
    straight, states = RunningState(FIRST), []
    for step in range(20):
        reading = Reading(*rng.normal(size=3).tolist(), *rng.random(2).tolist())
        exposure = float(rng.random())
        if step == 10:
            state = json.loads(json.dumps(straight.state_dict()))
            resumed = RunningState(reading)
            resumed.load_state_dict(state)
            states = [straight, resumed]
        for state in states or [straight]:
            state.include(reading, exposure)
    assert states[0].observation(0.5).tobytes() == states[1].observation(0.5).tobytes()
