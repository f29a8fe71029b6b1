"""The students: three embedded base models of rising competence, and any causal model in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atesd.errors import UserError
from atesd.prompts import STYLES
from atesd.registry import Config, register

if TYPE_CHECKING:
    from atesd.config import RunConfig
    from atesd.interfaces import StudentTrainer
    from atesd.signals import Signal
    from atesd.stopwatch import Stopwatch
    from atesd.tasks.problem import Task

EMBEDDED = Path(__file__).parent


@register("model", "folder")
@dataclass
class ModelConfig(Config):
    """A causal language model in a local folder; ``style`` names its prompt templates in ``atesd.prompts``."""

    path: str = "???"
    style: str = "testbed"

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise UserError(f"model.style={self.style!r} is unknown; known: {', '.join(STYLES)}")

    def folder(self) -> Path:
        """Return where the model lies."""
        return Path(self.path)

    def trainer(self, run: RunConfig, signal: Signal, task: Task, stopwatch: Stopwatch) -> StudentTrainer:
        """Return what trains a student that starts from this model."""
        from atesd.training.deepspeed_trainer import DeepSpeedTrainer

        trainer: StudentTrainer = DeepSpeedTrainer(run, signal, task, stopwatch)
        return trainer


@dataclass
class EmbeddedConfig(ModelConfig):
    """One of the base models in this folder; see its README for the command that made it."""

    path: str = ""

    def folder(self) -> Path:
        return EMBEDDED / self.name


@register("model", "tiny_weak")
@dataclass
class TinyWeakConfig(EmbeddedConfig):
    """Greedy accuracy about .25."""


@register("model", "tiny")
@dataclass
class TinyConfig(EmbeddedConfig):
    """Greedy accuracy about .6."""


@register("model", "tiny_strong")
@dataclass
class TinyStrongConfig(EmbeddedConfig):
    """Greedy accuracy about .87."""
