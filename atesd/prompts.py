"""Student and teacher text. The student sees the bare problem; the teacher also what is revealed, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from atesd import grading
from atesd.frame import Frames, Templates, frames
from atesd.tasks.problem import Problem
from atesd.verify import Grade, Pair, as_text, last_boxed, last_marked


@dataclass(frozen=True)
class PromptStyle:
    """Templates with the fields ``{problem}``, ``{revealed}`` and ``{answer}``, and how a final answer is graded.

    Attributes:
        marker: what a final answer follows; empty where it stands in ``\\boxed{}``.
        compare: grades pairs of a given and an expected answer.
        question: the prompt of ``atesd.evaluate``; empty where it is the student's.
        concise: the bare problem with an instruction to answer concisely; empty where the style has none.
        separator: what stands between a reference and the final answer, unless the reference ends with it.
    """

    student: str
    teacher: str
    answer: str
    marker: str = ""
    compare: Callable[[Sequence[Pair]], list[Grade]] = as_text
    question: str = ""
    concise: str = ""
    separator: str = ""

    def frames(self, tokenizer: Any, templates: Templates, owner: str) -> Frames:
        """Return what surrounds the prompts: nothing."""
        return Frames()

    def student_prompt(self, problem: Problem) -> str:
        return self.student.format(problem=problem.text)

    def teacher_prompt(self, problem: Problem, revealed: str) -> str:
        """Return the teacher's prompt; the answer follows what is revealed of the reference, unless it ends it."""
        return self.teacher.format(
            problem=problem.text, revealed=revealed, answer=self._missing_answer(problem, revealed)
        )

    def evaluation_prompt(self, problem: Problem) -> str:
        return (self.question or self.student).format(problem=problem.text)

    def blank_prompt(self, problem: Problem) -> str:
        """Return the teacher's form of the prompt with nothing in it, not even the answer."""
        return self.teacher.format(problem=problem.text, revealed="", answer="")

    def concise_prompt(self, problem: Problem) -> str:
        return self.concise.format(problem=problem.text)

    def boxed(self, problem: Problem) -> str:
        return self.answer.format(answer=problem.answer)

    def reference_completion(self, problem: Problem) -> str:
        """Return the whole reference as a completion: the solution, then the final answer in its box."""
        return problem.reference + self._missing_answer(problem, problem.reference)

    def reasoning(self, completion: str) -> str:
        """Return a completion without its final answer."""
        reasoning, found, _ = completion.rpartition(self.marker or r"\boxed{")
        return reasoning if found else completion

    def final_answer(self, completion: str) -> str | None:
        """Return the answer a completion ends with, or None."""
        return last_marked(completion, self.marker) if self.marker else last_boxed(completion)

    def grade(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Grade]:
        """Grade the final answers of completions."""
        given = map(self.final_answer, completions)
        return self.compare([(answer, problem.answer) for answer, problem in zip(given, problems, strict=True)])

    def is_correct(self, problem: Problem, completion: str) -> bool:
        return self.grade([problem], [completion]) == [Grade.right]

    def _missing_answer(self, problem: Problem, text: str) -> str:
        """Return the boxed answer, or nothing where the text already ends with that box."""
        if not self.marker and last_boxed(text) == problem.answer:
            return ""
        separator = "" if not text or text.endswith(self.separator) else self.separator
        return separator + self.boxed(problem)


class ChatStyle(PromptStyle):
    """Prompts that are the user's turn of a conversation, which the tokenizer's chat template renders."""

    def frames(self, tokenizer: Any, templates: Templates, owner: str) -> Frames:
        return frames(tokenizer, templates, owner)


# The testbed's own format, which its base models were pre-trained on. ours
TESTBED = PromptStyle(
    student="P{problem}\nS", teacher="P{problem}\nR{revealed}{answer}\nS", answer="#{answer}", marker="#"
)
# OPSD v3's wording (public code of arXiv 2601.18734), word for word; the answer's place in the reference is ours.
INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{{}}."
# For CRISP, which publishes its instruction in other words. ours
CONCISELY = r"Reason as concisely as you can, without repeating yourself, and put your final answer within \boxed{{}}."
TRANSITION = (
    "After reading the reference solution above, make sure you truly understand the reasoning behind each step \u2014 "
    "do not copy or paraphrase it. Now, using your own words and independent reasoning, derive the same final answer "
    "to the problem above. Think step by step, explore different approaches, and don't be afraid to backtrack or "
    "reconsider if something doesn't work out:"
)
WORDS: dict[str, Any] = {
    "student": "Problem: {problem}\n\n" + INSTRUCTION,
    "teacher": "Problem: {problem}\n\nHere is a reference solution to this problem:\n"
    "=== Reference Solution Begin ===\n{revealed}{answer}\n=== Reference Solution End ===\n\n\n"
    f"{TRANSITION}\n\n{INSTRUCTION}",
    "question": "{problem}\n\n" + INSTRUCTION,
    "concise": "Problem: {problem}\n\n" + CONCISELY,
    "answer": r"\boxed{{{answer}}}",
    "separator": "\n",
    "compare": grading.grades,
}
CHAT = ChatStyle(**WORDS)
# For base models without a chat template: the same words, bare. ours
BARE = {prompt: WORDS[prompt] + "\n" for prompt in ("student", "teacher", "question", "concise")}
PLAIN = PromptStyle(**WORDS | BARE)
STYLES = {"testbed": TESTBED, "chat": CHAT, "plain": PLAIN}
