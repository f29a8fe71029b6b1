"""Problems too long for a model, found before a run and not in the update that draws them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from atesd.errors import UserError
from atesd.frame import Frame
from atesd.tasks.problem import Problem
from atesd.training.language_model import LanguageModel


def refuse_too_long(language: LanguageModel, problems: Sequence[Problem]) -> None:
    """Refuse problems whose bare prompt leaves no room for a completion, which every method samples or scores.

    Raises:
        UserError: there are some; says how many, and names the first.
    """
    style, frame = language.style, language.frames.student
    found = _too_long(language, problems, frame, style.student_prompt, language.student_prompt)
    if found:
        raise UserError(
            f"{len(found)} of {len(problems)} training problems do not fit the model, the first: {found[0]}"
        )


def warn_of_too_long(language: LanguageModel, problems: Sequence[Problem]) -> None:
    """Say which problems a teacher that is shown the whole reference could not read; no method has to show it all."""
    style, frame = language.style, language.frames.teacher
    found = _too_long(
        language,
        problems,
        frame,
        lambda problem: style.teacher_prompt(problem, problem.reference),
        lambda problem: language.teacher_prompt(problem, problem.reference),
    )
    if found:
        print(
            f"warning: {len(found)} of {len(problems)} training problems do not fit a teacher that is shown the "
            f"whole reference; an update that shows one stops the run. The first: {found[0]}",
            file=sys.stderr,
        )


def _too_long(
    language: LanguageModel,
    problems: Sequence[Problem],
    frame: Frame,
    text: Callable[[Problem], str],
    encode: Callable[[Problem], list[int]],
) -> list[UserError]:
    """Return the errors of the problems whose prompt does not fit."""
    found = []
    for problem in problems:
        if frame.most_tokens(text(problem)) + language.room > language.context:  # else there is nothing to encode
            try:
                encode(problem)
            except UserError as error:
                found.append(error)
    return found
