"""Student and teacher text. The student sees the bare problem; the teacher also what is revealed, and the answer."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.tasks.problem import Problem
from atesd.verify import last_boxed, last_marked, same_answer


@dataclass(frozen=True)
class PromptStyle:
    """Templates with the fields ``{problem}``, ``{revealed}`` and ``{answer}``, and the marker of a final answer.

    Attributes:
        concise: the bare problem with an instruction to answer concisely; empty where the style has none.
    """

    student: str
    teacher: str
    answer: str
    marker: str = ""
    concise: str = ""

    def student_prompt(self, problem: Problem) -> str:
        return self.student.format(problem=problem.text)

    def teacher_prompt(self, problem: Problem, revealed: str) -> str:
        return self.teacher.format(problem=problem.text, revealed=revealed, answer=self.boxed(problem))

    def blank_prompt(self, problem: Problem) -> str:
        """Return the teacher's form of the prompt with nothing in it, not even the answer."""
        return self.teacher.format(problem=problem.text, revealed="", answer="")

    def concise_prompt(self, problem: Problem) -> str:
        return self.concise.format(problem=problem.text)

    def boxed(self, problem: Problem) -> str:
        return self.answer.format(answer=problem.answer)

    def reference_completion(self, problem: Problem) -> str:
        """Return the whole reference as a completion: the solution, then the final answer in its box."""
        return problem.reference + self.boxed(problem)

    def reasoning(self, completion: str) -> str:
        """Return a completion without its final answer."""
        reasoning, found, _ = completion.rpartition(self.marker or r"\boxed{")
        return reasoning if found else completion

    def is_correct(self, problem: Problem, completion: str) -> bool:
        given = last_marked(completion, self.marker) if self.marker else last_boxed(completion)
        return same_answer(given, problem.answer)


# The testbed's own format, which its base models were pre-trained on. ours
TESTBED = PromptStyle(
    student="P{problem}\nS", teacher="P{problem}\nR{revealed}{answer}\nS", answer="#{answer}", marker="#"
)
STYLES = {"testbed": TESTBED}
