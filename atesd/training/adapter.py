"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft: the student learns little beside frozen base weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from atesd.errors import UserError
from atesd.registry import Config, register

# Where a saved model with adapters keeps these beside its merged weights.
ADAPTER = "adapter"


@dataclass
class LoraConfig(Config):
    """Attributes:
    rank: r, of every adapter.
    alpha: what the adapters add is scaled by alpha / r.
    dropout: of what enters the adapters. ours: OPSD v3 leaves it at its trainer's 0.05.
    targets: names of the linear layers that get an adapter.
    """

    rank: int = 64
    alpha: float = 128
    dropout: float = 0.0
    targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"lora.rank must be at least 1, got {self.rank}; lora=none trains all weights")
        if not 0 < self.alpha < math.inf:
            raise UserError(f"lora.alpha must be a finite number above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"lora.dropout must lie in [0, 1), got {self.dropout}")
        if not self.targets:
            raise UserError("lora.targets names no layer; name some, or lora=none to train all weights")

    def adapt(self, model: Any, seed: int) -> Any:
        """Return the model with fresh adapters, which alone are trained; at first they add nothing.

        Raises:
            UserError: peft is missing, or the model has none of the layers.
        """
        try:
            import peft
        except ImportError:
            raise UserError('lora needs the package peft; run: pip install -e ".[lora]"') from None
        import torch

        settings = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.targets),
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                return peft.get_peft_model(model, settings, autocast_adapter_dtype=False)
            except ValueError as error:
                raise UserError(f"lora.targets={list(self.targets)}: {' '.join(str(error).split())}") from error


def merged(model: Any) -> Any:
    """Return a copy of an adapted model as an ordinary one, what its adapters add being part of the weights."""
    return copy.deepcopy(model).merge_and_unload()


@register("lora", "opsd")
@dataclass
class OpsdLoraConfig(LoraConfig):
    """OPSD v3's (public code of arXiv 2601.18734): rank 64, alpha 128, all seven projections."""
