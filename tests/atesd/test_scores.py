"""Scores: worked numbers, and pass@k against what it estimates."""

from __future__ import annotations

from itertools import combinations

import pytest

from atesd.evaluate import scores
from atesd.evaluate.samples import Sample
from atesd.grading import grades
from atesd.tasks.problem import Problem
from atesd.verify import Grade, as_text


def samples(*answers: str | None, expected: str = "5") -> list[Sample]:
    """Return samples with these answers, graded as text."""
    found = as_text([(answer, expected) for answer in answers])
    return [
        Sample("p", n, grade.value, answer, 3, True, "")
        for n, (answer, grade) in enumerate(zip(answers, found, strict=True))
    ]


@pytest.mark.parametrize(("n", "right"), [(5, 0), (5, 1), (5, 3), (5, 5), (7, 2)])
def test_pass_at_k_is_the_share_of_all_draws_of_k_with_a_right_one(n: int, right: int) -> None:
    for k in range(1, n + 1):
        draws = list(combinations([True] * right + [False] * (n - right), k))
        assert scores.pass_at_k(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["5", "5", "4"], 1.0),
        (["5", "4", "4"], 0.0),
        (["5", "4"], 0.5),
        (["5", "4", "3"], 1 / 3),
        (["5", "5", "4", "4", "3"], 0.5),
        (["5", None, None], 1.0),
        (["5", "5", "4", "3", "2"], 1.0),
        (["4", None], 0.0),
        ([None], 0.0),
    ],
)
def test_majority(answers: list[str | None], expected: float) -> None:
    assert scores.majority(samples(*answers), as_text) == pytest.approx(expected)


def test_wrong_answers_that_are_equal_vote_together() -> None:
    split = samples("5", "5", "1/2", "0.5", r"\frac{1}{2}")
    assert scores.majority(split, as_text) == 1.0
    assert scores.majority(split, grades) == 0.0


def test_an_answer_that_outran_its_time_is_not_compared_again() -> None:
    slow = [Sample("p", n, Grade.timed_out.value, answer, 3, True, "") for n, answer in enumerate(["9!", "8!"])]

    def refuse(pairs: object) -> list[Grade]:
        assert pairs == []
        return []

    assert scores.majority([*samples("5"), *slow], refuse) == pytest.approx(1 / 3)


def test_summary_of_two_problems() -> None:
    groups = [samples("5", "5", "4", None), samples("4", "4", "3", "4")]
    rows = [scores.problem_row(Problem(f"p{n}", "", "", "5", 0), group, as_text) for n, group in enumerate(groups)]
    found = scores.summary(rows, [[sample.right for sample in group] for group in groups])
    assert found["average_at_n"] == 2 / 8
    assert found["majority_at_n"] == 0.5
    assert found["pass_at_k"] == {"1": 0.25, "2": pytest.approx((1 - 1 / 6) / 2), "4": 0.5}
    assert found["intervals"]["average_at_n"]["problems"] == (0.0, 0.5)
    low, high = found["intervals"]["average_at_n"]["samples"]
    assert 0 <= low < 0.25 < high <= 0.5
    assert [row["right"] for row in found["problems"]] == [2, 0]
