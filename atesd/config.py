"""The run's settings. Each default, range and meaning stands here or beside its part, and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore

from atesd.distillation import SignalConfig
from atesd.errors import UserError
from atesd.exposure import Cut
from atesd.rewards import RewardConfig


@dataclass
class TrainConfig:
    """Student training. OPSD v3 has 100 updates of 32 problems, 5e-6 on LoRA, gradient norm 0.1; these values are ours.

    Attributes:
        updates: student updates in the run.
        tokens_generated: the run ends with the update in which the student has generated as many tokens in all, by
            which methods can be matched; ``updates`` is then the most it takes, and all that ends a method without
            rollouts. None: it ends by ``updates`` alone.
        batch_size: sequences per update, over all processes.
        micro_batch_size: sequences per pass of student, teacher or probe on one process, those of like length together.
        learning_rate: of AdamW, constant.
        weight_decay: of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        gradient_checkpointing: compute activations again on the way back instead of keeping them: slower, smaller.
        threads: CPU threads per process; 0 leaves torch's own choice. 1: the same numbers whatever the cores, and runs
            side by side that do not slow each other; a model above a few million parameters wants more.
    """

    updates: int = 120
    tokens_generated: int | None = None
    batch_size: int = 32
    micro_batch_size: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        for key in ("updates", "batch_size", "micro_batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"train.{key} must be at least 1, got {getattr(self, key)}")
        if self.tokens_generated is not None and self.tokens_generated < 1:
            raise UserError(
                f"train.tokens_generated must be at least 1, or null (no such end), got {self.tokens_generated}"
            )
        for key in ("learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, key) < math.inf:
                raise UserError(f"train.{key} must be a finite number above 0, got {getattr(self, key)}")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"train.weight_decay must be a finite number of 0 or more, got {self.weight_decay}")
        if self.threads < 0:
            raise UserError(f"train.threads must be 0 (torch's own choice) or more, got {self.threads}")


class TeacherKind(Enum):
    """Whose weights the teacher has."""

    frozen = "frozen"
    ema = "ema"
    live = "live"


@dataclass
class TeacherConfig:
    """The teacher's weights.

    Attributes:
        kind: ``frozen``: the initial student (OPSD's default); ``ema``: a running average of the student; ``live``.
        ema_rate: share of the student in each step of the average. ours
    """

    kind: TeacherKind = TeacherKind.frozen
    ema_rate: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.ema_rate <= 1:
            raise UserError(f"teacher.ema_rate must lie in (0, 1], got {self.ema_rate}; 1 is teacher.kind=live")


@dataclass
class ExposureConfig:
    """Attributes:
    cut: how references are cut into segments.
    """

    cut: Cut = Cut.step


@dataclass
class EnvConfig:
    """Attributes:
    hold_window: H, student updates that share one exposure. ours: unknown in the paper.
    groups: difficulty groups with an exposure and a controller each (``atesd.groups``). 1 is the paper's, which names
        its one exposure for a whole batch as its limitation.
    """

    hold_window: int = 4
    groups: int = 1

    def __post_init__(self) -> None:
        if self.hold_window < 1:
            raise UserError(f"env.hold_window must be at least 1 student update, got {self.hold_window}")
        if self.groups < 1:
            raise UserError(f"env.groups must be at least 1, got {self.groups}; 1 is one exposure for every problem")


@dataclass
class EvalConfig:
    """Greedy accuracy on held-out problems.

    Attributes:
        every: student updates between evaluations.
        problems: evaluation problems during training.
        final_problems: evaluation problems before and after training.
        batch_size: problems per generation batch.
        rollouts: probe problems, at most, whose rollouts are recorded token by token at every evaluation.
    """

    every: int = 20
    problems: int = 300
    final_problems: int = 2000
    batch_size: int = 256
    rollouts: int = 3

    def __post_init__(self) -> None:
        for key in ("every", "problems", "final_problems", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"eval.{key} must be at least 1, got {getattr(self, key)}")
        if self.rollouts < 0:
            raise UserError(f"eval.rollouts must be 0 (record none) or more, got {self.rollouts}")


@dataclass
class CheckpointConfig:
    """Attributes:
    every: hold windows between checkpoints; the last is kept.
    """

    every: int = 5

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"checkpoint.every must be at least 1 hold window, got {self.every}")


@dataclass
class RunConfig:
    """Everything ``python -m atesd.run`` takes.

    Attributes:
        seed: of the training stream, the rollouts and the controller; 0 is a seed.
        output_dir: where the run is written; an existing folder is refused unless ``resume=true``.
        resume: go on from the last checkpoint in ``output_dir``.
    """

    seed: int = 0
    output_dir: str = "???"
    resume: bool = False
    model: Any = "???"
    data: Any = "???"
    controller: Any = "???"
    baseline: Any = None
    rollout: Any = "???"
    deepspeed: Any = "???"
    lora: Any = None
    tracker: Any = None
    train: TrainConfig = field(default_factory=TrainConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    exposure: ExposureConfig = field(default_factory=ExposureConfig)
    signal: SignalConfig = field(default_factory=SignalConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed must be 0 or more, got {self.seed}")
        self._check_groups()
        if self.lora is not None and self.teacher.kind is TeacherKind.ema:
            raise UserError(
                f"teacher.kind=ema with lora={self.lora.name} would average the factors of the adapters, which is not "
                "the average of the weights they make; choose teacher.kind=frozen or live, or leave lora out"
            )
        span = self.reward.rule(self.env.hold_window).span
        if self.baseline is None and span > self.train.updates:
            raise UserError(
                f"reward.kind={self.reward.kind.value} looks {span} student updates ahead (reward.lookahead, "
                f"env.hold_window), but train.updates={self.train.updates}: no reward could mature; shorten the one or "
                "lengthen the other"
            )

    def _check_groups(self) -> None:
        groups = self.env.groups
        for key, problems in (
            ("reward.probe_problems", self.reward.probe_problems),
            ("train.batch_size", self.train.batch_size),
        ):
            if groups > problems:
                raise UserError(
                    f"env.groups={groups} needs a problem for every group, but {key}={problems}; lower the one or "
                    "raise the other"
                )
        if groups > 1 and self.baseline is not None:
            raise UserError(
                f"env.groups={groups} gives every group a controller, but baseline={self.baseline.name} brings its own "
                "exposure; leave env.groups out or name a controller instead"
            )

    @property
    def windows(self) -> int:
        """Return the number of hold windows; the last may be shorter than the others."""
        return math.ceil(self.train.updates / self.env.hold_window)


ConfigStore.instance().store(name="run", node=RunConfig)
