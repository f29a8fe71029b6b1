"""Rewards, against numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from atesd.errors import UserError
from atesd.interfaces import Reading
from atesd.rewards import Kind, Progress, RewardConfig, RewardRule, learning_progress, running_average, teacher_grounded

SERIES = [1.0, 0.5, 0.75, 0.5]  # drops .5, -.25, .25


def readings(signal: list[float], log_probs: list[float | None] | None = None) -> list[Reading]:
    scores = log_probs or [None] * len(signal)
    return [Reading(l, 0.0, 0.0, 0.0, None, g) for l, g in zip(signal, scores, strict=True)]  # noqa: E741


@pytest.mark.parametrize(
    ("discount", "progress", "expected"),
    [
        (1.0, Progress.rectified, 0.75),
        (0.5, Progress.rectified, 0.5 + 0.25 * 0.25),
        (0.0, Progress.rectified, 0.5),
        (1.0, Progress.signed, 0.5),
        (0.5, Progress.signed, 0.5 - 0.125 + 0.0625),
        (0.0, Progress.signed, 0.5),
        # smoothed at 1/2: 1, .75, .75, .625 -> drops .25, 0, .125
        (1.0, Progress.smoothed, 0.375),
        (0.5, Progress.smoothed, 0.25 + 0.125 * 0.25),
        (0.0, Progress.smoothed, 0.25),
    ],
)
def test_learning_progress_table(discount: float, progress: Progress, expected: float) -> None:
    assert learning_progress(SERIES, discount, progress, smoothing=0.5) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("log_probs", "discount", "expected"),
    [
        ([-1.0, -4.0], 0.5, (-1 - 2) / 1.5),
        ([-1.0, -4.0], 1.0, -2.5),
        ([-1.0, -4.0], 0.0, -1.0),
        ([-3.0], 0.0, -3.0),
        ([-1.0, -2.0, -4.0], 0.5, (-1 - 1 - 1) / 1.75),
    ],
)
def test_teacher_grounded_table(log_probs: list[float], discount: float, expected: float) -> None:
    assert teacher_grounded(log_probs, discount) == pytest.approx(expected, abs=1e-15)


def test_teacher_grounded_is_a_weighted_mean() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        scores = rng.normal(-2, 3, size=int(rng.integers(1, 12))).tolist()
        grounded = teacher_grounded(scores, float(rng.random()))
        assert min(scores) - 1e-12 <= grounded <= max(scores) + 1e-12


def test_a_constant_signal_is_no_progress() -> None:
    for progress in Progress:
        assert learning_progress([0.3] * 9, 0.9, progress, 0.5) == 0.0


def test_signed_progress_telescopes_without_discount() -> None:
    rng = np.random.default_rng(2)
    for length in range(2, 30):
        signal = rng.normal(size=length)
        total = learning_progress(signal.tolist(), 1.0, Progress.signed)
        assert total == pytest.approx(signal[0] - signal[-1], abs=1e-12)


def test_rectified_is_at_least_signed_and_never_negative() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        signal, discount = rng.normal(size=8).tolist(), float(rng.random())
        rectified = learning_progress(signal, discount, Progress.rectified)
        assert rectified >= max(0.0, learning_progress(signal, discount, Progress.signed)) - 1e-12


def test_rectified_turns_noise_into_reward_and_signed_does_not() -> None:
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2000, 9))
    bias = {}
    for progress in (Progress.rectified, Progress.signed, Progress.smoothed):
        bias[progress] = [
            float(np.mean([learning_progress((scale * row).tolist(), 1.0, progress, 0.5) for row in noise]))
            for scale in (0.1, 0.2, 0.4)
        ]
    # A drop between two independent N(0, s) has sd s * sqrt(2); its positive part has mean s / sqrt(pi). Eight of them:
    assert bias[Progress.rectified] == pytest.approx([8 * s / math.sqrt(math.pi) for s in (0.1, 0.2, 0.4)], rel=0.05)
    assert bias[Progress.signed] == pytest.approx([0, 0, 0], abs=0.03)
    assert all(s < 0.6 * r for s, r in zip(bias[Progress.smoothed], bias[Progress.rectified], strict=True))


def test_smoothing_of_one_smooths_nothing() -> None:
    assert running_average(np.array(SERIES), 1.0).tolist() == SERIES
    assert learning_progress(SERIES, 0.7, Progress.smoothed, 1.0) == learning_progress(SERIES, 0.7, Progress.rectified)


def test_a_rule_adds_its_terms_and_ignores_the_score_at_the_decision() -> None:
    rule = RewardRule(3, 0.5, 0.1, Progress.rectified, 0.5)
    parts = rule(readings(SERIES, [-99.0, -1.0, -2.0, -4.0]))
    assert parts.learning_progress == 0.5625
    assert parts.teacher_grounded == pytest.approx(-3 / 1.75)
    assert parts.total == pytest.approx(0.5625 - 0.3 / 1.75)


def test_a_method_without_a_teacher_has_no_grounded_term() -> None:
    parts = RewardRule(3, 1.0, 5.0, Progress.rectified, 0.5)(readings(SERIES))
    assert (parts.total, parts.learning_progress, parts.teacher_grounded) == (0.75, 0.75, 0.0)


def test_look_ahead_of_one_is_the_first_drop_whatever_the_discount() -> None:
    for discount in (0.0, 0.5, 1.0):
        rule = RewardConfig(lookahead=1, discount=discount, grounding=0.5).rule(hold_window=4)
        assert rule.span == 1
        assert rule(readings([1.0, 0.25], [None, -2.0])).total == 0.75 - 1.0


@pytest.mark.parametrize(
    ("kind", "span", "discount", "grounding"),
    [(Kind.lookahead, 8, 0.9, 0.1), (Kind.short_delay, 5, 1.0, 0.0), (Kind.one_step, 1, 1.0, 0.0)],
)
def test_kinds(kind: Kind, span: int, discount: float, grounding: float) -> None:
    rule = RewardConfig(kind=kind, grounding=0.1).rule(hold_window=5)
    assert (rule.span, rule.discount, rule.grounding) == (span, discount, grounding)


def test_the_kinds_on_one_series() -> None:
    scores: list[float | None] = [None, -1.0, -1.0, -1.0]
    for kind, expected in ((Kind.lookahead, 0.4375 - 0.1), (Kind.short_delay, 0.25), (Kind.one_step, 0.5)):
        rule = RewardConfig(kind=kind, lookahead=3, discount=0.5, grounding=0.1).rule(hold_window=2)
        window = slice(0, rule.span + 1)
        assert rule(readings(SERIES[window], scores[window])).total == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discount": 1.01}, r"reward\.discount must lie in \[0, 1\], got 1\.01"),
        ({"discount": -0.1}, r"reward\.discount must lie in \[0, 1\], got -0\.1"),
        ({"discount": math.nan}, r"reward\.discount .* got nan"),
        ({"lookahead": 0}, r"reward\.lookahead must be at least 1 student update, got 0"),
        ({"smoothing": 0.0}, r"reward\.smoothing must lie in \(0, 1\], got 0\.0"),
        ({"smoothing": 1.5}, r"reward\.smoothing must lie in \(0, 1\], got 1\.5"),
        ({"probe_problems": 0}, r"reward\.probe_problems must be at least 1, got 0"),
        ({"grounding": math.nan}, r"reward\.grounding must be a finite number, got nan"),
        ({"grounding": math.inf}, r"reward\.grounding must be a finite number, got inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RewardConfig(**settings)  # type: ignore[arg-type]


def test_the_edges_of_the_ranges_are_allowed() -> None:
    RewardConfig(discount=0.0, lookahead=1, smoothing=1.0, grounding=0.0, probe_problems=1)
    RewardConfig(discount=1.0)
