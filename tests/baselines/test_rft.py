"""What is kept of the student's samples, and what an update without a right one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from atesd.config import RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.losses import token_log_probs
from atesd.stopwatch import Stopwatch
from atesd.training import weights
from atesd.training.collector import Collector
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import completion_logits
from baselines.rft import RejectionSampling, RftConfig

Context = Callable[..., Collector]


def test_only_right_samples_are_learned_and_each_once(context: Context, trained: LanguageModel) -> None:
    batch = RejectionSampling(samples=4).collect(context(trained), 16, 1.0)
    again = context(trained)
    rollouts = again.sample(again.next_problems(16, 4), 4)
    kept, seen = [], set()
    for problem, ids, text in zip(rollouts.problems, rollouts.completions, rollouts.texts, strict=True):
        kept.append(trained.style.is_correct(problem, text) and (problem.id, *ids) not in seen)
        seen.add((problem.id, *ids))
    assert 0 < sum(kept) < 16
    lengths = [len(ids) if keep else 0 for ids, keep in zip(rollouts.completions, kept, strict=True)]
    assert batch.weights_BT.sum(1).tolist() == lengths
    assert batch.metrics["rft/kept"] == sum(kept) / 16
    solved = {problem.id for problem, keep in zip(rollouts.problems, kept, strict=True) if keep}
    assert batch.metrics["rft/solved"] == len(solved) / 4
    assert batch.metrics["rollout/success"] >= batch.metrics["rft/kept"]


def test_the_loss_is_the_cross_entropy_of_what_is_kept(context: Context, trained: LanguageModel) -> None:
    signal = RejectionSampling(samples=4)
    batch = signal.collect(context(trained), 8, 1.0)
    logits = completion_logits(trained.model, batch.sequences).detach()
    losses, _ = signal.token_losses(logits, batch)
    nll = -token_log_probs(logits, batch.sequences.completion_ids_BT)
    rows = batch.weights_BT.sum(1) > 0
    mask = batch.sequences.completion_mask_BT[rows].bool()
    mean = (losses * batch.weights_BT).sum() / batch.weights_BT.sum()
    assert float(mean) == pytest.approx(float(nll[rows][mask].mean()), rel=1e-6)


def test_an_update_without_a_right_sample_has_loss_zero_and_says_so(settings: Callable[..., RunConfig]) -> None:
    run: Any = settings(baseline=RftConfig(samples=5))
    student = DeepSpeedTrainer(run, run.baseline.signal(run), run.data.build(run.seed), Stopwatch())
    before = weights.fingerprint(student.engine.module)
    report = student.update(1.0)  # an untrained student is never right
    assert (report.reading.loss, report.metrics["student/grad_norm"]) == (0.0, 0.0)
    assert (report.metrics["rft/kept"], report.metrics["rft/solved"]) == (0.0, 0.0)
    assert weights.fingerprint(student.engine.module) == before


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"baseline\.samples must be at least 1, got 0"):
        RftConfig(samples=0)
    with pytest.raises(UserError, match=r"train\.batch_size=12 must be a multiple of baseline\.samples=8"):
        RftConfig().signal(RunConfig(train=TrainConfig(batch_size=12)))
