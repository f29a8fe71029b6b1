"""Problems from a file: every malformed row stops the run and says where and why."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from atesd.errors import UserError
from atesd.tasks.arithmetic import split_of
from atesd.tasks.jsonl import Columns, Jsonl, JsonlConfig, read_problems
from atesd.tasks.problem import Split

GOOD = {"problem": "1+1", "reference": "1+1=2\n", "answer": "2"}


def row(**changes: Any) -> str:
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not ...})


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def rows(count: int) -> list[str]:
    return [row(problem=f"{number}+1", reference=f"a\nb{number}\n", answer=str(number)) for number in range(count)]


def test_good_rows_become_problems(tmp_path: Path) -> None:
    first, second = read_problems(write(tmp_path / "p.jsonl", row(), row(problem="2+2", extra=5)), Columns())
    assert (first.id, first.text, first.reference, first.answer) == ("p.jsonl:1", "1+1", "1+1=2\n", "2")
    assert first.difficulty == 1
    assert (second.id, second.text) == ("p.jsonl:2", "2+2")


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        ("{", None, "not JSON"),
        ("", None, "not JSON"),
        ('{"problem": "1"} x', None, "not JSON"),
        ("9" * 5000, None, "not JSON"),
        ("[" * 100_000, None, "not JSON"),
        ('["problem"]', None, "a list, not an object"),
        ('"problem"', None, "a str, not an object"),
        ("null", None, "a NoneType, not an object"),
        (row(problem=...), "problem", "missing"),
        (row(reference=...), "reference", "missing"),
        (row(answer=...), "answer", "missing"),
        (row(answer=2), "answer", "2, not a non-empty string"),
        (row(problem=None), "problem", "None, not a non-empty string"),
        (row(reference=["1+1"]), "reference", "not a non-empty string"),
        (row(reference=""), "reference", "'', not a non-empty string"),
        (row(problem=" \n"), "problem", "not a non-empty string"),
        (row(problem="\ud800"), "problem", "not text"),
        (row(answer="\udfff"), "answer", "not text"),
    ],
)
def test_a_malformed_row_is_refused_with_file_row_field_and_reason(
    bad: str, field: str | None, reason: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "p.jsonl", row(), row(problem="2+2"), bad, row(problem="3+3"))
    with pytest.raises(UserError) as caught:
        read_problems(path, Columns())
    message = str(caught.value)
    assert message.startswith(f"{path} row 3" + (f" field {field!r}: " if field else ": "))
    assert reason in message
    assert len(message.splitlines()) == 1
    assert len(message) < 500


def test_bytes_that_are_no_text_are_refused_with_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(row().encode() + b'\n{"problem": "\xff"}\n')
    with pytest.raises(UserError, match=r"p\.jsonl row 2: not UTF-8"):
        read_problems(path, Columns())


def test_a_missing_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path=.*absent\.jsonl is not a file"):
        read_problems(tmp_path / "absent.jsonl", Columns())
    with pytest.raises(UserError, match=r"data\.path=.* is not a file"):
        read_problems(tmp_path, Columns())
    with pytest.raises(UserError, match=r"data\.path=.*empty\.jsonl is empty"):
        read_problems(write(tmp_path / "empty.jsonl"), Columns())


def test_other_columns_and_boxed_answers(tmp_path: Path) -> None:
    columns = Columns(problem="question", reference="solution", answer="")
    line = json.dumps({"question": "q", "solution": "so \\boxed{1}, no, \\boxed{\\frac{1}{2}}"})
    (problem,) = read_problems(write(tmp_path / "p.jsonl", line), columns)
    assert (problem.text, problem.answer) == ("q", "\\frac{1}{2}")


@pytest.mark.parametrize("reference", ["no box here", "\\boxed{1", "\\boxed{}", "\\boxed{ }"])
def test_a_reference_without_a_boxed_answer_is_refused(reference: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", row(reference=reference))
    with pytest.raises(UserError, match=r"p\.jsonl row 1 field 'reference': no \\boxed\{\} answer"):
        read_problems(path, Columns(answer=""))


def test_too_few_rows_for_three_splits_are_refused(tmp_path: Path) -> None:
    problems = read_problems(write(tmp_path / "p.jsonl", *rows(2)), Columns())
    with pytest.raises(UserError, match=r"2 rows leave the .*(probe|evaluation).* split empty"):
        Jsonl(problems, r"\n", seed=0)


def task_of(tmp_path: Path, seed: int, count: int = 200) -> Jsonl:
    return JsonlConfig(path=str(write(tmp_path / "p.jsonl", *rows(count)))).build(seed)


def test_splits_follow_the_text_and_cover_the_file(tmp_path: Path) -> None:
    task = task_of(tmp_path, 0)
    assert sum(len(split) for split in task.splits.values()) == 200
    for split, problems in task.splits.items():
        assert all(split_of(problem.text) is split for problem in problems)


def test_duplicates_never_straddle_two_splits(tmp_path: Path) -> None:
    lines = rows(100)
    task = JsonlConfig(path=str(write(tmp_path / "p.jsonl", *lines, *lines))).build(0)
    texts = {split: {problem.text for problem in problems} for split, problems in task.splits.items()}
    assert sum(map(len, texts.values())) == 100


def test_every_epoch_is_a_permutation_of_its_own(tmp_path: Path) -> None:
    task = task_of(tmp_path, 3)
    size = len(task.splits[Split.training])
    epochs = [[task.training_problem(epoch * size + at).id for at in range(size)] for epoch in range(3)]
    everything = Counter(problem.id for problem in task.splits[Split.training])
    assert all(Counter(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert [task_of(tmp_path, 3).training_problem(at).id for at in range(size)] == epochs[0]
    assert [task_of(tmp_path, 4).training_problem(at).id for at in range(size)] != epochs[0]


@pytest.mark.parametrize("split", [Split.probe, Split.evaluation])
def test_held_out_is_the_same_for_every_seed_and_refuses_too_many(split: Split, tmp_path: Path) -> None:
    task = task_of(tmp_path, 0)
    size = len(task.splits[split])
    assert task.held_out(split, size) == task_of(tmp_path, 9).held_out(split, size)
    with pytest.raises(UserError, match=rf"{size + 1} {split.value} problems wanted, {size} in the file"):
        task.held_out(split, size + 1)


def test_a_step_pattern_that_is_no_pattern_is_refused(tmp_path: Path) -> None:
    path = str(write(tmp_path / "p.jsonl", *rows(200)))
    with pytest.raises(UserError, match=r"data\.step_pattern='\(' is not a regular expression"):
        JsonlConfig(path=path, step_pattern="(").build(0)
