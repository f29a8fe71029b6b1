"""From a row to a problem: which columns hold what, and where the final answer stands.

Every malformed row is refused with its file, row, field, reason and next step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from atesd import grading
from atesd.errors import UserError
from atesd.tasks.problem import Problem
from atesd.tasks.rows import Row
from atesd.verify import Grade, last_boxed, last_marked

# JSON can spell a lone surrogate, which no text file can hold.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass
class Columns:
    """Which fields of a row hold what.

    Attributes:
        answer: an empty one takes the answer from the reference: what follows the last ``data.answer_marker``, or the
            content of the last ``\\boxed{}`` where there is no marker.
    """

    problem: str = "problem"
    reference: str = "reference"
    answer: str = "answer"


def posed(row: Row, columns: Columns, marker: str) -> Problem:
    """Return a row as a problem to evaluate: without its reference, which may be missing.

    Raises:
        UserError: a field is missing or no text, or there is no answer.
    """
    answer = _text(row, columns.answer) if columns.answer else _found(row, columns.reference, marker)[1]
    return Problem(row.id, _text(row, columns.problem), "", answer, 0)


def worked(row: Row, columns: Columns, marker: str) -> Problem:
    """Return a row as a problem to train on.

    Raises:
        UserError: a field is missing or no text, or there is no answer.
    """
    if columns.answer:
        reference, answer = _text(row, columns.reference), _text(row, columns.answer)
    else:
        reference, answer = _found(row, columns.reference, marker)
    steps = len([line for line in reference.splitlines() if line.strip()])
    return Problem(row.id, _text(row, columns.problem), reference, answer, steps)


def unsupported(problems: Sequence[Problem]) -> list[int]:
    """Return which problems have a reference that does not reach their answer.

    A reference reaches it where its last box holds an equal answer or, without a box, where it mentions the answer.
    """
    boxes = [last_boxed(problem.reference) for problem in problems]
    boxed = [index for index, box in enumerate(boxes) if box is not None]
    grades = grading.grades([(boxes[index], problems[index].answer) for index in boxed])
    wrong = {index for index, grade in zip(boxed, grades, strict=True) if grade is not Grade.right}
    unboxed = set(range(len(problems))) - set(boxed)
    return sorted(
        wrong | {index for index in unboxed if not mentions(problems[index].reference, problems[index].answer)}
    )


def mentions(reference: str, answer: str) -> bool:
    """Return whether a text holds an answer, white space, thousands separators and LaTeX's dollars aside.

    >>> mentions("that makes $ 1,000 in all", "1000"), mentions("so 105 is it", "5")
    (True, False)
    """
    text, sought = (re.sub(r"[\s$]|(?<=\d),(?=\d{3})", "", words) for words in (reference, answer))
    inside_number = (r"(?<!\d)" if sought[:1].isdigit() else "", r"(?!\d)" if sought[-1:].isdigit() else "")
    return re.search(inside_number[0] + re.escape(sought) + inside_number[1], text) is not None


def _found(row: Row, column: str, marker: str) -> tuple[str, str]:
    """Return the reference and the answer that stands in it; what follows a marker is no part of the reference."""
    text = _text(row, column)
    answer = last_marked(text, marker) if marker else last_boxed(text)
    if answer is None or not answer.strip():
        sought = f"nothing after {marker!r}" if marker else "no \\boxed{} answer"
        raise row.error(f"{sought}; mend the row, or name data.columns.answer or data.answer_marker", column)
    reference = text.rpartition(marker)[0] if marker else text
    if not reference.strip():
        raise row.error(f"no solution before {marker!r}; mend the row", column)
    return reference, answer


def _text(row: Row, column: str) -> str:
    value = row.fields.get(column)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        value = str(value)  # an answer that a file holds as a number
    if isinstance(value, str) and value.strip() and not _HALF_CHARACTER.search(value):
        return value
    if column not in row.fields:
        reason = f"missing; the row has {', '.join(row.fields) or 'no fields'}"
    elif isinstance(value, str) and value.strip():
        reason = f"{value!r} holds half a character, so it is not text"
    else:
        reason = f"{value!r}, not a non-empty string"
    raise row.error(f"{reason}; mend the row or set data.columns", column)


def unsupported_error(problem: Problem, columns: Columns) -> UserError:
    """Return the error of a reference that does not reach its answer."""
    return UserError(
        f"{problem.id} field {columns.reference!r}: the reference does not reach the answer {problem.answer!r}; mend "
        "the row, or leave such rows out with data.invalid=skip"
    )
