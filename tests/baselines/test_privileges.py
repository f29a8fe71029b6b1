"""What the teachers of the distilling baselines are shown, and the losses only they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from atesd.config import RunConfig, TrainConfig
from atesd.distillation import SignalConfig
from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.losses import bucketed, token_divergence
from atesd.models import TinyConfig
from atesd.signals import Rollouts
from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.problem import Problem
from atesd.training.collector import Collector
from atesd.training.language_model import LanguageModel
from baselines.crisp import ConciseInstruction, CrispConfig
from baselines.instruction_only import InstructionOnly
from baselines.opsd_topk import OpsdTopKConfig, TopK
from baselines.sdpo import Feedback, PeerDistillation, SdpoConfig
from baselines.wrong_reference import WrongReference, swapped

OTHER = Problem("12+30", "12+30", "12+30=42;", "42", 1)


class Recorded(Collector):
    """A collector whose student always says the given texts."""

    texts: tuple[str, ...] = ()

    def sample(self, problems: list[Problem], samples: int = 1) -> Rollouts:  # type: ignore[override]
        rows = [problem for problem in problems for _ in range(samples)]
        prompts = [self.language.student_prompt(problem) for problem in rows]
        completions = [[*self.language.encode(text, "test"), self.language.eos_id] for text in self.texts]
        return Rollouts(rows, prompts, completions, list(self.texts))


@pytest.fixture
def recorded(context: Callable[..., Collector], language: LanguageModel) -> Recorded:
    found = context(language, max_new_tokens=12, kind=Recorded)
    assert isinstance(found, Recorded)
    return found


def text_of(language: LanguageModel, prompts: list[list[int]]) -> list[str]:
    return [language.tokenizer.decode(prompt) for prompt in prompts]


def test_peers_answers_and_silence(recorded: Recorded, problem: Problem) -> None:
    texts = ("#11", "07+48=55;#56", "07=07;#56", "#9")
    rollouts = Rollouts([problem] * 4, [recorded.language.student_prompt(problem)] * 4, [], list(texts))
    for feedback, alone in ((Feedback.none, "P07+48*3-09\nS"), (Feedback.answer, "P07+48*3-09\nR#56\nS")):
        signal = PeerDistillation(SignalConfig(), Cut.step, 4, feedback)
        shown = [signal._privilege(recorded, rollouts, peer) for peer in (1, 2, 1, None)]
        assert text_of(recorded.language, signal._prompts(recorded, rollouts, shown)) == [
            "P07+48*3-09\nR07+48=55;#56\nS",
            "P07+48*3-09\nR07=07;#56\nS",
            "P07+48*3-09\nR07+48=55;#56\nS",
            alone,
        ]


def test_a_rollout_without_a_right_peer_has_no_loss(recorded: Recorded) -> None:
    answer = Arithmetic(0).training_problem(0).answer
    recorded.texts = (f"#{answer}", "#", "5#", "#99999", "##", "1", "2", "3")
    batch = PeerDistillation(SignalConfig(), Cut.step, 4, Feedback.none).collect(recorded, 8, 1.0)
    assert batch.weights_BT.sum(1).gt(0).tolist() == [False, True, True, True] + [False] * 4
    assert batch.metrics["rollout/success"] == 1 / 8
    assert batch.metrics["sdpo/taught"] == 3 / 8
    recorded.position = 0
    batch = PeerDistillation(SignalConfig(), Cut.step, 4, Feedback.answer).collect(recorded, 8, 1.0)
    assert batch.metrics["sdpo/taught"] == 1.0  # the right answer is always known


def test_sdpo_refuses_a_batch_without_whole_groups() -> None:
    with pytest.raises(UserError, match=r"train\.batch_size=12 must be a multiple of baseline\.group_size=8"):
        SdpoConfig().signal(RunConfig(train=TrainConfig(batch_size=12)))
    with pytest.raises(UserError, match=r"baseline\.group_size must be at least 2, got 1"):
        SdpoConfig(group_size=1)


def test_the_controls_show_somebody_elses_reference_or_nothing(recorded: Recorded, problem: Problem) -> None:
    settings, style = SignalConfig(), recorded.language.style
    wrong = WrongReference(settings, Cut.step)
    for exposure, shown in ((1.0, "12+30=42;"), (0.0, "")):
        prompts, metrics = wrong.teacher_prompts(recorded, [problem, OTHER], [exposure] * 2)
        assert text_of(recorded.language, prompts)[0] == f"P07+48*3-09\nR{shown}#42\nS"
        assert metrics["exposure/asked"] == [exposure] * 2
    blank, _ = InstructionOnly(settings, Cut.step).teacher_prompts(recorded, [problem], [1.0])
    assert text_of(recorded.language, blank) == ["P07+48*3-09\nR\nS"]
    recorded.language.style = replace(style, concise="S{problem}\n")
    concise, _ = ConciseInstruction(settings, Cut.step).teacher_prompts(recorded, [problem], [1.0])
    assert text_of(recorded.language, concise) == ["S07+48*3-09\n"]


def test_swapping_never_gives_a_problem_its_own_reference(problem: Problem) -> None:
    third = replace(OTHER, id="x", answer="1")
    assert [p.answer for p in swapped([problem, problem, OTHER, third])] == ["42", "42", "1", "56"]
    assert [p.text for p in swapped([problem, OTHER])] == [problem.text, OTHER.text]
    with pytest.raises(UserError, match="needs two different problems per update and process"):
        swapped([problem, problem])


def test_crisp_refuses_a_style_without_an_instruction() -> None:
    with pytest.raises(UserError, match=r"model\.style=testbed has no instruction to be concise"):
        CrispConfig().signal(RunConfig(model=TinyConfig(name="tiny")))


@pytest.mark.parametrize("divergence", Divergence)
def test_a_tail_for_a_single_entry_is_the_whole_divergence_and_a_longer_one_never_more(divergence: Divergence) -> None:
    student, other = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    settings = SignalConfig(divergence, temperature=1.1)
    whole = token_divergence(student, other, divergence, 1.1)
    found = [TopK(settings, Cut.step, k).divergence(student, other) for k in (5, 3, 1)]
    assert torch.allclose(found[0], whole, atol=1e-6)
    for more, fewer in pairwise(found):
        assert torch.all(fewer <= more + 1e-6)
        assert torch.all(fewer >= 0)


def test_top_k_by_hand() -> None:
    student, other = torch.tensor([[[0.5, 0.25, 0.25]], [[0.25, 0.5, 0.25]]]).log().unsqueeze(1)
    found = TopK(SignalConfig(), Cut.step, 1).divergence(student, other)
    # Teacher's first is entry 1: .5 against the student's .25, and .5 against .75 for the rest.
    expected = 0.5 * torch.tensor(0.5 / 0.25).log() + 0.5 * torch.tensor(0.5 / 0.75).log()
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(UserError, match=r"baseline\.top_k=3 must be below the model's 3 vocabulary entries"):
        TopK(SignalConfig(), Cut.step, 3).divergence(student, other)
    with pytest.raises(UserError, match=r"baseline\.top_k must be at least 1, got 0"):
        OpsdTopKConfig(top_k=0)


def test_buckets_keep_their_gradient_where_the_tail_is_nearly_nothing() -> None:
    logits = torch.tensor([[[40.0, 0.0, -40.0]]], requires_grad=True)
    bucketed(logits, torch.tensor([[[0]]]))[..., -1].sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0, 1] == pytest.approx(1.0)
