"""Three faults measured in a released trainer (TRL 1.16.0), each without a warning, that this one must not have."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from atesd.config import RunConfig, TeacherConfig, TeacherKind
from atesd.distillation import exposed_prompts
from atesd.errors import UserError
from atesd.exposure import Cut, Revealed
from atesd.models import ModelConfig
from atesd.stopwatch import Stopwatch
from atesd.tasks.problem import Problem
from atesd.training import language_model, teacher, weights
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import completion_logits, score


def trainer(run: RunConfig) -> DeepSpeedTrainer:
    return DeepSpeedTrainer(run, run.signal.build(Cut.step), run.data.build(run.seed), Stopwatch())


def distance(left: torch.nn.Module, right: torch.nn.Module) -> float:
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return float(sum((one.detach() - other.detach()).norm() for one, other in pairs))


def test_a_long_reference_never_pushes_the_problem_out_of_the_teachers_prompt(
    settings: Callable[..., RunConfig], language: LanguageModel, problem: Problem
) -> None:
    """There: the teacher's prompt is cut on the left at 512 tokens, and the problem is what is lost."""
    context = trainer(settings()).collector
    room = language.context - context.language.room  # 256 - 8
    around = len(context.language.style.teacher_prompt(problem, ""))  # a character is a token
    long = replace(problem, reference="1" * (room - around))
    (prompt,) = exposed_prompts(context, [long], [Revealed(long.reference, 1.0)])
    assert len(prompt) == room
    assert language.decode(prompt) == f"P{problem.text}\nR{long.reference}#56\nS"
    longer = replace(long, reference=long.reference + "1")
    with pytest.raises(UserError, match=rf"problem 07\+48\*3-09, teacher prompt: {room + 1} tokens .* is never cut"):
        exposed_prompts(context, [longer], [Revealed(longer.reference, 1.0)])


def test_an_averaged_teacher_survives_a_resume(settings: Callable[..., RunConfig], tmp_path: Path) -> None:
    """There: no checkpoint holds it, and after a resume it is the base again."""
    run = settings(teacher=TeacherConfig(TeacherKind.ema, 0.3))
    stopped = trainer(run)
    base = copy.deepcopy(stopped.teacher.model)
    for exposure in (1.0, 0.5):
        stopped.update(exposure)
    (tmp_path / "checkpoint").mkdir()
    stopped.save(tmp_path / "checkpoint")
    resumed = trainer(run)
    resumed.load(tmp_path / "checkpoint")
    assert distance(resumed.teacher.model, stopped.teacher.model) == 0.0
    assert distance(resumed.teacher.model, base) > 0.01
    for going in (stopped, resumed):
        going.update(1.0)
    assert distance(resumed.teacher.model, stopped.teacher.model) == 0.0


@pytest.mark.parametrize("kind", [TeacherKind.frozen, TeacherKind.ema])
def test_the_base_teacher_is_the_initial_student_not_the_folder_it_came_from(
    kind: TeacherKind, language: LanguageModel, tmp_path: Path
) -> None:
    """There: a student given as an instance gets a teacher loaded anew from its path."""
    language.save(tmp_path / "base")
    student = language_model.load(ModelConfig(path=str(tmp_path / "base"))).model
    with torch.no_grad():
        for weight in student.parameters():
            weight.mul_(1.1)  # the path no longer says who the student is
    built = teacher.build(TeacherConfig(kind), student)
    assert weights.fingerprint(built.model) == weights.fingerprint(student)
    assert distance(built.model, language.model) > 0.01
    batch = language.collate([[4, 5, 6]], [[8, 9]])
    assert torch.equal(score(built.model, batch, 8), completion_logits(student, batch).detach())
