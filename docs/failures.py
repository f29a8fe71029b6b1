"""Count how a student fails: ``python docs/failures.py MODEL_FOLDER…``."""

from __future__ import annotations

import sys
from collections import Counter

from atesd.models import ModelConfig
from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.problem import Problem, Split
from atesd.training import language_model
from atesd.training.rollout import HfRolloutConfig

PROBLEMS = 600


def kind(problem: Problem, completion: str, expected: str, correct: bool) -> str:
    """Name what became of one problem."""
    if correct:
        return "right"
    if completion.count(";") != expected.count(";"):
        return "wrong number of steps"
    operations = [[step.split("=")[0][2:] for step in text.split(";")[:-1]] for text in (completion, expected)]
    return "wrong result" if operations[0] == operations[1] else "wrong operation copied"


def main() -> None:
    """Print a row per model and difficulty."""
    for folder in sys.argv[1:]:
        student = language_model.load(ModelConfig(path=folder))
        problems = Arithmetic(seed=0).held_out(Split.evaluation, PROBLEMS)
        prompts = [student.student_prompt(problem) for problem in problems]
        counts: dict[int, Counter[str]] = {}
        for problem, ids in zip(problems, HfRolloutConfig().build(student).generate(prompts, keys=None), strict=True):
            text, style = student.decode(ids), student.style
            found = kind(problem, text, style.reference_completion(problem), style.is_correct(problem, text))
            counts.setdefault(problem.difficulty, Counter())[found] += 1
        for difficulty, counted in sorted(counts.items()):
            print(folder, f"{difficulty} steps:", dict(counted.most_common()))


if __name__ == "__main__":
    main()
