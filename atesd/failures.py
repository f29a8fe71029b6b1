"""Count how a student of the embedded testbed fails: ``python -m atesd.failures MODEL_FOLDER…``."""

from __future__ import annotations

import sys
from collections import Counter

from atesd.arguments import run_main
from atesd.errors import UserError
from atesd.models import ModelConfig
from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.problem import Split
from atesd.training.rollout import HfRolloutConfig

PROBLEMS = 600


def kind(completion: str, expected: str, correct: bool) -> str:
    """Name what became of one problem.

    >>> kind("53-12=41;41+32=73;73-12=61;#61", "53-12=41;41+32=73;#73", correct=False)
    'wrong number of steps'
    """
    if correct:
        return "right"
    if completion.count(";") != expected.count(";"):
        return "wrong number of steps"
    operations = [[step.split("=")[0][2:] for step in text.split(";")[:-1]] for text in (completion, expected)]
    return "wrong result" if operations[0] == operations[1] else "wrong operation copied"


def count(folder: str) -> dict[int, Counter[str]]:
    """Return what became of the first problems of the evaluation set, per difficulty."""
    from atesd.training import language_model

    student = language_model.load(ModelConfig(path=folder))
    problems = Arithmetic(seed=0).held_out(Split.evaluation, PROBLEMS)
    prompts = [student.student_prompt(problem) for problem in problems]
    counts: dict[int, Counter[str]] = {}
    for problem, ids in zip(problems, HfRolloutConfig().build(student).generate(prompts, keys=None), strict=True):
        text, style = student.decode(ids), student.style
        found = kind(text, style.reference_completion(problem), style.is_correct(problem, text))
        counts.setdefault(problem.difficulty, Counter())[found] += 1
    return counts


def main() -> None:
    """Print a row per model and difficulty."""
    if len(sys.argv) < 2:
        raise UserError("give the folders of one or more models: python -m atesd.failures MODEL_FOLDER…")
    for folder in sys.argv[1:]:
        for difficulty, counted in sorted(count(folder).items()):
            print(folder, f"{difficulty} steps:", dict(counted.most_common()))


if __name__ == "__main__":
    run_main(main)
