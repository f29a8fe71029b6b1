"""Whose weights the teacher has, and what stays when the student moves."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from atesd.config import TeacherConfig, TeacherKind
from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.losses import token_divergence
from atesd.tasks.problem import Problem
from atesd.training import teacher, weights
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import Sequences, collate, completion_logits, score

BATCH = ([[4, 5, 6], [7]], [[8, 9], [10, 11, 12]])


@pytest.fixture
def batch(language: LanguageModel) -> Sequences:
    return collate(*BATCH, language.pad_id)


def move(language: LanguageModel, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in language.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)


def parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("kind", TeacherKind)
@pytest.mark.parametrize("divergence", Divergence)
def test_the_same_weights_and_an_empty_privilege_diverge_by_nothing(
    kind: TeacherKind, divergence: Divergence, language: LanguageModel, batch: Sequences
) -> None:
    built = teacher.build(TeacherConfig(kind), language.model)
    with torch.no_grad():
        student_logits = completion_logits(language.model, batch)
    divergences = token_divergence(student_logits, score(built.model, batch, 8), divergence)
    assert float(divergences.abs().max()) < (1e-6 if divergence is Divergence.jsd else 1e-12)


def test_a_privilege_makes_a_divergence(language: LanguageModel, problem: Problem) -> None:
    built = teacher.build(TeacherConfig(), language.model)
    completion = [language.reference_completion(problem)]
    bare = collate([language.student_prompt(problem)], completion, language.pad_id)
    shown = collate([language.teacher_prompt(problem, problem.reference)], completion, language.pad_id)
    assert float(token_divergence(score(built.model, bare, 8), score(built.model, shown, 8)).mean()) > 0.01


def test_the_frozen_teacher_stays_while_the_student_moves(language: LanguageModel, batch: Sequences) -> None:
    built = teacher.build(TeacherConfig(TeacherKind.frozen), language.model)
    before, fingerprint = score(built.model, batch, 8), weights.fingerprint(built.model)
    move(language)
    built.follow(language.model)
    assert torch.equal(score(built.model, batch, 8), before)
    assert weights.fingerprint(built.model) == fingerprint != weights.fingerprint(language.model)


def test_the_live_teacher_is_the_student(language: LanguageModel, batch: Sequences) -> None:
    built = teacher.build(TeacherConfig(TeacherKind.live), language.model)
    before = score(built.model, batch, 8)
    move(language)
    built.follow(language.model)
    assert built.model is language.model
    assert not torch.equal(score(built.model, batch, 8), before)


def test_the_ema_teacher_moves_by_its_rate(language: LanguageModel) -> None:
    rate = 0.25
    built = teacher.build(TeacherConfig(TeacherKind.ema, rate), language.model)
    expected = parameters(language.model)
    for seed in range(3):
        move(language, seed)
        built.follow(language.model)
        student = parameters(language.model)
        expected = {name: (1 - rate) * old + rate * student[name] for name, old in expected.items()}
        for name, weight in built.model.named_parameters():
            assert torch.allclose(weight, expected[name], atol=1e-6), name


def test_the_ema_teacher_of_a_bf16_student_moves_by_less_than_bf16_can_tell(
    language: LanguageModel, tmp_path: Path
) -> None:
    """A hundredth of a tenth is below bf16's resolution: taken in bf16, the average would never move."""
    student = language.model.bfloat16()
    built = teacher.build(TeacherConfig(TeacherKind.ema, 0.01), student)
    base = parameters(built.model)
    with torch.no_grad():
        for weight in student.parameters():
            weight.mul_(1.125)
    for _ in range(100):
        built.follow(student)
    for name, weight in built.model.named_parameters():
        expected = base[name].float() * (1 + 0.125 * (1 - 0.99**100))
        assert weight.dtype is torch.bfloat16
        assert torch.allclose(weight.float(), expected, rtol=0.008), name
    built.save(tmp_path)
    resumed = teacher.build(TeacherConfig(TeacherKind.ema, 0.01), student)
    resumed.load(tmp_path)
    for ema in (built, resumed):
        ema.follow(student)
    assert weights.fingerprint(resumed.model) == weights.fingerprint(built.model)


def test_an_ema_of_rate_one_is_the_student_of_the_last_update(language: LanguageModel) -> None:
    built = teacher.build(TeacherConfig(TeacherKind.ema, 1.0), language.model)
    move(language)
    built.follow(language.model)
    assert weights.fingerprint(built.model) == weights.fingerprint(language.model)


def test_the_ema_teacher_goes_on_from_what_it_saved(language: LanguageModel, tmp_path: Path) -> None:
    base = copy.deepcopy(language.model)
    built = teacher.build(TeacherConfig(TeacherKind.ema, 0.3), language.model)
    move(language)
    built.follow(language.model)
    built.save(tmp_path)
    resumed = teacher.build(TeacherConfig(TeacherKind.ema, 0.3), base)
    assert weights.fingerprint(resumed.model) != weights.fingerprint(built.model)
    resumed.load(tmp_path)
    assert weights.fingerprint(resumed.model) == weights.fingerprint(built.model)
    for ema in (built, resumed):
        ema.follow(language.model)
    assert weights.fingerprint(resumed.model) == weights.fingerprint(built.model)


@pytest.mark.parametrize("kind", [TeacherKind.frozen, TeacherKind.live])
def test_the_other_teachers_save_nothing(kind: TeacherKind, language: LanguageModel, tmp_path: Path) -> None:
    teacher.build(TeacherConfig(kind), language.model).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0.0, 1.01, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=r"teacher\.ema_rate must lie in \(0, 1\], got "):
        TeacherConfig(TeacherKind.ema, rate)


def test_a_fingerprint_sees_every_weight(language: LanguageModel) -> None:
    before = weights.fingerprint(language.model)
    for name, weight in language.model.named_parameters():
        with torch.no_grad():
            old = weight.flatten()[0].clone()
            weight.view(-1)[0] += 1e-3
            assert weights.fingerprint(language.model) != before, name
            weight.view(-1)[0] = old
    assert weights.fingerprint(language.model) == before
