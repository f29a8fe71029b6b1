"""One update's batch, from problems to teacher logits: the whole path a token's target takes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch

from atesd.distillation import SignalConfig
from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.losses import token_log_probs
from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.problem import Problem, Split
from atesd.training.collector import COUNTS, Collector
from atesd.training.hf_rollout import HfRollout
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import HfRolloutConfig, SampleKey
from atesd.training.sequences import TokenIds, completion_logits
from baselines.grpo import GroupRelative
from baselines.sft import SupervisedFineTuning


@pytest.fixture
def collector(context: Callable[..., Collector]) -> Callable[..., Collector]:
    return partial(context, max_new_tokens=12)


def unpadded(language: LanguageModel, prompt: list[int], completion: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = language.model(input_ids=torch.tensor([prompt + completion])).logits[0]
    return logits[len(prompt) - 1 : -1]


@pytest.mark.parametrize("exposure", [0.0, 0.5, 1.0])
def test_a_distillation_batch_by_hand(
    collector: Callable[..., Collector], exposure: float, language: LanguageModel
) -> None:
    context, base = collector(language), copy.deepcopy(language)
    with torch.no_grad():
        language.model.get_input_embeddings().weight.mul_(1.1)  # so that student and teacher differ
    batch = SignalConfig().build(Cut.step).collect(context, 5, exposure)
    student_logits = completion_logits(language.model, batch.sequences).detach()
    reference, realised = [], []
    for row, problem in enumerate(Arithmetic(0).training_problem(position) for position in range(5)):
        length = int(batch.sequences.completion_mask_BT[row].sum())
        completion = batch.sequences.completion_ids_BT[row, :length].tolist()
        steps = Arithmetic(0).steps(problem.reference)
        shown = steps[: int(exposure * len(steps))]
        realised.append(len(shown) / len(steps))
        exposed = base.encode(f"P{problem.text}\nR{''.join(shown)}#{problem.answer}\nS", "test")
        bare = base.encode(f"P{problem.text}\nS", "test")
        teacher_logits = batch.tensors["teacher_logits_BTV"][row, :length]
        assert (teacher_logits - unpadded(base, exposed, completion)).abs().max() < 1e-5
        assert (student_logits[row, :length] - unpadded(language, bare, completion)).abs().max() < 1e-5
        whole = [*base.encode(f"{problem.reference}#{problem.answer}", "test"), base.eos_id]
        scores = token_log_probs(unpadded(base, exposed, whole)[None], torch.tensor([whole]))
        reference.extend(scores[0].tolist())
    assert batch.weights_BT.tolist() == batch.sequences.completion_mask_BT.tolist()
    assert batch.metrics["exposure/asked"] == exposure
    assert batch.metrics["exposure/realised"] == pytest.approx(sum(realised) / 5)
    expected = sum(reference) / len(reference)
    assert batch.metrics["teacher/reference_log_prob_nats_per_token"] == pytest.approx(expected, abs=1e-5)


def test_token_losses_use_the_settings_and_the_log_never_does(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    batch = SignalConfig().build(Cut.step).collect(collector(language), 3, 0.5)
    student_logits = completion_logits(language.model, batch.sequences)
    plain, columns = SignalConfig().build(Cut.step).token_losses(student_logits, batch)
    config = SignalConfig(Divergence.reverse_kl, temperature=1.1, clip=0.05)
    other, other_columns = config.build(Cut.step).token_losses(student_logits, batch)
    assert not torch.allclose(plain, other)
    assert torch.equal(columns["kl"], plain.detach())
    assert torch.equal(other_columns["kl"], columns["kl"])
    assert not columns["kl"].requires_grad
    assert plain.requires_grad


def test_the_stream_moves_on_and_its_shares_join_up(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    alone = collector(language)
    first, second = alone.next_problems(6), alone.next_problems(6)
    expected = [Arithmetic(0).training_problem(position) for position in range(12)]
    assert first + second == expected
    ranks = [collector(language, rank=rank, size=2) for rank in range(2)]
    for update in (first, second):
        assert [problem for rank in ranks for problem in rank.next_problems(6)] == update
    assert {rank.position for rank in [alone, *ranks]} == {12}


def test_groups_that_do_not_divide_over_the_ranks_are_refused(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    context = collector(language, rank=0, size=2)
    assert len(context.next_problems(16, rows_per_problem=8)) == 1
    with pytest.raises(UserError, match=r"train\.batch_size=24 makes 3 problems of 8 samples.*choose a multiple of 16"):
        context.next_problems(24, rows_per_problem=8)


def test_rewinding_gives_the_problems_back(collector: Callable[..., Collector], language: LanguageModel) -> None:
    context = collector(language)
    context.next_problems(2)
    with context.rewinding():
        inside = context.next_problems(2)
        context.sample(inside)
    assert context.next_problems(2) == inside
    assert context.take_tokens() == dict.fromkeys(COUNTS, 0)


def test_samples_depend_on_seed_update_and_problem_not_on_the_rank(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    problems = collector(language).next_problems(4)
    whole = collector(language).sample(problems).completions
    shares = [collector(language, rank=rank, size=2) for rank in range(2)]
    halves = [shares[rank].sample(problems[2 * rank : 2 * rank + 2]).completions for rank in range(2)]
    assert halves[0] + halves[1] == whole
    later = collector(language)
    later.update = 1
    assert later.sample(problems).completions != whole
    assert collector(language, seed=1).sample(problems).completions != whole


def test_every_token_is_counted_for_what_it_served(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    context = collector(language)
    batch = SignalConfig().build(Cut.step).collect(context, 3, 0.5)
    problems = [Arithmetic(0).training_problem(position) for position in range(3)]
    steps = [context.steps_of(problem, Cut.step) for problem in problems]
    shown = ["".join(each[: int(0.5 * len(each))]) for each in steps]
    teacher = [len(language.teacher_prompt(p, text)) for p, text in zip(problems, shown, strict=True)]
    references = [len(language.reference_completion(problem)) for problem in problems]
    taken = context.take_tokens()
    assert taken["prompted"] == sum(len(language.student_prompt(problem)) for problem in problems)
    assert taken["generated"] == int(batch.sequences.completion_mask_BT.sum())
    assert taken["scored_reference"] == sum(teacher) + sum(references)
    assert taken["scored"] == 2 * sum(teacher) + taken["generated"] + sum(references)


def test_samples_of_one_problem_are_adjacent_and_differ(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    context = collector(language)
    rollouts = context.sample(context.next_problems(2), samples=3)
    assert [problem.id for problem in rollouts.problems] == [rollouts.problems[0].id] * 3 + [
        rollouts.problems[3].id
    ] * 3
    assert len(set(map(tuple, rollouts.completions))) == 6
    assert context.take_tokens()["generated"] == sum(map(len, rollouts.completions))


def test_a_prompt_that_does_not_fit_is_refused_by_name(
    collector: Callable[..., Collector], language: LanguageModel, problem: Problem
) -> None:
    context, room = collector(language), language.context
    fits = context.sequences([problem], [[3] * (room - 2)], [[4, 5]])
    assert fits.ids.shape == (1, room)
    with pytest.raises(UserError, match=r"problem 07\+48\*3-09: its prompt of 255 tokens and completion of 2 make 257"):
        context.sequences([problem], [[3] * (room - 1)], [[4, 5]])
    long = replace(problem, reference="1;" * 200)
    with pytest.raises(UserError, match=r"problem 07\+48\*3-09, teacher prompt: 418 tokens and the 0 of"):
        context.sequences([long], [language.teacher_prompt(long, long.reference)], [[4]])


def test_grpo_collects_groups_and_weighs_sequences_equally(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    batch = GroupRelative(4, temperature=1.0).collect(collector(language), 8, 1.0)
    assert len(batch) == 8
    assert batch.weights_BT.sum(1).tolist() == pytest.approx([1.0] * 8)
    assert bool((batch.weights_BT[batch.sequences.completion_mask_BT == 0] == 0).all())
    assert batch.tensors["advantages_B1"].shape == (8, 1)
    assert batch.metrics["rollout/success"] == 0.0  # an untrained student answers nothing
    assert batch.metrics["grpo/mixed_groups"] == 0.0


def test_sft_learns_the_references(collector: Callable[..., Collector], language: LanguageModel) -> None:
    signal = SupervisedFineTuning()
    batch = signal.collect(collector(language), 3, 1.0)
    losses, columns = signal.token_losses(completion_logits(language.model, batch.sequences).detach(), batch)
    assert columns == {}
    for row, problem in enumerate(Arithmetic(0).training_problem(position) for position in range(3)):
        completion = language.reference_completion(problem)
        logits = unpadded(language, language.student_prompt(problem), completion)
        expected = -logits.log_softmax(-1)[range(len(completion)), completion]
        assert (losses[row, : len(completion)] - expected).abs().max() < 1e-5
        assert batch.weights_BT[row].sum() == len(completion)


def test_no_probe_or_evaluation_problem_is_ever_trained_on(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    trained = {problem.text for problem in collector(language).next_problems(3000)}
    for split in (Split.probe, Split.evaluation):
        assert not trained & {problem.text for problem in Arithmetic(0).held_out(split, 500)}


def test_a_problem_drawn_again_in_an_update_gets_samples_of_its_own_whoever_draws_it(
    collector: Callable[..., Collector], language: LanguageModel
) -> None:
    class TwoProblems(Arithmetic):
        def training_problem(self, position: int) -> Problem:
            return super().training_problem(position % 2)

    class Listed(HfRollout):
        def generate(self, prompts: Sequence[TokenIds], keys: Sequence[SampleKey] | None) -> list[list[int]]:
            drawn.extend(keys or ())
            return super().generate(prompts, keys)

    def listed(size: int) -> tuple[list[SampleKey], list[list[int]]]:
        completions = []
        ranks = [collector(language, rank=rank, size=size) for rank in range(size)]
        for rank in ranks:
            rank.task, rank.rollout = TwoProblems(0), Listed(HfRolloutConfig(max_new_tokens=12), language)
        for update in range(2):
            for rank in ranks:
                rank.begin(update)
            for _ in range(2):  # as a method does that draws until it has enough
                completions += [row for each in ranks for row in each.sample(each.next_problems(8, 2), 2).completions]
        return drawn[-len(completions) :], completions

    drawn: list[SampleKey] = []
    keys, completions = listed(1)
    assert len(keys) == len(set(keys)) == 2 * 2 * 8
    assert listed(2) == (keys, completions)
