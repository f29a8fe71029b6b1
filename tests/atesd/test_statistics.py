"""Intervals, against the closed form and published numbers."""

from __future__ import annotations

import math

import pytest

from atesd.interfaces import Verdict
from atesd.statistics import accuracy, wilson

Z95 = 1.959963984540054


def closed_form(successes: int, trials: int, z: float) -> tuple[float, float]:
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return centre - half, centre + half


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_published_numbers(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=6e-5)


def test_wilson_is_the_closed_form() -> None:
    for trials in (1, 7, 300):
        for successes in range(0, trials + 1, max(1, trials // 7)):
            assert wilson(successes, trials) == pytest.approx(closed_form(successes, trials, Z95), abs=1e-9)
    assert wilson(5, 10, 0.9) == pytest.approx(closed_form(5, 10, 1.6448536269514722), abs=1e-9)


def test_accuracy_overall_and_per_difficulty() -> None:
    verdicts = [Verdict(f"p{n}", difficulty, right) for n, (difficulty, right) in enumerate(RESULTS)]
    found = accuracy(verdicts)
    assert (found["mean"], found["problems"]) == (0.5, 6)
    assert (found["low"], found["high"]) == wilson(3, 6)
    assert list(found["by_difficulty"]) == ["2", "3", "10"]
    means = {group: row["mean"] for group, row in found["by_difficulty"].items()}
    assert means == {"2": 1.0, "3": pytest.approx(1 / 3), "10": 0.0}
    assert sum(row["problems"] for row in found["by_difficulty"].values()) == 6


RESULTS = [(2, True), (10, False), (3, True), (2, True), (3, False), (3, False)]
