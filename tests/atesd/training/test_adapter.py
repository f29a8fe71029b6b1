"""Low-rank adapters on a real engine: what they leave alone, what they learn, and what a run with them leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from atesd.config import RunConfig, TeacherConfig, TeacherKind
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.stopwatch import Stopwatch
from atesd.training import weights
from atesd.training.adapter import ADAPTER, LoraConfig, OpsdLoraConfig, merged
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import Sequences, collate, score

Settings = Callable[..., RunConfig]
SMALL = LoraConfig(name="small", rank=4, alpha=8)


def trainer(run: RunConfig) -> DeepSpeedTrainer:
    return DeepSpeedTrainer(run, run.signal.build(Cut.step), run.data.build(run.seed), Stopwatch())


@pytest.fixture
def batch() -> Sequences:
    return collate([[4, 5, 6], [7]], [[8, 9, 10], [3, 4, 5]], 0)


def test_settings_are_opsd_v3s() -> None:
    opsd = OpsdLoraConfig(name="opsd")
    assert (opsd.rank, opsd.alpha, len(opsd.targets)) == (64, 128, 7)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_an_update_moves_the_adapters_alone_and_the_teacher_stays_the_base_bit_for_bit(
    stage: int, settings: Settings, language: LanguageModel, batch: Sequences
) -> None:
    student = trainer(settings(stage=stage, lora=SMALL))
    before = {name: weight.clone() for name, weight in weights.whole(student.engine.module)}
    base = score(language.model, batch, 2)
    assert torch.equal(score(student.student.model, batch, 2), base)  # fresh adapters add nothing
    for _ in range(2):
        student.update(0.5)
    assert student.teacher.model is student.student.model  # no copy
    assert torch.equal(student.teacher.logits(batch, 2), base)
    assert not torch.equal(score(student.student.model, batch, 2), base)
    moved = {name for name, weight in weights.whole(student.engine.module) if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if "lora_" in name}


def test_sharding_does_not_change_what_adapters_learn(settings: Settings) -> None:
    alone, others = trainer(settings(lora=SMALL)), [trainer(settings(2, stage, lora=SMALL)) for stage in (1, 2, 3)]
    for exposure in (1.0, 0.5):
        loss = alone.update(exposure).reading.loss
        assert [other.update(exposure).reading.loss for other in others] == pytest.approx([loss] * 3, rel=1e-4)


@pytest.mark.parametrize(("kind", "stage"), [("frozen", 0), ("live", 0), ("frozen", 2), ("frozen", 3)])
def test_a_checkpoint_holds_the_adapters_and_goes_on_bit_for_bit(
    kind: str, stage: int, settings: Settings, tmp_path: Path
) -> None:
    run = settings(stage=stage, lora=SMALL, teacher=TeacherConfig(TeacherKind[kind]))
    straight = trainer(run)
    straight.update(0.5)
    (tmp_path / "checkpoint").mkdir()
    straight.save(tmp_path / "checkpoint")
    report = straight.update(0.7)
    resumed = trainer(run)
    resumed.load(tmp_path / "checkpoint")
    assert resumed.update(0.7) == report
    assert weights.fingerprint(resumed.engine.module) == weights.fingerprint(straight.engine.module)


def test_a_snapshot_copies_the_adapters_and_comes_back(settings: Settings) -> None:
    student = trainer(settings(lora=SMALL))
    student.update(0.5)
    snapshot = student.snapshot()
    assert all("lora_" in name for name in snapshot.weights)
    first = student.update(0.7), weights.fingerprint(student.engine.module)
    student.restore(snapshot)
    assert (student.update(0.7), weights.fingerprint(student.engine.module)) == first


@pytest.mark.parametrize("stage", [0, 3])
def test_a_sampler_gets_what_peft_merges_and_the_student_stays_as_it_was(stage: int, settings: Settings) -> None:
    student = trainer(settings(stage=stage, lora=SMALL))
    student.update(0.5)
    for model in (student.engine.module, student.student.model):  # at stage 3 sharded, and its whole copy
        before = weights.fingerprint(model)
        sent = {name: weight.clone() for name, weight in weights.under_every_name(model)}
        assert weights.fingerprint(model) == before
        ordinary = merged(student.student.model)
        assert sent.keys() == {name for name, _ in ordinary.named_parameters(remove_duplicate=False)}
        for name, weight in ordinary.named_parameters(remove_duplicate=False):
            assert (sent[name] - weight).abs().max() < 1e-6, name
    base = dict(weights.under_every_name(student.student.model.unload()))
    moved = {name for name, weight in base.items() if not torch.equal(sent[name], weight)}
    assert len(moved) == 7 * 2  # projections of 2 layers


def test_the_export_is_an_ordinary_model_and_an_adapter_of_its_base(
    settings: Settings, batch: Sequences, tmp_path: Path
) -> None:
    student = trainer(settings(lora=SMALL))
    student.update(0.5)
    trained = score(student.student.model, batch, 2)
    student.export(tmp_path / "model")
    for folder in (tmp_path / "model", tmp_path / "model" / ADAPTER):
        loaded = AutoModelForCausalLM.from_pretrained(folder).eval()
        assert (score(loaded, batch, 2) - trained).abs().max() < 1e-5, folder
    assert torch.equal(score(student.student.model, batch, 2), trained)  # the run's own student is as it was


def test_what_adapters_cannot_do_is_refused(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"teacher\.kind=ema with lora=small would average the factors"):
        settings(lora=SMALL, teacher=TeacherConfig(TeacherKind.ema))
    with pytest.raises(UserError, match=r"lora\.targets=\['wqkv'\]: .*wqkv"):
        trainer(settings(lora=LoraConfig(targets=["wqkv"])))
    for wrong in ({"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"targets": []}):
        with pytest.raises(UserError, match=rf"lora\.{next(iter(wrong))}"):
            LoraConfig(**wrong)
