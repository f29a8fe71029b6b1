"""Specimens: what is recorded of a rollout is what the models say, and recording leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch

from atesd.config import EvalConfig, RunConfig, TrainConfig
from atesd.exposure import Cut
from atesd.rewards import RewardConfig
from atesd.stopwatch import Stopwatch
from atesd.tasks.problem import Split
from atesd.training import weights
from atesd.training.adapter import LoraConfig
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.hf_rollout import HfRollout
from atesd.training.language_model import LanguageModel
from atesd.training.ranks import Ranks
from atesd.training.rollout import SampleKey
from atesd.training.sequences import TokenIds, completion_logits
from atesd.training.specimens import Specimens

Settings = Callable[..., RunConfig]


def trainer(run: RunConfig) -> DeepSpeedTrainer:
    return DeepSpeedTrainer(run, run.signal.build(Cut.step), run.data.build(run.seed), Stopwatch())


@pytest.mark.parametrize("lora", [None, LoraConfig(name="small", rank=4, alpha=8)])
def test_a_row_holds_what_student_and_teacher_say(
    lora: LoraConfig | None, settings: Settings, language: LanguageModel
) -> None:
    base = language.model  # the frozen teacher's weights, which adapters leave alone
    student = trainer(settings(lora=lora, train=TrainConfig(updates=4, batch_size=5, learning_rate=1e-2)))
    student.update(1.0)
    rows = student.specimens([0.5])
    assert len(rows) == 3
    for row, problem in zip(rows, student.probes.groups[0].problems, strict=True):
        assert (row["update"], row["problem"], row["correct"]) == (1, problem.id, False)
        assert [score["exposure"] for score in row["teacher"]] == [0.0, 0.5, 1.0]
        assert [score["realised"] for score in row["teacher"]][::2] == [0.0, 1.0]
        assert "".join(row["tokens"]).removesuffix("<eos>") == row["completion"]
        language = student.student
        ids = [language.tokenizer.convert_tokens_to_ids(token) for token in row["tokens"]]
        prompts = language.student_prompt(problem), language.teacher_prompt(problem, problem.reference)
        with torch.no_grad():
            student_TV, teacher_TV = (
                completion_logits(model, language.collate([prompt], [ids]))[0].log_softmax(-1)
                for model, prompt in zip((language.model, base), prompts, strict=True)
            )
        for place in range(len(ids)):
            p, q = teacher_TV[place].exp().tolist(), student_TV[place].exp().tolist()
            kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
            assert row["teacher"][2]["kl_nats"][place] == pytest.approx(kl, abs=2e-4)
            assert row["student"][place][0][1] == pytest.approx(max(q), abs=2e-5)
            assert row["teacher"][2]["top"][place][0][1] == pytest.approx(max(p), abs=2e-5)
            assert len(row["student"][place]) == 3


def test_at_the_ends_of_exposure_there_are_two_teachers(settings: Settings) -> None:
    assert [score["exposure"] for score in trainer(settings()).specimens([1.0])[0]["teacher"]] == [0.0, 1.0]


def test_recording_leaves_no_trace(settings: Settings) -> None:
    recorded, silent = (trainer(settings()) for _ in range(2))
    for student in (recorded, silent):
        student.start(0.5)
    reports = []
    for student in (recorded, silent):
        found = []
        for exposure in (0.2, 0.9):
            if student is recorded:
                assert student.specimens([exposure]) == student.specimens([exposure])
            found.append(student.update(exposure))
        reports.append(found)
    assert reports[0] == reports[1]
    assert weights.fingerprint(recorded.engine.module) == weights.fingerprint(silent.engine.module)


@pytest.mark.parametrize(("asked", "problems", "found"), [(0, 3, 0), (2, 3, 2), (5, 3, 3)])
def test_no_more_are_recorded_than_asked_for(asked: int, problems: int, found: int, settings: Settings) -> None:
    run = settings(eval=EvalConfig(rollouts=asked), reward=RewardConfig(lookahead=2, probe_problems=problems))
    assert len(trainer(run).specimens([0.5])) == found


def test_a_rank_without_specimens_calls_the_sampler_it_shares_all_the_same(settings: Settings) -> None:
    student = trainer(settings())
    calls = []

    class Counted(HfRollout):
        def generate(self, prompts: Sequence[TokenIds], keys: Sequence[SampleKey] | None) -> list[list[int]]:
            calls.append(len(prompts))
            return super().generate(prompts, keys)

    student.collector.rollout = Counted(student.run.rollout, student.student)
    for rank in range(4):
        problems = Ranks(rank, 4).share(student.task.held_out(Split.probe, 3))
        Specimens(student.collector, problems, Cut.step).rows(0, [0.5])
    assert calls == [0, 1, 1, 1]
