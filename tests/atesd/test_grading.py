"""Mathematical answers: equal however written, and no answer takes longer than its time."""

from __future__ import annotations

import time

import pytest

from atesd import grading
from atesd.verify import Grade


@pytest.mark.parametrize(
    ("given", "expected", "grade"),
    [
        (r"\frac{1}{2}", "0.5", Grade.right),
        ("073", "73", Grade.right),
        ("1,000", "1000", Grade.right),
        (r"\dfrac{3}{4}", r"\frac34", Grade.right),
        (r"2\sqrt 2", r"\sqrt{8}", Grade.right),
        ("x=5", "5", Grade.right),
        (r"\{2,1\}", r"\{1,2\}", Grade.right),
        ("(2,1)", "(1,2)", Grade.wrong),
        ("6", "5", Grade.wrong),
        ("", "5", Grade.wrong),
        (None, "5", Grade.no_answer),
        ("9" * 2000, "5", Grade.wrong),
    ],
)
def test_answers(given: str | None, expected: str, grade: Grade) -> None:
    assert grading.grades([(given, expected)]) == [grade]


def test_hostile_answers_are_killed_and_the_next_are_graded(monkeypatch: pytest.MonkeyPatch) -> None:
    grading.grades([("1", "2")])  # the children are ready
    monkeypatch.setattr(grading, "SECONDS", 1.0)
    hostile = [r"9^{9^{9^{9}}}", "1000000000!", r"\binom{10^9}{5\cdot 10^8}"]
    started = time.perf_counter()
    found = grading.grades([(answer, "5") for answer in hostile])
    assert set(found) <= {Grade.timed_out, Grade.crashed}
    assert time.perf_counter() - started < 30
    monkeypatch.setattr(grading, "SECONDS", 60.0)
    assert grading.grades([("10/2", "5"), ("4", "5")]) == [Grade.right, Grade.wrong]


def test_text_is_compared_without_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "_pool", None)
    assert grading.grades([(" 5", "5"), (None, "5")]) == [Grade.right, Grade.no_answer]
