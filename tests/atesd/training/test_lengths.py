"""Problems too long for the model are found before a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.models import ModelConfig
from atesd.stopwatch import Stopwatch
from atesd.tasks.jsonl import JsonlConfig
from atesd.tasks.problem import Problem, Split
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.language_model import LanguageModel
from atesd.training.lengths import refuse_too_long, warn_of_too_long

ROOM = 8


@pytest.fixture
def roomy(language: LanguageModel) -> LanguageModel:
    return replace(language, room=ROOM)


def long(problem: Problem, spare: int, language: LanguageModel) -> Problem:
    """Return a problem whose bare prompt leaves so many tokens besides the completion's; a character is a token."""
    around = len(language.student_prompt(replace(problem, text="")))
    return replace(problem, id="long", text="1" * (language.context - ROOM - around - spare))


def test_a_bare_prompt_may_fill_the_context_and_not_exceed_it(roomy: LanguageModel, problem: Problem) -> None:
    refuse_too_long(roomy, [problem, long(problem, 0, roomy)])
    with pytest.raises(UserError, match=r"^1 of 2 training problems do not fit .*: problem long: 249 tokens"):
        refuse_too_long(roomy, [problem, long(problem, -1, roomy)])


def test_a_whole_reference_may_fill_the_context_and_not_exceed_it(
    roomy: LanguageModel, problem: Problem, capsys: pytest.CaptureFixture[str]
) -> None:
    around = len(roomy.teacher_prompt(problem, ""))
    full = replace(problem, reference="1" * (roomy.context - ROOM - around))
    warn_of_too_long(roomy, [problem, full])
    assert capsys.readouterr().err == ""
    warn_of_too_long(roomy, [problem, replace(full, reference=full.reference + "1")])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 1 of 2 training problems do not fit a teacher that is shown the whole reference;")
    assert "The first: problem 07+48*3-09, teacher prompt: 249 tokens and the 8 of a completion make more than" in line


def test_a_run_is_refused_before_it_begins(
    settings: Callable[..., RunConfig], roomy: LanguageModel, problem: Problem, tmp_path: Path
) -> None:
    rows = [{"problem": f"0{n}+1{m}", "reference": "1", "answer": "1"} for n in range(9) for m in range(9)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in [*rows, row_of(long(problem, -1, roomy))]))
    run = settings(data=JsonlConfig(name="jsonl", path=str(data)), model=ModelConfig(path=str(tmp_path / "base")))
    task = run.data.build(0)
    assert any(len(each.text) > 200 for each in task.listed()[Split.training])
    with pytest.raises(UserError, match="training problems do not fit the model, the first: problem"):
        DeepSpeedTrainer(run, run.signal.build(run.exposure.cut), task, Stopwatch())


def row_of(problem: Problem) -> dict[str, str]:
    return {"problem": problem.text, "reference": "1", "answer": "1"}
