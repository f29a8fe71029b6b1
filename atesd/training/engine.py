"""DeepSpeed's settings and its engine. The settings import no engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from atesd.config import TrainConfig
from atesd.errors import UserError
from atesd.models import Dtype
from atesd.registry import Config, register

if TYPE_CHECKING:
    import torch


class Offload(Enum):
    """Where the optimizer's state lies, if not on the device."""

    none = "none"
    cpu = "cpu"


@dataclass
class DeepSpeedConfig(Config):
    """Attributes:
    stage: of ZeRO: 0 shards nothing, 1 the optimizer, 2 also gradients, 3 also weights.
    offload: of the optimizer's state and its step; ``cpu`` needs a stage of 1 or more.
    """

    stage: int = 0
    offload: Offload = Offload.none

    def __post_init__(self) -> None:
        if self.stage not in range(4):
            raise UserError(f"deepspeed.stage must be 0, 1, 2 or 3, got {self.stage}")
        if self.offload is not Offload.none and not self.stage:
            raise UserError(
                f"deepspeed.offload={self.offload.value} moves what ZeRO shards, and deepspeed.stage=0 shards nothing; "
                "choose deepspeed=zero2 or zero3"
            )

    def settings(self, train: TrainConfig, micro_batches: int, dtype: Dtype) -> dict[str, Any]:
        """Return DeepSpeed's own settings."""
        zero: dict[str, Any] = {"stage": self.stage}
        if self.offload is not Offload.none:
            zero["offload_optimizer"] = {"device": self.offload.value}
        return {
            "train_micro_batch_size_per_gpu": train.micro_batch_size,
            "gradient_accumulation_steps": micro_batches,
            "gradient_clipping": train.max_grad_norm,
            "steps_per_print": None,
            "bf16": {"enabled": dtype is Dtype.bfloat16},
            "zero_optimization": zero,
            # A torch optimizer, so that the same update runs on every device.
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        }

    def build(self, model: torch.nn.Module, train: TrainConfig, micro_batches: int, dtype: Dtype) -> Any:
        """Return a DeepSpeed engine around ``model``, with AdamW."""
        import deepspeed
        import torch

        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=train.learning_rate, weight_decay=train.weight_decay)
        settings = self.settings(train, micro_batches, dtype)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
        return engine


def gradient_norm(engine: Any) -> float | None:
    """Return the norm of the gradients the next step will take, or None where ZeRO has sharded them.

    DeepSpeed reports the norm itself only where a ZeRO optimizer clips, after the step.
    """
    import torch

    if engine.zero_optimization():
        return None
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


@register("deepspeed", "zero0")
@dataclass
class Zero0Config(DeepSpeedConfig):
    """Every rank holds everything."""


@register("deepspeed", "zero1")
@dataclass
class Zero1Config(DeepSpeedConfig):
    """The optimizer's state is sharded."""

    stage: int = 1


@register("deepspeed", "zero2")
@dataclass
class Zero2Config(DeepSpeedConfig):
    """Optimizer state and gradients are sharded."""

    stage: int = 2


@register("deepspeed", "zero3")
@dataclass
class Zero3Config(DeepSpeedConfig):
    """Optimizer state, gradients and weights are sharded."""

    stage: int = 3
