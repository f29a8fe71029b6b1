"""The decomposed gradient, against that of the KL between all completions of a language one can write out."""

from __future__ import annotations

import itertools

import pytest
import torch

from atesd.config import RunConfig
from atesd.distillation import SignalConfig
from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.signals import SignalBatch
from atesd.training.rollout import HfRolloutConfig
from atesd.training.sequences import collate
from baselines.minillm import MiniLlmConfig, SequenceReverseKl, mean_of_later

WORDS = 4


REVERSE = SignalConfig(Divergence.reverse_kl)


def run(signal: SignalConfig = REVERSE, temperature: float = 1.0) -> RunConfig:
    return RunConfig(signal=signal, rollout=HfRolloutConfig(temperature=temperature))


def signal() -> SequenceReverseKl:
    built = MiniLlmConfig().signal(run())
    assert isinstance(built, SequenceReverseKl)
    return built


def test_the_mean_of_later_tokens_by_hand() -> None:
    values = torch.tensor([[1.0, 2.0, 6.0, 4.0], [5.0, 8.0, float("nan"), float("inf")]])
    weights = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    assert mean_of_later(values, weights).tolist() == [[4.0, 5.0, 4.0, 0.0], [8.0, 0.0, 0.0, 0.0]]
    trusted = torch.tensor([[1.0, 0.75, 0.25, 0.0]])
    assert mean_of_later(values[:1], trusted).tolist() == [[3.0, 6.0, 0.0, 0.0]]


def test_the_expected_gradient_is_that_of_the_kl_between_completions() -> None:
    """Two tokens of four words: 16 completions, each weighed by its probability. Two, so that mean and sum agree."""
    generator = torch.Generator().manual_seed(0)

    def logits() -> list[torch.Tensor]:
        return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((WORDS,), (WORDS, WORDS))]

    student, teacher = [tensor.requires_grad_() for tensor in logits()], logits()
    first, second = (tensor.log_softmax(-1) for tensor in student)
    log_q = first[:, None] + second
    log_p = teacher[0].log_softmax(-1)[:, None] + teacher[1].log_softmax(-1)
    expected = torch.autograd.grad((log_q.exp() * (log_q - log_p)).sum(), student)

    completions = [list(words) for words in itertools.product(range(WORDS), repeat=2)]
    sequences = collate([[0]] * WORDS**2, completions, pad_id=0)

    def rows(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.stack([first, second[words[0]]]) for words in completions])

    batch = SignalBatch(sequences, torch.ones(WORDS**2, 2), {"teacher_logits_BTV": rows(*teacher)})
    losses, columns = signal().token_losses(rows(*student), batch)
    found = torch.autograd.grad((losses.sum(1) * log_q.detach().exp().flatten()).sum(), student)
    assert not columns["kl"].requires_grad
    for ours, exact in zip(found, expected, strict=True):
        assert torch.allclose(ours, exact, atol=1e-12)
    own, _ = super(SequenceReverseKl, signal()).token_losses(rows(*student), batch)
    biased = torch.autograd.grad((own.sum(1) * log_q.detach().exp().flatten()).sum(), student)
    assert (biased[0] - expected[0]).abs().max() > 0.01  # each token's own KL is not enough


def test_a_run_whose_gradient_would_not_be_that_of_its_rollouts_is_refused() -> None:
    with pytest.raises(UserError, match=r"baseline=minillm is defined by signal\.divergence=reverse_kl, got jsd"):
        MiniLlmConfig("minillm").signal(run(SignalConfig(Divergence.jsd)))
    with pytest.raises(UserError, match=r"signal\.temperature=1 and rollout\.temperature=0\.7 to be equal"):
        MiniLlmConfig("minillm").signal(run(temperature=0.7))


def test_a_teacher_equal_to_the_student_teaches_nothing() -> None:
    sequences = collate([[3], [3]], [[1, 2], [0]], pad_id=0)
    logits = torch.randn(2, 2, WORDS, generator=torch.Generator().manual_seed(1)).requires_grad_()
    batch = SignalBatch(sequences, torch.ones(2, 2), {"teacher_logits_BTV": logits.detach().clone()})
    losses, _ = signal().token_losses(logits, batch)
    losses.sum().backward()
    assert losses.detach().abs().max() == pytest.approx(0.0, abs=1e-7)
    assert logits.grad is not None
    assert logits.grad.abs().max() == pytest.approx(0.0, abs=1e-7)
