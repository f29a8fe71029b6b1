"""Data sets by name: their columns, and what a user without network is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from atesd.errors import UserError
from atesd.registry import config_of
from atesd.tasks.gsm8k import Gsm8kConfig
from atesd.tasks.problem import Split

GSM8K = Path(os.environ.get("ATESD_DATA", "absent")) / "gsm8k_train.jsonl"


def test_gsm8k_rows(tmp_path: Path) -> None:
    lines = [
        json.dumps({"question": f"{n} clips?", "answer": f"It is {n}+1 = <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1}"})
        for n in range(100)
    ]
    (tmp_path / "g.jsonl").write_text("\n".join(lines))
    config = Gsm8kConfig(name="gsm8k", path=str(tmp_path / "g.jsonl"))
    problem = next(p for problems in config.build(0).splits.values() for p in problems if p.text == "7 clips?")
    assert (problem.reference, problem.answer) == ("It is 7+1 = 8.\n", "8")
    assert [p.answer for p in config.benchmark(2)] == ["1", "2"]
    with pytest.raises(UserError, match="problems=101 wanted, but data=gsm8k has 100"):
        config.benchmark(101)


@pytest.mark.parametrize(("name", "column"), [("math", "solution"), ("openthoughts_math", "solution")])
def test_boxed_solutions(name: str, column: str, tmp_path: Path) -> None:
    lines = [json.dumps({"problem": f"p{n}", column: f"First.\nSo \\boxed{{\\frac{{{n}}}{{2}}}}."}) for n in range(100)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    task = config_of("data", name)(name=name, path=str(tmp_path / "m.jsonl")).build(0)
    problem = task.training_problem(0)
    assert problem.answer == rf"\frac{{{problem.text[1:]}}}{{2}}"
    assert task.steps(problem.reference) == ["First.\n", f"So \\boxed{{{problem.answer}}}."]


@pytest.mark.parametrize("name", ["aime24", "aime25", "hmmt25", "math500"])
def test_evaluation_sets_are_not_trained_on_and_read_a_local_copy(name: str, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(json.dumps({"problem": "p", "answer": 73}))
    config = config_of("data", name)(name=name, path=str(tmp_path / "e.jsonl"))
    assert [(problem.text, problem.answer) for problem in config.benchmark(None)] == [("p", "73")]
    with pytest.raises(UserError, match=f"data={name} is an evaluation set"):
        config.build(0)


def test_without_network_the_file_to_bring_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(UserError) as caught:
        config_of("data", "aime24")(name="aime24").benchmark(None)
    assert "data.hub=HuggingFaceH4/aime_2024 split train cannot be had" in str(caught.value)
    assert "with the columns problem and answer: data.path=FILE" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_word_problems_without_end() -> None:
    pytest.importorskip("reasoning_gym")
    config = config_of("data", "gsm_symbolic")(name="gsm_symbolic")
    task = config.build(0)
    drawn = [task.training_problem(position) for position in range(20)]
    assert drawn == [config.build(0).training_problem(position) for position in range(20)]
    assert drawn != [config.build(1).training_problem(position) for position in range(20)]
    probe, evaluation = task.held_out(Split.probe, 20), task.held_out(Split.evaluation, 20)
    assert evaluation == config.build(5).held_out(Split.evaluation, 20) == config.benchmark(20)
    assert len({problem.text for problem in [*drawn, *probe, *evaluation]}) == 60
    assert all("####" not in problem.reference and problem.reference.strip() for problem in drawn)
    assert all("".join(task.steps(problem.reference)) == problem.reference for problem in drawn)
    with pytest.raises(UserError, match="data=gsm_symbolic makes problems without end; say how many: problems="):
        config.benchmark(None)


@pytest.mark.skipif(not GSM8K.is_file(), reason="needs GSM8K's training file in $ATESD_DATA")
def test_all_of_gsm8k_is_read() -> None:
    task = Gsm8kConfig(name="gsm8k", path=str(GSM8K)).build(0)
    assert {split.value: len(rows) for split, rows in task.splits.items()} == {
        "training": 5993,
        "probe": 398,
        "evaluation": 1082,
    }
