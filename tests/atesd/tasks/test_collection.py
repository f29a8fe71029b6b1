"""Problems from a file: every malformed row stops the run and says where and why."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from atesd.errors import UserError
from atesd.tasks.arithmetic import split_of
from atesd.tasks.collection import Collection, Invalid
from atesd.tasks.jsonl import JsonlConfig
from atesd.tasks.overlap import Found, OverlapConfig
from atesd.tasks.problem import Problem, Split
from atesd.tasks.records import Columns, worked
from atesd.tasks.rows import read

GOOD = {"problem": "1+1", "reference": "1+1=2\n", "answer": "2"}


def row(**changes: Any) -> str:
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not ...})


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def rows(count: int) -> list[str]:
    return [row(problem=f"{number}+1", reference=f"a\nb{number}\n", answer=str(number)) for number in range(count)]


def read_problems(path: Path, columns: Columns, marker: str = "") -> list[Problem]:
    return [worked(row, columns, marker) for row in read(path)]


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
        (row(answer=True), "answer", "True, not a non-empty string"),
        (row(answer=float("nan")), "answer", "nan, not a non-empty string"),
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
        JsonlConfig(path=str(write(tmp_path / "empty.jsonl"))).build(0)


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
        Collection("jsonl", problems, r"\n", seed=0, n=13)


def task_of(tmp_path: Path, seed: int, count: int = 200) -> Collection:
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
    with pytest.raises(UserError, match=rf"{size + 1} {split.value} problems wanted, {size} in the data"):
        task.held_out(split, size + 1)


def test_a_step_pattern_that_is_no_pattern_is_refused(tmp_path: Path) -> None:
    path = str(write(tmp_path / "p.jsonl", *rows(200)))
    with pytest.raises(UserError, match=r"data\.step_pattern='\(' is not a regular expression"):
        JsonlConfig(path=path, step_pattern="(").build(0)


def test_an_answer_may_be_a_number(tmp_path: Path) -> None:
    assert [
        p.answer for p in read_problems(write(tmp_path / "p.jsonl", row(answer=2), row(answer=0.5)), Columns())
    ] == [
        "2",
        "0.5",
    ]


def test_an_answer_after_a_marker(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", row(reference="1+1=2\n#### 2"), row(reference="no marker"))
    first, second = read(path)
    found = worked(first, Columns(answer=""), "####")
    assert (found.reference, found.answer) == ("1+1=2\n", "2")
    with pytest.raises(UserError, match=r"p\.jsonl row 2 field 'reference': nothing after '####'"):
        worked(second, Columns(answer=""), "####")


@pytest.mark.parametrize(
    ("reference", "answer"), [("it is 15", "5"), ("so \\boxed{4}", "5"), ("so 5, that is \\boxed{6}", "5")]
)
def test_an_answer_that_the_reference_does_not_reach_is_refused(reference: str, answer: str, tmp_path: Path) -> None:
    lines = [*rows(100), row(problem="q", reference=reference, answer=answer)]
    config = JsonlConfig(name="jsonl", path=str(write(tmp_path / "p.jsonl", *lines)))
    with pytest.raises(UserError, match=r"p\.jsonl:101 field 'reference': the reference does not reach the answer"):
        config.build(0)


def test_malformed_rows_are_skipped_where_asked_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*rows(100), row(answer=None), row(problem="q", reference="it is 6")]
    config = JsonlConfig(name="jsonl", path=str(write(tmp_path / "p.jsonl", *lines)), invalid=Invalid.skip)
    assert sum(map(len, config.build(0).splits.values())) == 100
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(", the first")[0] for line in said] == [
        "data=jsonl: 1 of 102 rows skipped",
        "data=jsonl: 1 of 101 rows skipped",
    ]


STORY = "a train leaves the station at noon with forty people and eleven dogs on board , says {}"


def test_problems_that_share_thirteen_words_share_a_split(tmp_path: Path) -> None:
    stories = [row(problem=STORY.format(f"teller {n}")) for n in range(40)]
    task = JsonlConfig(path=str(write(tmp_path / "p.jsonl", *rows(100), *stories))).build(0)
    told = [sum("train" in problem.text for problem in problems) for problems in task.splits.values()]
    assert sorted(told) == [0, 0, 40]


def test_an_overlap_with_an_evaluation_set_is_refused_or_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = str(write(tmp_path / "exam.jsonl", row(problem="2+2"), row(problem=STORY.format("the exam"))))
    trained = [row(problem=STORY.format(f"teller {n}")) for n in range(2)]
    path = str(write(tmp_path / "p.jsonl", *rows(100), *trained))
    if split_of(STORY.format("teller 0")) is Split.evaluation:
        raise AssertionError("choose another story: this one is not trained on")
    named = (
        r"2 training or probe problems share 13 words in a row with .*exam\.jsonl: p\.jsonl:101 with exam\.jsonl:2, p"
    )
    with pytest.raises(UserError, match=named):
        JsonlConfig(name="jsonl", path=path, overlap=OverlapConfig(against=[evaluation])).build(0)
    JsonlConfig(name="jsonl", path=path, overlap=OverlapConfig(against=[evaluation], found=Found.report)).build(0)
    assert "p.jsonl:101 with exam.jsonl:2" in capsys.readouterr().err
    JsonlConfig(name="jsonl", path=path, overlap=OverlapConfig(against=[evaluation], n=99)).build(0)


def test_an_evaluation_set_that_is_none_is_refused(tmp_path: Path) -> None:
    config = JsonlConfig(path=str(write(tmp_path / "p.jsonl", *rows(100))), overlap=OverlapConfig(against=["aime1066"]))
    with pytest.raises(UserError, match=r"data\.overlap\.against=aime1066 is neither a file nor one of aime24, "):
        config.build(0)


def test_csv_and_parquet_hold_the_same_problems(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    fields = [{"problem": f'{n}+1, or\n"so"', "answer": rf"\frac{{{n}}}{{2}}"} for n in range(3)]
    write(tmp_path / "p.jsonl", *map(json.dumps, fields))
    with (tmp_path / "p.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["problem", "answer"])
        table.writeheader()
        table.writerows(fields)
    parquet.write_table(pyarrow.Table.from_pylist(fields), tmp_path / "p.parquet")
    found = {}
    for kind in ("jsonl", "csv", "parquet"):
        problems = JsonlConfig(name="jsonl", path=str(tmp_path / f"p.{kind}")).benchmark(None)
        found[kind] = [(problem.text, problem.answer) for problem in problems]
    assert found["csv"] == found["parquet"] == found["jsonl"] == [(f["problem"], f["answer"]) for f in fields]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problem,answer\n1,2\n3\n", r"p\.csv row 3: 1 fields under 2 column names"),
        ("problem,problem\n1,2\n", r"p\.csv row 1: two columns .* have one name"),
        ('problem,answer\n"1,2\n', r"p\.csv row 2: not CSV"),
        ("problem,solution\n1,2\n", r"p\.csv row 2 field 'answer': missing; the row has problem, solution"),
    ],
)
def test_malformed_csv_is_refused_by_row(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        JsonlConfig(path=str(tmp_path / "p.csv")).benchmark(None)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "p.parquet").write_text("{}")
    with pytest.raises(UserError, match=r"data\.path=.*p\.parquet is not parquet"):
        JsonlConfig(path=str(tmp_path / "p.parquet")).benchmark(None)
