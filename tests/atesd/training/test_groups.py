"""Difficulty groups on a real student: each has its own exposure, numbers and probe, and all of it can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from atesd.config import EnvConfig, RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.groups import equal_shares
from atesd.interfaces import Reading, Setting
from atesd.models import SurrogateConfig
from atesd.rewards import ProgressSignal, RewardConfig
from atesd.signals import SignalBatch
from atesd.stopwatch import Stopwatch
from atesd.tasks.problem import Split
from atesd.training import weights
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.difficulty import reference_nlls
from atesd.training.group_readings import GroupReadings
from atesd.training.language_model import LanguageModel
from atesd.training.sequences import Sequences, completion_logits
from baselines.sft import SftConfig
from controllers.per_group import PerGroupConfig
from controllers.uniform import UniformConfig

Settings = Callable[..., RunConfig]
EXPOSURES = [1.0, 0.5, 0.0]


def grouped(settings: Settings, **changes: object) -> RunConfig:
    return settings(
        **{
            "train": TrainConfig(updates=4, batch_size=9, micro_batch_size=4, learning_rate=1e-3),
            "env": EnvConfig(hold_window=2, groups=3),
            "reward": RewardConfig(lookahead=2, probe_problems=7),
            **changes,
        }
    )


def trainer(run: RunConfig) -> DeepSpeedTrainer:
    return DeepSpeedTrainer(run, run.signal.build(Cut.step), run.data.build(run.seed), Stopwatch())


def test_difficulty_is_the_nll_of_each_reference(language: LanguageModel, settings: Settings) -> None:
    problems = settings().data.build(0).held_out(Split.probe, 3)
    nlls, tokens = reference_nlls(language, problems, 2)
    for problem, nll in zip(problems, nlls, strict=True):
        prompt, reference = language.student_prompt(problem), language.reference_completion(problem)
        with torch.no_grad():
            logits = language.model(input_ids=torch.tensor([prompt + reference])).logits[0, len(prompt) - 1 : -1]
        assert nll == pytest.approx(-float(logits.log_softmax(-1)[range(len(reference)), reference].sum()), rel=1e-5)
        tokens -= len(prompt) + len(reference)
    assert tokens == 0


def test_every_group_realises_its_own_exposure_on_the_problems_it_is_made_of(
    settings: Settings, language: LanguageModel
) -> None:
    run = grouped(settings)
    student = trainer(run)
    problems = [student.task.training_problem(position) for position in range(9)]
    shares = equal_shares(reference_nlls(language, problems, 2)[0], 3)
    report = student.update(EXPOSURES)
    for group, share in enumerate(shares):
        assert report.metrics[f"group_{group}/rows"] == 3
        assert report.metrics[f"group_{group}/exposure/asked"] == EXPOSURES[group]
        steps = [len(student.task.steps(problems[index].reference)) for index in share]
        realised = sum(int(EXPOSURES[group] * count) / count for count in steps) / 3
        assert report.metrics[f"group_{group}/exposure/realised"] == pytest.approx(realised)
    assert report.metrics["exposure/asked"] == 0.5


def test_one_exposure_for_all_groups_is_the_update_without_groups(settings: Settings) -> None:
    """Only the numbers by group are new, and the pooled ones are made of them."""
    train = TrainConfig(updates=4, batch_size=9, micro_batch_size=4, learning_rate=1e-3)
    alone = trainer(grouped(settings, env=EnvConfig(hold_window=2)))
    split = trainer(grouped(settings, train=train))
    one, three = alone.update(0.5), split.update([0.5] * 3)
    assert weights.fingerprint(alone.engine.module) == weights.fingerprint(split.engine.module)
    assert three.reading.loss == one.reading.loss
    assert three.reading.probe_nll == pytest.approx(one.reading.probe_nll, rel=1e-5)
    assert (one.reading.groups, len(three.reading.groups)) == ((), 3)
    assert len({reading.probe_nll for reading in three.reading.groups}) == 3
    assert three.metrics["tokens/scored_by_student"] > one.metrics["tokens/scored_by_student"]


def test_a_groups_numbers_are_of_its_own_rows(settings: Settings) -> None:
    student = trainer(grouped(settings))
    with student.collector.rewinding(), torch.no_grad():
        batch = student.signal.collect(student.collector, 9, EXPOSURES)
        losses_BT, _ = student.signal.token_losses(completion_logits(student.student.model, batch.sequences), batch)
    report = student.update(EXPOSURES)
    mask_BT = batch.sequences.completion_mask_BT.bool()
    for group in range(3):
        rows = torch.tensor(batch.groups) == group
        expected = float(losses_BT[rows][mask_BT[rows]].mean())
        assert report.metrics[f"group_{group}/loss/optimised"] == pytest.approx(expected, rel=1e-4)


def test_probe_problems_are_split_by_the_base_student_for_good(settings: Settings, language: LanguageModel) -> None:
    student = trainer(grouped(settings))
    problems = student.task.held_out(Split.probe, 7)
    shares = equal_shares(reference_nlls(language, problems, 2)[0], 3)
    expected = [[problems[index] for index in share] for share in shares]
    assert [len(share) for share in expected] == [3, 2, 2]
    student.update(EXPOSURES)
    assert [probe.problems for probe in student.probes.groups] == expected


@pytest.mark.parametrize("signal", ProgressSignal)
def test_every_group_has_its_own_progress(signal: ProgressSignal, settings: Settings) -> None:
    reading = trainer(
        grouped(settings, reward=RewardConfig(lookahead=2, probe_problems=7, signal=signal, grounding=0.1))
    ).start(0.5)
    for own in reading.groups:
        same = {ProgressSignal.probe_nll: own.probe_nll, ProgressSignal.loss: own.loss, ProgressSignal.probe_success: 1}
        assert own.progress_signal == same.get(signal, own.progress_signal)
        assert own.mismatch is not None
        assert own.teacher_log_prob is not None
        assert 0 < own.confidence < 1


def test_starting_checkpoints_and_snapshots_leave_no_trace(settings: Settings, tmp_path: Path) -> None:
    run = grouped(settings)
    straight, started = trainer(run), trainer(run)
    started.start(0.5)
    assert started.collector.quantiles.thresholds == []
    (tmp_path / "checkpoint").mkdir()
    reports = [straight.update(EXPOSURES)]
    straight.save(tmp_path / "checkpoint")
    snapshot = straight.snapshot()
    reports += [straight.update([0.2, 0.9, 0.4]) for _ in range(2)]
    straight.restore(snapshot)
    assert [straight.update([0.2, 0.9, 0.4]) for _ in range(2)] == reports[1:]
    resumed = trainer(run)
    resumed.load(tmp_path / "checkpoint")
    assert [resumed.update([0.2, 0.9, 0.4]) for _ in range(2)] == reports[1:]
    assert weights.fingerprint(resumed.engine.module) == weights.fingerprint(straight.engine.module)
    assert started.update(EXPOSURES) == reports[0]


class OneRank:
    """Gathers what there is; the real ranks need a process group."""

    def gather(self, value: object) -> list[object]:
        return [value]


def test_a_group_without_a_row_says_nothing_and_keeps_what_it_said() -> None:
    readings = GroupReadings(2, OneRank())  # type: ignore[arg-type]
    for groups, rows in (([0, 1, 1], [1, 2]), ([0, 0, 0], [3, 0])):
        lengths = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]])
        batch = SignalBatch(
            Sequences(lengths, lengths, 0), lengths.float(), groups=groups, row_metrics={"asked": [1.0, 0.5, 0.0]}
        )
        columns = {
            "group": torch.tensor(groups).repeat_interleave(lengths.sum(1)),
            "loss": torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        }
        found = readings.of(batch, columns, lambda columns: {"loss": float(columns["loss"].sum())})
        assert [metrics["rows"] for metrics in found] == rows
    assert found == [{"rows": 3, "asked": 0.5, "loss": 21.0}, {"rows": 0}]
    assert readings.newest[1] == {"rows": 2, "asked": 0.25, "loss": 18.0}


def test_readings_survive_json() -> None:
    from dataclasses import asdict

    part = Reading(1.0, 2.0, 3.0, 0.5)
    whole = Reading(1.0, 2.0, 3.0, 0.5, 0.25, -1.0, (part, part))
    assert Reading.from_state(asdict(whole)) == whole
    assert (whole.by_group, part.by_group) == ((part, part), (part,))


def test_controllers_of_two_groups_draw_different_numbers_and_the_first_draws_as_before() -> None:
    setting = Setting(0, 5, 6, 4)
    draws = [
        [UniformConfig("uniform").build(own).choose(None, decision).exposure for decision in range(5)]  # type: ignore[arg-type]
        for own in [setting, *(setting.of_group(group, 3) for group in range(3))]
    ]
    assert draws[0] == draws[1]
    assert len({tuple(drawn) for drawn in draws}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": RewardConfig(lookahead=2, probe_problems=2)}, r"env\.groups=3 needs .* reward\.probe_problems=2"),
        ({"train": TrainConfig(updates=4, batch_size=2)}, r"env\.groups=3 needs .* train\.batch_size=2"),
        ({"baseline": SftConfig("sft")}, r"env\.groups=3 gives every group a controller, but baseline=sft"),
    ],
)
def test_groups_that_cannot_be_are_refused(changes: dict[str, object], message: str, settings: Settings) -> None:
    with pytest.raises(UserError, match=message):
        grouped(settings, **changes)


def test_no_group_at_all_is_refused() -> None:
    with pytest.raises(UserError, match=r"env\.groups must be at least 1, got 0"):
        EnvConfig(groups=0)


def test_a_surrogate_has_no_problems_to_group(settings: Settings) -> None:
    run = grouped(settings, model=SurrogateConfig("surrogate"))
    with pytest.raises(UserError, match=r"env\.groups=3 groups problems .* model=surrogate has no problems"):
        run.model.trainer(run, run.signal.build(Cut.step), run.data.build(0), Stopwatch())


def test_per_group_holds_one_exposure_each() -> None:
    config = PerGroupConfig("per_group", [1.0, 0.5, 0.25])
    setting = Setting(0, 5, 6, 4)
    assert [config.build(setting.of_group(group, 3)).exposure for group in range(3)] == [1.0, 0.5, 0.25]
    with pytest.raises(UserError, match=r"controller\.exposures=.* holds 3 exposures, and env\.groups=2"):
        config.build(setting.of_group(0, 2))
    with pytest.raises(UserError, match=r"controller\.exposures must lie in \[0, 1\], got 1\.5"):
        PerGroupConfig("per_group", [1.5])
