"""Dynamic sampling on a real student: what is drawn, what is kept, what is counted; and the shaped rewards."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from atesd.config import RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.tasks.problem import Problem
from atesd.training.collector import Collector
from atesd.training.language_model import LanguageModel
from atesd.training.ranks import Ranks
from atesd.training.rollout import HfRolloutConfig
from baselines.dapo import DapoConfig, DynamicSampling, Group, overlong_penalty
from baselines.grpo import group_advantages

Context = Callable[..., Collector]


@pytest.mark.parametrize(("correct", "mixed"), [([True, False], True), ([True, True], False), ([False, False], False)])
def test_a_group_is_mixed_when_it_has_both(correct: list[bool], mixed: bool, problem: Problem) -> None:
    assert Group(problem, [3], [[4], [5]], correct).mixed is mixed


def test_the_penalty_falls_by_a_straight_line_within_the_cache() -> None:
    """The paper's own numbers: 16,384 tokens are free, 20,480 cost 1."""
    lengths = (1, 16384, 17408, 18432, 20480)
    assert [overlong_penalty(length, 20480, 4096) for length in lengths] == [0, 0, -0.25, -0.5, -1]
    assert overlong_penalty(64, 64, 0) == 0


def test_every_group_of_a_batch_is_mixed_and_everything_sampled_is_counted(
    context: Context, trained: LanguageModel
) -> None:
    alone, signal = context(trained), DynamicSampling(DapoConfig(group_size=4), longest=64, temperature=1.0)
    batch = signal.collect(alone, 16, 1.0)
    draws = batch.metrics["dapo/draws"]
    assert draws > 1  # with this seed 4 problems do not make 4 mixed groups
    assert batch.metrics["dapo/mixed_groups"] == 1.0
    assert alone.position == 4 * draws
    again = context(trained)
    sampled = [again.sample(again.next_problems(16, 4), 4) for _ in range(int(draws))]
    assert alone.take_tokens()["generated"] == sum(len(c) for rollouts in sampled for c in rollouts.completions)
    right = [
        trained.style.is_correct(p, text)
        for rollouts in sampled
        for p, text in zip(rollouts.problems, rollouts.texts, strict=True)
    ]
    assert batch.metrics["rollout/success"] == pytest.approx(np.mean(right))
    mixed = [group for group in np.reshape(right, (-1, 4)) if 0 < group.sum() < 4][:4]
    expected = group_advantages([2.0 * r - 1.0 for group in mixed for r in group], 4)
    assert batch.tensors["advantages_B1"][:, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert batch.weights_BT.equal(batch.sequences.completion_mask_BT.float())  # a mean over tokens


def test_the_limit_of_draws_fills_up_with_groups_that_teach_nothing(context: Context, language: LanguageModel) -> None:
    alone = context(language, max_new_tokens=8)
    signal = DynamicSampling(DapoConfig(group_size=2, draws=3, overlong_cache=8), longest=8, temperature=1.0)
    batch = signal.collect(alone, 4, 1.0)  # an untrained student is never right
    assert len(batch) == 4
    assert (batch.metrics["dapo/draws"], batch.metrics["dapo/mixed_groups"]) == (3.0, 0.0)
    assert alone.position == 6
    assert batch.weights_BT.sum() == 0  # whatever the penalty on their lengths makes of them


def test_an_answer_near_the_limit_is_worth_less(problem: Problem) -> None:
    signal = DynamicSampling(DapoConfig(overlong_cache=4), longest=8, temperature=1.0)
    group = Group(problem, [3], [[4] * 4, [4] * 6, [4] * 8], [True, True, False])
    assert signal._rewards(group) == [1.0, 0.5, -2.0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"draws": 0}, r"baseline\.draws must be at least 1, got 0"),
        ({"overlong_cache": -1}, r"baseline\.overlong_cache must be 0 \(off\) or more tokens, got -1"),
        ({"group_size": 1}, r"baseline\.group_size must be at least 2, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        DapoConfig(**settings)


def test_settings_that_do_not_go_together_are_refused() -> None:
    rollout = HfRolloutConfig(max_new_tokens=5)
    with pytest.raises(UserError, match=r"overlong_cache=6 must be at most rollout\.max_new_tokens=5"):
        DapoConfig().signal(RunConfig(rollout=rollout))
    with pytest.raises(UserError, match=r"batch_size=12 must be a multiple of baseline\.group_size=8"):
        DapoConfig().signal(RunConfig(rollout=rollout, train=TrainConfig(batch_size=12)))


class Threads(Ranks):
    """Ranks that are threads of this process and exchange values over a board."""

    def __init__(self, rank: int, board: list[Any], barrier: Barrier) -> None:
        super().__init__(rank, len(board))
        self.board = board
        self.barrier = barrier

    def gather(self, value: Any) -> list[Any]:
        self.board[self.rank] = value
        self.barrier.wait()
        values = list(self.board)
        self.barrier.wait()
        return values


def test_ranks_draw_in_step(context: Context, trained: LanguageModel) -> None:
    """One rank may have its groups before the other; both draw on, or they would wait for each other for ever."""
    board, barrier = [None, None], Barrier(2, timeout=120)

    def draws(rank: int) -> list[tuple[float, float, int]]:
        alone, signal, found = (
            context(trained),
            DynamicSampling(DapoConfig(group_size=2), longest=64, temperature=1.0),
            [],
        )
        alone.ranks = Threads(rank, board, barrier)
        for alone.update in range(3):
            metrics = signal.collect(alone, 4, 1.0).metrics
            found.append((metrics["dapo/mixed_groups"], metrics["dapo/draws"], alone.position))
        return found

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(draws, range(2))
    assert first == second
    assert {mixed for mixed, _, _ in first} == {1.0}
    assert max(count for _, count, _ in first) > 1
