"""Final answers: found in the text, compared as text, never executed."""

from __future__ import annotations

import time

import pytest

from atesd.prompts import PromptStyle
from atesd.tasks.problem import Problem
from atesd.verify import last_boxed, last_marked, same_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{1} and \boxed{2}.", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{{{a}}}b}", "{{a}}"),
        (r"\boxed{}", ""),
        (r"\boxed{a", None),
        (r"\boxed{{a}", None),
        ("boxed{5}", None),
        (r"\boxed 5", None),
        ("", None),
        ("}}}{{{", None),
    ],
)
def test_last_boxed(text: str, answer: str | None) -> None:
    assert last_boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [("07+48=55;#55", "55"), ("#1#2", "2"), ("# 5 \n", "5"), ("#", ""), ("55", None), ("", None)],
)
def test_last_marked(text: str, answer: str | None) -> None:
    assert last_marked(text, "#") == answer


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ("5", "5", True),
        (" 5\n", "5", True),
        ("1  1/2", "1 1/2", True),
        ("11/2", "1 1/2", False),
        ("05", "5", False),
        ("5.0", "5", False),
        ("", "5", False),
        (None, "5", False),
        (None, "", False),
        ("x", "X", False),
    ],
)
def test_same_answer(given: str | None, expected: str, same: bool) -> None:
    assert same_answer(given, expected) is same


HOSTILE = [
    "__import__('pathlib').Path('owned').touch()",
    "$(touch owned)",
    "`touch owned`",
    "9**9**9**9",
    "{0.__class__.__init__.__globals__}",
    "%s%s%s%n",
    "\\input{/etc/passwd}",
    "1; import os",
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_text_is_compared_and_never_executed(
    answer: str, tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    boxed = PromptStyle("{problem}", "{problem}{revealed}{answer}", "\\boxed{{{answer}}}")
    marked = PromptStyle("{problem}", "{problem}{revealed}{answer}", "#{answer}", "#")
    for style in (boxed, marked):
        problem = Problem("p", answer, answer, answer, 1)
        assert style.is_correct(problem, style.reference_completion(problem))
        assert not style.is_correct(Problem("p", "", "", "1", 1), style.boxed(problem))
        assert style.student_prompt(problem) == answer
        assert style.teacher_prompt(problem, answer) == answer + answer + style.boxed(problem)
    assert not list(__import__("pathlib").Path().iterdir())


def test_a_long_hostile_completion_takes_no_time() -> None:
    started = time.perf_counter()
    for text in ("\\boxed{" * 100_000, "{" * 1_000_000, "\\boxed{" + "{" * 1_000_000, "#" * 1_000_000):
        assert last_boxed(text) is None
        last_marked(text, "#")
    assert time.perf_counter() - started < 5


def test_reasoning_is_the_completion_without_its_final_answer() -> None:
    marked = PromptStyle("{problem}", "{problem}", "#{answer}", "#")
    assert marked.reasoning("07+48=55;#55") == "07+48=55;"
    assert marked.reasoning("no answer") == "no answer"
    boxed = PromptStyle("{problem}", "{problem}", "\\boxed{{{answer}}}")
    assert boxed.reasoning("so \\boxed{1}, no, \\boxed{2}.") == "so \\boxed{1}, no, "
