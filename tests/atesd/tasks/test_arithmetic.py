"""The embedded testbed: right references, and splits that cannot overlap."""

from __future__ import annotations

import re
import zlib
from collections import Counter

import pytest

from atesd.tasks.arithmetic import PRETRAINING, Arithmetic, draw, split_of
from atesd.tasks.problem import Problem, Split

TEXT = re.compile(r"\d\d(?:[+-]\d\d|\*[2-9]){2,6}")


def evaluate(text: str) -> list[int]:
    """Evaluate left to right modulo 100, independently of the task; return every value on the way."""
    values = [int(text[:2])]
    for operator, operand in re.findall(r"([-+*])(\d+)", text[2:]):
        value, number = values[-1], int(operand)
        if operator == "+":
            value += number
        elif operator == "-":
            value -= number
        else:
            value *= number
        values.append(value % 100)
    return values


def check(problem: Problem) -> None:
    values = evaluate(problem.text)
    operations = re.findall(r"[-+*]\d+", problem.text[2:])
    worked = [f"{a:02d}{o}={b:02d};" for a, o, b in zip(values, operations, values[1:], strict=False)]
    assert TEXT.fullmatch(problem.text), problem
    assert problem.reference == "".join(worked), problem
    assert problem.answer == f"{values[-1]:02d}", problem
    assert problem.difficulty == len(operations), problem


def test_the_evaluator_by_hand() -> None:
    assert evaluate("07+48*3-09") == [7, 55, 65, 56]
    assert evaluate("05-10*9") == [5, 95, 55]


def test_references_are_right_in_every_split() -> None:
    for split in Split:
        for position in range(700):
            check(draw(split, seed=11, position=position, stream=0))


def test_every_difficulty_and_operator_comes_up() -> None:
    problems = [draw(Split.training, 0, position, PRETRAINING) for position in range(1500)]
    counts = Counter(problem.difficulty for problem in problems)
    assert set(counts) == {2, 3, 4, 5, 6}
    assert min(counts.values()) > 200
    operators = Counter("".join(re.findall(r"[-+*]", "".join(problem.text for problem in problems))))
    assert min(operators.values()) > 0.3 * sum(operators.values())


def test_splits_are_disjoint_over_thousands_of_draws_and_over_seeds() -> None:
    texts = {split: {draw(split, seed, at, stream=1).text for seed in range(4) for at in range(500)} for split in Split}
    assert all(len(found) > 1800 for found in texts.values())
    assert not texts[Split.training] & texts[Split.probe]
    assert not texts[Split.training] & texts[Split.evaluation]
    assert not texts[Split.probe] & texts[Split.evaluation]
    for split, found in texts.items():
        assert {split_of(text) for text in found} == {split}


def test_the_split_is_a_function_of_the_text_alone() -> None:
    for number in range(3000):
        text = f"problem {number}"
        bucket = zlib.crc32(text.encode()) % 100
        expected = Split.training if bucket < 80 else Split.probe if bucket < 85 else Split.evaluation
        assert split_of(text) is split_of(str(text)) is expected
    # Pinned, so that no later change moves a published problem from one split to another.
    assert [split_of(text).value for text in ("07+48*3-09", "99*9*9", "07+26-13-91+50")] == PINNED


PINNED = ["evaluation", "training", "probe"]


def test_a_position_determines_its_problem() -> None:
    task, again, other = Arithmetic(5), Arithmetic(5), Arithmetic(6)
    backwards = [again.training_problem(position) for position in reversed(range(50))][::-1]
    assert [task.training_problem(position) for position in range(50)] == backwards
    assert [other.training_problem(position) for position in range(50)] != backwards
    assert len({problem.text for problem in backwards}) > 45
    assert task.training_problem(10**9) == again.training_problem(10**9)


@pytest.mark.parametrize("split", [Split.probe, Split.evaluation])
def test_held_out_sets_are_the_same_for_every_seed_distinct_and_nested(split: Split) -> None:
    many = Arithmetic(0).held_out(split, 400)
    assert many == Arithmetic(1).held_out(split, 400)
    assert many[:100] == Arithmetic(0).held_out(split, 100)
    assert len({problem.id for problem in many}) == 400
    assert len({problem.text for problem in many}) == 400


def test_seed_zero_is_a_seed() -> None:
    assert Arithmetic(0).training_problem(0) != Arithmetic(1).training_problem(0)


def test_a_run_never_walks_the_stream_its_base_was_pretrained_on() -> None:
    pretrained = {Arithmetic(0, PRETRAINING).training_problem(at).text for at in range(400)}
    assert {Arithmetic(0).training_problem(at).text for at in range(400)} & pretrained == set()
