"""The teacher: the student's own architecture with initial, averaged or live weights, shown more than the student."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from atesd.config import TeacherConfig, TeacherKind
from atesd.training import weights
from atesd.training.sequences import Sequences, score, score_tokens


class Teacher(ABC):
    """Scores completions; never generates and never gets a gradient."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def logits(self, sequences: Sequences, size: int) -> Tensor:
        """Return the logits [B, T, V] of completions, from passes of ``size`` sequences."""
        with self._own_weights():
            return score(self.model, sequences, size)

    def log_probs(self, sequences: Sequences, size: int) -> Tensor:
        """Return the log-probabilities [B, T] of completions' tokens, from the same passes."""
        with self._own_weights():
            return score_tokens(self.model, sequences, size)

    def _own_weights(self) -> AbstractContextManager[object]:
        """Let the model be the teacher within the block, where it is also the student."""
        return nullcontext()

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        self.model.to(device)

    @abstractmethod
    def follow(self, student: nn.Module) -> None:
        """Take note of a student update."""

    def save(self, folder: Path) -> None:  # noqa: B027 (nothing to save unless the teacher has weights of its own)
        """Write what a resumed run cannot rebuild."""

    def load(self, folder: Path) -> None:  # noqa: B027
        """Read what ``save`` wrote."""

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the weights that follow the student; empty where there are none of its own."""
        return {}

    def restore(self, stored: dict[str, Tensor]) -> None:  # noqa: B027
        """Take back what ``snapshot`` returned."""


class FrozenTeacher(Teacher):
    """The initial student, which a resumed run loads again from the same folder."""

    def __init__(self, student: Any) -> None:
        super().__init__(copy.deepcopy(student))

    def follow(self, student: nn.Module) -> None:
        pass


class AdapterOffTeacher(Teacher):
    """The initial student of one that learns by adapters: its own frozen weights, without a copy (OPSD v3)."""

    def _own_weights(self) -> AbstractContextManager[object]:
        adapter_off: AbstractContextManager[object] = self.model.disable_adapter()
        return adapter_off

    def follow(self, student: nn.Module) -> None:
        pass


class EmaTeacher(Teacher):
    """A running average of the student's weights, kept in every checkpoint.

    Attributes:
        average: the same in fp32, for in bf16 a small share of a small difference rounds to nothing, and the teacher
            would stand still; the model itself where that is fp32.
    """

    FILE = "ema_teacher.safetensors"

    def __init__(self, student: Any, rate: float) -> None:
        super().__init__(copy.deepcopy(student))
        self.average = self.model if student.dtype is torch.float32 else copy.deepcopy(self.model).float()
        self.rate = rate

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.average.to(device)

    def follow(self, student: nn.Module) -> None:
        weights.copy_into(student, self.average, self.rate)
        self._renew()

    def save(self, folder: Path) -> None:
        weights.save(self.average, folder / self.FILE)

    def load(self, folder: Path) -> None:
        weights.load(self.average, folder / self.FILE)
        self._renew()

    def snapshot(self) -> dict[str, Tensor]:
        return weights.snapshot(self.average)

    def restore(self, stored: dict[str, Tensor]) -> None:
        weights.restore(self.average, stored)
        self._renew()

    def _renew(self) -> None:
        if self.model is not self.average:
            weights.copy_into(self.average, self.model)


class LiveTeacher(Teacher):
    """The student itself."""

    def follow(self, student: nn.Module) -> None:
        pass


def build(config: TeacherConfig, student: Any, adapted: bool = False) -> Teacher:
    """Return the teacher of a student that has not been updated and is not sharded; ``adapted``: it has adapters."""
    if config.kind is TeacherKind.frozen:
        return AdapterOffTeacher(student) if adapted else FrozenTeacher(student)
    if config.kind is TeacherKind.ema:
        return EmaTeacher(student, config.ema_rate)
    return LiveTeacher(student)
