"""The students: three embedded base models of rising competence, any causal model in a folder, and surrogates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atesd.errors import UserError
from atesd.prompts import STYLES
from atesd.registry import Config, register
from atesd.surrogate import NULL, family

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
    """Greedy accuracy .24."""


@register("model", "tiny")
@dataclass
class TinyConfig(EmbeddedConfig):
    """Greedy accuracy .57."""


@register("model", "tiny_strong")
@dataclass
class TinyStrongConfig(EmbeddedConfig):
    """Greedy accuracy .91."""


@register("model", "surrogate")
@dataclass
class SurrogateConfig(Config):
    """A closed-form student with a known best exposure (``atesd.surrogate``): no data, no teacher, a run in a second.

    Attributes:
        family: how its best exposure moves; a key of ``atesd.surrogate.FAMILIES`` or a calibration.json.
        noise: standard deviation of its readings. ours
    """

    family: str | None = "static"
    noise: float = 0.01

    def __post_init__(self) -> None:
        self.family = NULL if self.family is None else self.family  # the command line reads null as nothing
        family(self.family, "model.family")
        if not 0 <= self.noise < math.inf:
            raise UserError(f"model.noise must be a finite number of 0 or more, got {self.noise}")

    def trainer(self, run: RunConfig, signal: Signal, task: Task, stopwatch: Stopwatch) -> StudentTrainer:
        """Return what trains the student of this run's seed."""
        if run.baseline is not None:
            raise UserError(
                f"baseline={run.baseline.name} needs a student that reads its signal; model=surrogate answers to "
                "exposure alone, so name a controller or another model"
            )
        from atesd.training.surrogate_trainer import SurrogateTrainer

        assert self.family is not None
        trainer: StudentTrainer = SurrogateTrainer(
            self.family, self.noise, run.seed, run.train.updates, run.reward.signal
        )
        return trainer
