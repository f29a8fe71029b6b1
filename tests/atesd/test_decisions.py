"""The ledger of decisions, against a brute-force reading of the definition."""

from __future__ import annotations

import json

import numpy as np
import pytest

from atesd.decisions import Decision, DecisionLedger, Matured
from atesd.interfaces import Reading
from atesd.rewards import Kind, Progress, RewardConfig, RewardRule


def decision(number: int, update: int) -> Decision:
    return Decision(number, update, 0.25, -0.5, [0.0, 1.0], {"beta/a": 2.0})


def reading(signal: float, score: float | None = None) -> Reading:
    return Reading(signal, 0.1, 0.2, 0.3, None, score)


def by_definition(
    signal: list[float], scores: list[float], t0: int, span: int, discount: float, weight: float
) -> float:
    """Sum the paper's two terms one update at a time."""
    progress = weights = grounded = 0.0
    for i in range(1, span + 1):
        factor = discount ** (i - 1)
        progress += factor * max(0.0, signal[t0 + i - 1] - signal[t0 + i])
        grounded += factor * scores[t0 + i]
        weights += factor
    return progress + weight * grounded / weights


def play(
    rule: RewardRule, signal: list[float], scores: list[float], hold_window: int, restart_at: int | None = None
) -> list[Matured]:
    """Let a run of len(signal) - 1 updates pass through a ledger, through JSON once on the way if asked."""
    ledger, found = DecisionLedger(rule), []
    updates = len(signal) - 1
    ledger.record(0, reading(signal[0], scores[0]))
    for update in range(updates):
        if update % hold_window == 0:
            ledger.open(decision(update // hold_window, update))
        ledger.record(update + 1, reading(signal[update + 1], scores[update + 1]))
        for matured in ledger.matured(update + 1):
            assert matured.matured_at == update + 1 == matured.decision.update + rule.span
            found.append(matured)
        if update + 1 == restart_at:
            state = json.loads(json.dumps(ledger.state_dict(), allow_nan=False))
            ledger = DecisionLedger(rule)
            ledger.load_state_dict(state)
    return [*found, *ledger.close()]


@pytest.mark.parametrize("hold_window", [1, 2, 3, 5])
@pytest.mark.parametrize("span", [1, 2, 4, 7])
def test_rewards_are_those_of_the_definition(hold_window: int, span: int) -> None:
    rng = np.random.default_rng([hold_window, span])
    updates = 23
    signal, scores = rng.normal(size=updates + 1).tolist(), rng.normal(size=updates + 1).tolist()
    rule = RewardRule(span, 0.8, 0.3, Progress.rectified, 0.5)
    found = play(rule, signal, scores, hold_window)
    assert [matured.decision.decision for matured in found] == list(range(-(-updates // hold_window)))
    for matured in found:
        t0 = matured.decision.update
        if t0 + span <= updates:
            assert matured.parts is not None
            assert matured.parts.total == pytest.approx(by_definition(signal, scores, t0, span, 0.8, 0.3), abs=1e-12)
        else:
            assert matured.parts is None
            assert matured.matured_at is None


@pytest.mark.parametrize("restart_at", [1, 4, 6, 11, 22])
def test_a_restart_through_json_changes_nothing(restart_at: int) -> None:
    rng = np.random.default_rng(5)
    signal, scores = rng.normal(size=24).tolist(), rng.normal(size=24).tolist()
    rule = RewardConfig(kind=Kind.lookahead, lookahead=6).rule(hold_window=2)
    assert play(rule, signal, scores, 2, restart_at) == play(rule, signal, scores, 2)


def test_a_decision_matures_at_its_look_ahead_and_not_before() -> None:
    ledger = DecisionLedger(RewardRule(3, 1.0, 0.0, Progress.rectified, 0.5))
    ledger.record(0, reading(1.0))
    ledger.open(decision(0, 0))
    for update, signal in ((1, 0.5), (2, 0.75)):
        ledger.record(update, reading(signal))
        assert list(ledger.matured(update)) == []
    ledger.record(3, reading(0.5))
    (matured,) = ledger.matured(3)
    assert (matured.matured_at, matured.parts and matured.parts.total) == (3, 0.75)
    assert list(ledger.matured(3)) == []


def test_readings_are_kept_exactly_as_long_as_a_pending_decision_needs_them() -> None:
    ledger = DecisionLedger(RewardRule(4, 1.0, 0.0, Progress.rectified, 0.5))
    for update in range(20):
        ledger.record(update, reading(float(update)))
        list(ledger.matured(update))
        if update % 2 == 0:
            ledger.open(decision(update // 2, update))
        oldest = ledger.pending[0].update
        # Before the decision of this update was opened, the reading of this update was the newest to keep.
        assert sorted(ledger.readings) == list(range(oldest, update + 1))
        assert len(ledger.readings) <= 5


def test_without_a_pending_decision_the_newest_reading_stays_for_the_next() -> None:
    ledger = DecisionLedger(RewardRule(1, 1.0, 0.0, Progress.rectified, 0.5))
    ledger.record(0, reading(1.0))
    ledger.open(decision(0, 0))
    for update in range(1, 5):
        ledger.record(update, reading(1.0 - update / 8))
        list(ledger.matured(update))
        assert sorted(ledger.readings) == [update]


def test_what_is_pending_at_the_end_closes_with_null_and_only_once() -> None:
    ledger = DecisionLedger(RewardRule(8, 1.0, 0.0, Progress.rectified, 0.5))
    ledger.record(0, reading(1.0))
    ledger.open(decision(0, 0))
    ledger.open(decision(1, 4))
    closed = list(ledger.close())
    assert [row.decision.decision for row in closed] == [0, 1]
    row = json.loads(json.dumps(closed[0].row()))
    keys = ("reward", "reward/learning_progress", "reward/teacher_grounded", "matured_at")
    assert [row[key] for key in keys] == [None] * 4
    assert list(ledger.close()) == []


def test_a_row_is_flat_and_complete() -> None:
    ledger = DecisionLedger(RewardRule(1, 1.0, 0.5, Progress.rectified, 0.5))
    ledger.record(0, reading(1.0))
    ledger.open(decision(0, 0))
    ledger.record(1, reading(0.75, -2.0))
    (matured,) = ledger.matured(1)
    assert matured.row() == {
        "decision": 0,
        "update": 0,
        "group": 0,
        "exposure": 0.25,
        "log_prob": -0.5,
        "observation": [0.0, 1.0],
        "beta/a": 2.0,
        "reward": -0.75,
        "reward/learning_progress": 0.25,
        "reward/teacher_grounded": -2.0,
        "matured_at": 1,
    }
