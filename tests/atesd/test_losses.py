"""Divergences and their gradients, against sums written out in float64; and what is logged beside them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from atesd.divergence import Divergence
from atesd.losses import entropy, tail_mean, token_divergence, token_log_probs, top1_disagreement

CLIPS = (math.inf, 0.05, 0.005)
TEMPERATURES = (1.0, 1.1, 0.7)


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    weights = torch.exp(logits.double() / temperature)
    return weights / weights.sum(-1, keepdim=True)


def terms(student: Tensor, teacher: Tensor, divergence: Divergence, temperature: float, weight: float) -> Tensor:
    """Write every vocabulary entry's term out from its definition, in float64."""
    q, p = probabilities(student, temperature), probabilities(teacher, temperature)
    mixture = weight * p + (1 - weight) * q
    return {
        Divergence.forward_kl: p * torch.log(p / q),
        Divergence.reverse_kl: q * torch.log(q / p),
        Divergence.jsd: weight * p * torch.log(p / mixture) + (1 - weight) * q * torch.log(q / mixture),
    }[divergence]


def apart(left: Tensor, right: Tensor) -> float:
    return float((left.detach().double() - right).norm() / right.norm())


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("divergence", Divergence)
def test_loss_and_gradient_match_a_float64_direct_sum(divergence: Divergence, clip: float, temperature: float) -> None:
    generator = torch.Generator().manual_seed(7)
    student, teacher = (2 * torch.randn(4, 9, 22, generator=generator) for _ in range(2))
    weights = torch.rand(4, 9, generator=generator)
    student.requires_grad_()
    losses = token_divergence(student, teacher, divergence, temperature, clip, jsd_weight=0.3)
    (losses * weights).sum().backward()

    exact = student.detach().double().requires_grad_()
    entries = terms(exact, teacher, divergence, temperature, 0.3)
    if clip < math.inf:
        assert (entries - clip).abs().min() > 1e-6  # else fp32 may stand on the other side of the clip
        assert (entries > clip).any()
        entries = torch.where(entries > clip, torch.full_like(entries, clip), entries)
    expected = entries.sum(-1)
    (expected * weights.double()).sum().backward()

    assert losses.dtype == torch.float32
    assert student.grad is not None
    assert exact.grad is not None
    assert apart(losses, expected.detach()) < 1e-6
    assert apart(student.grad, exact.grad) < 1e-6


def test_the_gradient_of_forward_kl_is_the_difference_of_the_distributions() -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(2, 3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    student.requires_grad_()
    token_divergence(student, teacher, temperature=1.3).sum().backward()
    expected = (probabilities(student.detach(), 1.3) - probabilities(teacher, 1.3)) / 1.3
    assert student.grad is not None
    assert torch.allclose(student.grad, expected, atol=1e-14)


def test_worked_numbers() -> None:
    student = torch.tensor([[[0.5, 0.5]]], dtype=torch.float64).log()
    teacher = torch.tensor([[[0.75, 0.25]]], dtype=torch.float64).log()
    up, down = 0.75 * math.log(1.5), 0.25 * math.log(0.5)  # .304098..., -.173286...
    assert float(token_divergence(student, teacher)) == pytest.approx(up + down, abs=1e-15)
    backward = float(token_divergence(student, teacher, Divergence.reverse_kl))
    assert backward == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2), abs=1e-15)
    clipped = float(token_divergence(student, teacher, clip=0.1))
    assert clipped == pytest.approx(0.1 + down, abs=1e-15)
    assert clipped < 0


def test_the_clip_is_per_entry_keeps_negative_terms_and_stops_the_gradient_of_the_clipped() -> None:
    student = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()[None, None].requires_grad_()
    teacher = torch.tensor([0.8, 0.15, 0.05], dtype=torch.float64).log()[None, None]
    entries = terms(student.detach(), teacher, Divergence.forward_kl, 1.0, 0.5)[0, 0]
    assert entries[0] > 0.05 > 0 > entries[1] > entries[2]
    loss = token_divergence(student, teacher, clip=0.05)
    assert float(loss.detach()) == pytest.approx(float(0.05 + entries[1] + entries[2]), abs=1e-15)
    loss.sum().backward()
    # Of p_v * log(p_v / q_v) only entries 1 and 2 still pull: sum over them of p_v * (q - onehot_v).
    q = student.detach().exp()[0, 0]
    expected = (0.15 + 0.05) * q - torch.tensor([0.0, 0.15, 0.05], dtype=torch.float64)
    assert student.grad is not None
    assert torch.allclose(student.grad[0, 0], expected, atol=1e-15)


@pytest.mark.parametrize("divergence", Divergence)
def test_equal_logits_diverge_by_nothing_and_others_by_something(divergence: Divergence) -> None:
    generator = torch.Generator().manual_seed(2)
    logits, others = (3 * torch.randn(3, 4, 50, generator=generator) for _ in range(2))
    equal = token_divergence(logits, logits.clone(), divergence, temperature=1.1)
    assert float(equal.abs().max()) < (1e-6 if divergence is Divergence.jsd else 1e-12)
    assert float(token_divergence(logits, others, divergence).min()) > 0.1
    shifted = token_divergence(logits, others + 5.0, divergence)
    assert torch.allclose(shifted, token_divergence(logits, others, divergence), atol=1e-5)


def test_jsd_is_bounded_and_symmetric_at_one_half() -> None:
    generator = torch.Generator().manual_seed(3)
    left, right = (20 * torch.randn(3, 4, 50, generator=generator) for _ in range(2))
    there, back = token_divergence(left, right, Divergence.jsd), token_divergence(right, left, Divergence.jsd)
    assert torch.allclose(there, back, atol=1e-6)
    assert float(there.max()) <= math.log(2) + 1e-6


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = torch.randn(1, 2, 5, requires_grad=True), torch.randn(1, 2, 5, requires_grad=True)
    token_divergence(student, teacher, Divergence.jsd).sum().backward()
    assert teacher.grad is None


def test_extreme_logits_stay_finite() -> None:
    student = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    teacher = torch.tensor([[[-1e4, 1e4, 0.0]]])
    for divergence in Divergence:
        losses = token_divergence(student, teacher, divergence)
        losses.sum().backward()
        assert student.grad is not None
        assert bool(losses.isfinite().all() and student.grad.isfinite().all())


def test_entropy_worked_numbers() -> None:
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0], [math.log(3), 0.0, -1e4, -1e4]]])
    expected = [math.log(4), 0.0, -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))]
    assert entropy(logits)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_token_log_probs_pick_the_given_token() -> None:
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]]])
    found = token_log_probs(logits, torch.tensor([[0, 1]]))
    assert found[0].tolist() == pytest.approx([math.log(0.75), math.log(0.5)])


def test_top1_disagreement_worked_numbers() -> None:
    student = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    teacher = torch.tensor([[[9.0, 0.0], [0.0, 9.0], [0.0, 0.1]]])
    assert top1_disagreement(student, teacher).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, 49.5), (0.05, 97.0), (0.01, 99.0), (0.001, 99.0), (0.015, 98.5), (0.5, 74.5)]
)
def test_tail_mean_worked_numbers(share: float, expected: float) -> None:
    assert tail_mean(torch.randperm(100, generator=torch.Generator().manual_seed(0)).float(), share) == expected


def test_the_tail_of_a_round_number_of_tokens_is_exact() -> None:
    for twenties in range(1, 200):
        values = torch.zeros(20 * twenties)
        values[:twenties] = 1.0
        assert tail_mean(values, 0.05) == 1.0
