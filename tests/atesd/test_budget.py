"""What a run spent, counted by hand."""

from __future__ import annotations

from atesd.budget import Budget, totals

ROWS = [
    {"tokens/prompted": 3, "tokens/generated": 10, "tokens/scored": 20, "tokens/trained": 13, "probe/tokens_scored": 5},
    {"tokens/prompted": 4, "tokens/generated": 12, "tokens/scored": 22, "tokens/trained": 16, "probe/tokens_scored": 5},
]


def test_totals_by_hand() -> None:
    found = totals(ROWS, {"load": 9.0, "rollout": 1.5, "teacher": 0.25, "evaluation": 7.0, "specimens": 3.0}, 10)
    assert found["total/updates"] == 2
    assert found["total/tokens/generated"] == 22
    assert found["total/seconds"] == 1.75
    assert found["total/flops_generation"] == 2 * 10 * (7 + 22)
    assert found["total/flops_scoring"] == 2 * 10 * 42
    assert found["total/flops_training"] == 6 * 10 * 29
    assert found["total/flops_probe"] == 2 * 10 * 10
    assert found["total/flops"] == 10 * (58 + 84 + 174 + 20)
    assert {budget.value for budget in Budget} <= set(found)


def test_a_student_that_is_no_network_has_no_flops_and_no_tokens() -> None:
    assert totals([{"update": 1, "loss/optimised": 0.1}], {"environment": 0.5}, 0) == {
        "total/updates": 1,
        "total/seconds": 0.5,
    }


def test_a_run_without_training_spent_nothing() -> None:
    assert totals([], {"evaluation": 3.0}, 10)["total/flops"] == 0
