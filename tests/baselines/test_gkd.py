"""Which updates are on-policy, what the others learn from, and that the loss is the generalised JSD."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from atesd.config import RunConfig
from atesd.distillation import Distillation, SignalConfig
from atesd.divergence import Divergence
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.losses import token_divergence
from atesd.training.collector import Collector
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import completion_logits
from baselines.gkd import GkdConfig, OnAndOffPolicy

Context = Callable[..., Collector]


def signal(on_policy: float, teacher_share: float = 0.5, seed: int = 0) -> Distillation:
    config = SignalConfig(Divergence.jsd, jsd_weight=teacher_share)
    built = GkdConfig(on_policy=on_policy).signal(RunConfig(seed=seed, signal=config))
    assert isinstance(built, OnAndOffPolicy)
    return built


def test_off_policy_learns_the_references_and_samples_nothing(context: Context, language: LanguageModel) -> None:
    alone = context(language, max_new_tokens=8)
    problems = context(language).next_problems(3)
    batch = signal(0.0).collect(alone, 3, 1.0)
    for row, problem in enumerate(problems):
        completion = language.reference_completion(problem)
        assert batch.sequences.completion_ids_BT[row, : len(completion)].tolist() == completion
    assert alone.take_tokens()["generated"] == 0


def test_on_policy_scores_what_the_student_samples(context: Context, language: LanguageModel) -> None:
    on_policy = signal(1.0).collect(context(language, 8), 3, 1.0)
    plain = Distillation(SignalConfig(), Cut.step).collect(context(language, 8), 3, 1.0)
    assert on_policy.sequences.ids.equal(plain.sequences.ids)
    assert on_policy.tensors["teacher_logits_BTV"].equal(plain.tensors["teacher_logits_BTV"])


def test_the_choice_is_the_updates_own(context: Context, language: LanguageModel) -> None:
    """The same for every problem and so for every rank, another for another update or seed."""

    def choices(seed: int) -> list[bool]:
        alone, mixed, found = context(language, 1), signal(0.3, seed=seed), []
        problems = alone.next_problems(1)
        for alone.update in range(100):
            found.append(mixed.rollouts(alone, problems).completions != [language.reference_completion(problems[0])])
        return found

    first = choices(0)
    assert first == choices(0) != choices(1)
    assert 20 <= sum(first) <= 40  # 30 expected, standard deviation 4.6


def test_the_loss_is_the_jsd_of_the_share_asked_for(context: Context, language: LanguageModel) -> None:
    mixed = signal(1.0, teacher_share=0.1)
    batch = mixed.collect(context(language, 8), 3, 1.0)
    logits = completion_logits(language.model, batch.sequences).detach()
    losses, columns = mixed.token_losses(logits, batch)
    teacher = batch.tensors["teacher_logits_BTV"]
    assert torch.equal(losses, token_divergence(logits, teacher, Divergence.jsd, jsd_weight=0.1))
    assert torch.equal(columns["kl"], token_divergence(logits, teacher))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"on_policy": 1.1}, r"baseline\.on_policy must lie in \[0, 1\], got 1\.1"),
        ({"on_policy": float("nan")}, r"baseline\.on_policy must lie in \[0, 1\], got nan"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        GkdConfig(**settings)


def test_another_divergence_is_another_method() -> None:
    with pytest.raises(UserError, match=r"baseline=gkd is defined by signal\.divergence=jsd, got forward_kl"):
        GkdConfig("gkd").signal(RunConfig())
