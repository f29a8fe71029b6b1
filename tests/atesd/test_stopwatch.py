"""Seconds per phase, on a clock the test winds itself."""

from __future__ import annotations

import pytest

from atesd import stopwatch as module
from atesd.stopwatch import Stopwatch


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_phases_add_up_and_time_between_them_counts_for_none(clock: Clock) -> None:
    watch = Stopwatch()
    for seconds in (1.0, 2.0):
        clock.pass_by(10)
        with watch.phase("a"):
            clock.pass_by(seconds)
    assert dict(watch.seconds) == {"a": 3.0}


def test_nested_phases_count_for_the_inner_one_only(clock: Clock) -> None:
    watch = Stopwatch()
    with watch.phase("outer"):
        clock.pass_by(1)
        with watch.phase("inner"):
            clock.pass_by(2)
            with watch.phase("outer"):
                clock.pass_by(4)
        clock.pass_by(8)
    assert dict(watch.seconds) == {"outer": 13.0, "inner": 2.0}
    assert sum(watch.seconds.values()) == 15


def test_an_error_still_ends_its_phase(clock: Clock) -> None:
    watch = Stopwatch()

    def fail() -> None:
        with watch.phase("a"):
            clock.pass_by(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    clock.pass_by(5)
    with watch.phase("b"):
        clock.pass_by(2)
    assert dict(watch.seconds) == {"a": 1.0, "b": 2.0}


def test_laps_partition_the_time_the_running_phase_included(clock: Clock) -> None:
    watch = Stopwatch()
    with watch.phase("a"):
        clock.pass_by(1)
        assert watch.lap() == {"a": 1.0}
        clock.pass_by(2)
        with watch.phase("b"):
            clock.pass_by(4)
    assert watch.lap() == {"a": 2.0, "b": 4.0}
    assert watch.lap() == {"a": 0.0, "b": 0.0}


def test_seconds_before_a_resume_count_in_the_total_and_in_no_lap(clock: Clock) -> None:
    watch = Stopwatch()
    watch.add({"a": 50.0})
    with watch.phase("a"):
        clock.pass_by(1)
    assert watch.lap() == {"a": 1.0}
    assert dict(watch.seconds) == {"a": 51.0}
