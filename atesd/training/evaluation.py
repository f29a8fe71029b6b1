"""Greedy accuracy of a model on held-out problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atesd.tasks.problem import Problem
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import Rollout
from atesd.verify import Grade


@dataclass(frozen=True)
class Verdicts:
    """Right or wrong per problem, in the order asked, and the student tokens it took."""

    correct: list[bool]
    tokens: int


def answer(
    rollout: Rollout,
    language: LanguageModel,
    problems: list[Problem],
    batch_size: int,
    prompt: Callable[[Problem], list[int]],
    most: int = 0,
) -> Verdicts:
    """Answer every problem greedily after its prompt and grade the final answers.

    Args:
        most: problems of the rank that has most of them: ranks that share an engine must call it equally often.
    """
    # Prompts of one length share a batch, so that little of it is padding.
    order = sorted(range(len(problems)), key=lambda index: len(problems[index].text))
    correct = [False] * len(problems)
    tokens = 0
    for start in range(0, max(len(order), most), batch_size):
        rows = order[start : start + batch_size]
        prompts = [prompt(problems[row]) for row in rows]
        completions = rollout.generate(prompts, keys=None)
        tokens += sum(map(len, completions))
        grades = language.style.grade([problems[row] for row in rows], list(map(language.decode, completions)))
        for row, grade in zip(rows, grades, strict=True):
            correct[row] = grade is Grade.right
    return Verdicts(correct, tokens)
