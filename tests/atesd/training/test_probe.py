"""The probe's measures and greedy evaluation, against sums written out per problem."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from atesd.errors import UserError
from atesd.rewards import ProgressSignal
from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.problem import Problem, Split
from atesd.training.evaluation import answer
from atesd.training.language_model import LanguageModel
from atesd.training.probe import Measure, Probe, Probes, mean
from atesd.training.ranks import Ranks
from atesd.training.rollout import HfRolloutConfig


@pytest.fixture
def problems(arithmetic: Arithmetic) -> list[Problem]:
    return arithmetic.held_out(Split.probe, 7)


def probe(language: LanguageModel, problems: list[Problem]) -> Probe:
    return Probe(language, HfRolloutConfig(max_new_tokens=12).build(language), problems, size=2)


def nll(language: LanguageModel, prefix: list[int], completion: list[int]) -> float:
    with torch.no_grad():
        logits = language.model(input_ids=torch.tensor([prefix + completion])).logits[0, len(prefix) - 1 : -1]
    return -float(logits.double().log_softmax(-1)[range(len(completion)), completion].sum())


def test_reference_nll_is_the_sum_over_problems(language: LanguageModel, problems: list[Problem]) -> None:
    found = probe(language, problems).reference_nll()
    pairs = [(language.student_prompt(p), language.reference_completion(p)) for p in problems]
    assert found.total == pytest.approx(sum(nll(language, *pair) for pair in pairs), rel=1e-6)
    assert found.count == sum(len(completion) for _, completion in pairs)
    assert found.tokens_scored == sum(len(prompt) + len(completion) for prompt, completion in pairs)
    assert found.tokens_generated == 0


def test_shares_of_ranks_make_the_mean_of_the_whole(language: LanguageModel, problems: list[Problem]) -> None:
    whole = probe(language, problems).reference_nll()
    shares = [probe(language, part).reference_nll() for part in (problems[:5], problems[5:], [])]
    assert mean(shares) == pytest.approx(mean([whole]), rel=1e-6)
    assert shares[2] == Measure(0.0, 0, 0)


@pytest.mark.parametrize("signal", [ProgressSignal.probe_success, ProgressSignal.answer_nll])
def test_an_empty_share_of_a_generating_measure_is_empty(signal: ProgressSignal, language: LanguageModel) -> None:
    found = probe(language, []).measure(signal)
    assert (found.total, found.count) == (0.0, 0)


def test_probe_success_counts_failures(language: LanguageModel, problems: list[Problem]) -> None:
    found = probe(language, problems).measure(ProgressSignal.probe_success)
    assert (found.total, found.count) == (7.0, 7)  # an untrained student answers nothing
    assert found.tokens_generated > 0


def test_answer_nll_scores_the_right_answer_after_the_students_own_reasoning(
    language: LanguageModel, problems: list[Problem]
) -> None:
    measured = probe(language, problems)
    found = measured.measure(ProgressSignal.answer_nll)
    total, count = 0.0, 0
    for problem, completion in zip(problems, measured.rollout.generate(measured.prompts, None), strict=True):
        text = language.decode(completion)
        own = language.encode(text.rpartition("#")[0] if "#" in text else text, "test")
        right = [*language.encode(f"#{problem.answer}", "test"), language.eos_id]
        total += nll(language, language.student_prompt(problem) + own, right)
        count += len(right)
    assert found.total == pytest.approx(total, rel=1e-6)
    assert found.count == count


def test_answers_come_back_in_the_order_asked(language: LanguageModel, arithmetic: Arithmetic) -> None:
    rollout = HfRolloutConfig(max_new_tokens=12).build(language)
    problems = arithmetic.held_out(Split.evaluation, 30)
    completions = rollout.generate([language.student_prompt(problem) for problem in problems], None)
    said = [language.decode(completion).rpartition("#") for completion in completions]
    # Ask every other problem for what the untrained student says anyway.
    told = [
        replace(problem, answer=after if marker and row % 2 else "right")
        for row, (problem, (_, marker, after)) in enumerate(zip(problems, said, strict=True))
    ]
    expected = [problem.answer != "right" for problem in told]
    assert 0 < sum(expected) < 30
    for batch_size in (1, 7, 100):
        found = answer(rollout, language, told, batch_size, language.student_prompt)
        assert found.correct == expected
        assert found.tokens == sum(map(len, completions))


def test_a_problem_without_room_for_its_answer_is_refused_at_once(
    language: LanguageModel, problems: list[Problem]
) -> None:
    longest = max(len(language.student_prompt(problem)) for problem in problems)
    language = replace(language, room=language.context - longest)  # for the completion alone
    measured = [probe(language, problems)]
    Probes(measured, ProgressSignal.probe_success, Ranks(0, 1))
    with pytest.raises(UserError, match=r"reward\.signal=answer_nll .* of answer, more than the model's 256"):
        Probes(measured, ProgressSignal.answer_nll, Ranks(0, 1))
