"""Group-relative advantages by hand, and the gradient they make."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atesd.config import RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.signals import SignalBatch
from atesd.training.rollout import HfRolloutConfig
from atesd.training.sequences import collate
from baselines.grpo import EPSILON, GroupRelative, GrpoConfig, group_advantages


def test_advantages_by_hand() -> None:
    # Group 1: mean .25, deviations .75 -.25 -.25 -.25, variance (.5625 + 3 * .0625) / 3 = .25, std .5
    found = group_advantages([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], 4)
    assert found[:4] == pytest.approx(np.array([0.75, -0.25, -0.25, -0.25]) / (0.5 + EPSILON))
    # Group 2: mean .5, variance 4 * .25 / 3
    assert found[4:] == pytest.approx(np.array([0.5, 0.5, -0.5, -0.5]) / (math.sqrt(1 / 3) + EPSILON))


def test_a_group_of_equals_teaches_nothing() -> None:
    assert group_advantages([1.0] * 4 + [0.0] * 4, 4).tolist() == [0.0] * 8


def test_advantages_sum_to_nothing_within_every_group() -> None:
    rewards = np.random.default_rng(0).integers(2, size=80).astype(float).tolist()
    assert group_advantages(rewards, 8).reshape(-1, 8).sum(1) == pytest.approx(np.zeros(10), abs=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_gradient_is_the_advantage_times_that_of_the_log_probability_sampled_from(temperature: float) -> None:
    sequences = collate([[3], [3]], [[4, 5], [6]], pad_id=0)
    advantages = torch.tensor([[2.0], [-1.0]])
    batch = SignalBatch(sequences, sequences.completion_mask_BT.float(), {"advantages_B1": advantages})
    logits = torch.randn(2, 2, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    losses, _ = GroupRelative(2, temperature).token_losses(logits, batch)
    assert losses.detach().tolist() == [[-2.0, -2.0], [1.0, 1.0]]
    (losses * batch.weights_BT).sum().backward()
    one_hot = torch.nn.functional.one_hot(sequences.completion_ids_BT, 8)
    expected = (
        -advantages[..., None] * (one_hot - (logits.detach() / temperature).softmax(-1)) * batch.weights_BT[..., None]
    )
    expected = expected / temperature
    assert logits.grad is not None
    assert torch.allclose(logits.grad, expected, atol=1e-6)


def test_a_batch_that_does_not_divide_into_groups_is_refused() -> None:
    with pytest.raises(UserError, match=r"train\.batch_size=12 must be a multiple of baseline\.group_size=8"):
        GrpoConfig().signal(RunConfig(train=TrainConfig(batch_size=12), rollout=HfRolloutConfig()))
    run = RunConfig(train=TrainConfig(batch_size=16), rollout=HfRolloutConfig())
    assert isinstance(GrpoConfig().signal(run), GroupRelative)
