"""DeepSpeed's settings, and that none of them changes what is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atesd.config import RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.models import Dtype, ModelConfig
from atesd.stopwatch import Stopwatch
from atesd.training.deepspeed_trainer import DeepSpeedTrainer
from atesd.training.engine import DeepSpeedConfig, Offload

Settings = Callable[..., RunConfig]


def losses(run: RunConfig) -> list[float]:
    student = DeepSpeedTrainer(run, run.signal.build(Cut.step), run.data.build(run.seed), Stopwatch())
    return [student.update(exposure).reading.loss for exposure in (1.0, 0.5)]


def test_offload_and_gradient_checkpointing_compute_the_same(settings: Settings) -> None:
    plain = losses(settings(2))
    checkpointing = TrainConfig(
        updates=4, batch_size=5, micro_batch_size=2, learning_rate=1e-3, gradient_checkpointing=True
    )
    offloaded = DeepSpeedConfig(stage=2, offload=Offload.cpu)
    assert losses(settings(train=checkpointing)) == plain
    assert losses(settings(2, deepspeed=offloaded)) == pytest.approx(plain, rel=1e-4)


def test_bf16_trains_close_to_fp32_and_alike_at_every_stage(settings: Settings) -> None:
    path = settings().model.path
    plain = losses(settings(2))
    rounded = [losses(settings(2, stage, model=ModelConfig(path=path, dtype=Dtype.bfloat16))) for stage in (1, 2, 3)]
    assert rounded[0] == pytest.approx(plain, rel=0.1)
    assert rounded[0] != pytest.approx(plain, rel=1e-6)
    assert rounded[1:] == [pytest.approx(rounded[0], rel=1e-3)] * 2


def test_what_does_not_go_together_is_refused(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"deepspeed\.offload=cpu .* deepspeed\.stage=0"):
        DeepSpeedConfig(offload=Offload.cpu)
    run = settings(model=ModelConfig(path=settings().model.path, dtype=Dtype.bfloat16))
    with pytest.raises(UserError, match=r"model\.dtype=bfloat16 .* choose deepspeed=zero1"):
        run.model.trainer(run, run.signal.build(Cut.step), run.data.build(0), Stopwatch())
