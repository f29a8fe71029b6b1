"""The file of samples: what a kill can do to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from atesd.errors import UserError
from atesd.evaluate.samples import Sample, SampleFile, key, plan
from atesd.tasks.problem import Problem

FIRST, SECOND = (Sample("p", n, "right", "5", 3, True, "so \\boxed{5}\n") for n in (0, 1))


def test_every_sample_is_planned_once() -> None:
    batches = plan([[1]] * 7, samples=5, batch_size=4)
    assert sorted((wanted.index, wanted.sample) for batch in batches for wanted in batch) == [
        (index, sample) for index in range(7) for sample in range(5)
    ]
    assert [len(batch) for batch in batches] == [4] * 8 + [3]


def test_keys_differ_by_seed_problem_and_sample() -> None:
    problems = [Problem(name, "", "", "", 0) for name in "ab"]
    assert len({key(seed, problem, sample) for seed in (0, 1) for problem in problems for sample in (0, 1)}) == 8


def test_a_torn_last_line_is_taken_off_and_written_again(tmp_path: Path) -> None:
    file = SampleFile(tmp_path / "samples.jsonl")
    assert file.read() == {}
    file.append([FIRST, SECOND])
    whole = file.path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[1])):
        file.path.write_bytes(whole[:-cut])
        assert file.read() == {("p", 0): FIRST}
        file.append([SECOND])
        assert file.path.read_bytes() == whole
    assert file.read() == {("p", 0): FIRST, ("p", 1): SECOND}


@pytest.mark.parametrize("line", ["{}", "[]", "x", '{"problem": "p"}'])
def test_a_line_that_is_no_sample_is_refused(line: str, tmp_path: Path) -> None:
    file = SampleFile(tmp_path / "samples.jsonl")
    file.path.write_text(line + "\n")
    with pytest.raises(UserError, match=r"samples\.jsonl line 1 is no sample"):
        file.read()


def test_a_repeated_sample_is_refused(tmp_path: Path) -> None:
    file = SampleFile(tmp_path / "samples.jsonl")
    file.append([FIRST, FIRST])
    with pytest.raises(UserError, match=r"line 2 repeats sample 0 of p"):
        file.read()
