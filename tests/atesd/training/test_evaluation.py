"""Greedy answers: what ranks that share an engine need of it."""

from __future__ import annotations

from collections.abc import Sequence

from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.problem import Split
from atesd.training.evaluation import answer
from atesd.training.hf_rollout import HfRollout
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import HfRolloutConfig, SampleKey


class Counted(HfRollout):
    """Notes the size of every call."""

    sizes: list[int]

    def generate(self, prompts: Sequence[Sequence[int]], keys: Sequence[SampleKey] | None) -> list[list[int]]:
        self.sizes.append(len(prompts))
        return super().generate(prompts, keys)


def test_a_rank_with_fewer_problems_generates_as_often(language: LanguageModel, arithmetic: Arithmetic) -> None:
    """9 problems over two ranks are 5 and 4: in batches of 4, two calls each."""
    for count in (5, 4):
        rollout = Counted(HfRolloutConfig(max_new_tokens=4), language)
        rollout.sizes = []
        problems = arithmetic.held_out(Split.evaluation, count)
        assert len(answer(rollout, language, problems, 4, language.student_prompt, most=5).correct) == count
        assert rollout.sizes == [4, count - 4]
