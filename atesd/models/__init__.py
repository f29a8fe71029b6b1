"""The students: three embedded base models of rising competence, any Hugging Face causal model, and surrogates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from atesd.errors import UserError
from atesd.frame import Frames, Templates
from atesd.prompts import STYLES
from atesd.registry import Config, register
from atesd.surrogate.law import NULL, family

if TYPE_CHECKING:
    from atesd.config import RunConfig
    from atesd.interfaces import StudentTrainer
    from atesd.signals import Signal
    from atesd.stopwatch import Stopwatch
    from atesd.tasks.problem import Task

EMBEDDED = Path(__file__).parent


_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Source:
    """Where a model comes from, as ``from_pretrained`` takes it: ``name``, and arguments by their own names."""

    name: str
    arguments: dict[str, str] = field(default_factory=dict)


class Dtype(Enum):
    """What weights are kept and multiplied in."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@register("model", "folder")
@dataclass
class ModelConfig(Config):
    """A causal language model in a local folder.

    Attributes:
        style: its prompt templates in ``atesd.prompts``.
        dtype: of its weights; beside ``bfloat16`` DeepSpeed keeps what the optimizer changes in fp32.
        pad_token: what fills rows up, for a tokenizer that names nothing for it: one of its own tokens. Fillings are
            masked, so no number depends on it; the exported tokenizer names it.
    """

    path: str = "???"
    style: str = "testbed"
    dtype: Dtype = Dtype.float32
    pad_token: str | None = None

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise UserError(f"model.style={self.style!r} is unknown; known: {', '.join(STYLES)}")

    def folder(self) -> Path:
        """Return where the model lies."""
        return Path(self.path)

    def source(self) -> Source:
        """Return where the model comes from.

        Raises:
            UserError: there is no model.
        """
        if not (self.folder() / "config.json").is_file():
            raise UserError(
                f"model.path={self.folder()} holds no config.json; give the folder of a Hugging Face causal model"
            )
        return Source(str(self.folder()))

    def hub_name(self) -> str:
        """Return what the hub calls this model; empty where it is not from there."""
        return ""

    def frames(self, tokenizer: Any) -> Frames:
        """Return what surrounds this model's prompts.

        Raises:
            UserError: its chat template does not serve.
        """
        return STYLES[self.style].frames(tokenizer, Templates(), f"model.path={self.folder()}")

    def trainer(self, run: RunConfig, signal: Signal, task: Task, stopwatch: Stopwatch) -> StudentTrainer:
        """Return what trains a student that starts from this model."""
        if self.dtype is Dtype.bfloat16 and not run.deepspeed.stage:
            raise UserError(
                "model.dtype=bfloat16 needs the fp32 weights that DeepSpeed keeps from stage 1 on, and "
                "deepspeed.stage=0; choose deepspeed=zero1, zero2 or zero3"
            )
        from atesd.training.deepspeed_trainer import DeepSpeedTrainer

        trainer: StudentTrainer = DeepSpeedTrainer(run, signal, task, stopwatch)
        return trainer


@register("model", "hf")
@dataclass
class HfConfig(ModelConfig):
    """Any Hugging Face causal model, spoken to through its own chat template.

    Attributes:
        path: a folder, a GGUF file, or a name on the hub.
        revision: commit of a model on the hub, so that a run can be repeated.
        style: ``chat``; ``plain`` for base models without a chat template.
        template: arguments of the chat template, such as Qwen3's ``enable_thinking``.
    """

    revision: str = ""
    style: str = "chat"
    template: Templates = field(default_factory=Templates)

    def source(self) -> Source:
        path = Path(self.path)
        if path.suffix == ".gguf" and path.is_file():
            return Source(str(path.parent), {"gguf_file": path.name})
        if path.is_dir():
            return super().source()
        if path.is_absolute() or path.suffix == ".gguf" or self.path.startswith(".") or self.path.count("/") > 1:
            raise UserError(f"model.path={self.path} is neither a folder nor a GGUF file; give one, or a hub name")
        if not _COMMIT.fullmatch(self.revision):
            raise UserError(
                f"model.path={self.path} is no folder here, so a name on the hub, and model.revision={self.revision!r} "
                "does not pin it; give the 40-digit commit from the model's page, or the folder of a copy"
            )
        return Source(self.path, {"revision": self.revision})

    def hub_name(self) -> str:
        return "" if Path(self.path).exists() else self.path

    def frames(self, tokenizer: Any) -> Frames:
        return STYLES[self.style].frames(tokenizer, self.template, f"model.path={self.folder()}")


@dataclass
class PublishedConfig(HfConfig):
    """A model on the hub at a pinned commit; ``path`` may name a folder with a copy instead.

    What its architecture is lies beside this file, so that a dry run needs no network.
    """

    def architecture(self) -> Path:
        """Return the file of its public architecture."""
        return EMBEDDED / f"{self.name}.json"

    def hub_name(self) -> str:
        return type(self).path


@register("model", "smollm2_135m")
@dataclass
class SmolLm2Config(PublishedConfig):
    """SmolLM2-135M-Instruct."""

    path: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    revision: str = "12fd25f77366fa6b3b4b768ec3050bf629380bac"


@register("model", "qwen3_0_6b")
@dataclass
class Qwen3Of600MConfig(PublishedConfig):
    """Qwen3-0.6B. The clip is OPSD v3's for 1.7B: it has no run of this size."""

    path: str = "Qwen/Qwen3-0.6B"
    revision: str = "c1899de289a04d12100db370d81485cdf75e47ca"
    brings: ClassVar[dict[str, Any]] = {"signal": {"clip": 0.05}}


@register("model", "qwen3_1_7b")
@dataclass
class Qwen3Of1700MConfig(PublishedConfig):
    """Qwen3-1.7B, with OPSD v3's clip for it."""

    path: str = "Qwen/Qwen3-1.7B"
    revision: str = "70d244cc86ccca08cf5af4e1e306ecf908b1ad5e"
    brings: ClassVar[dict[str, Any]] = {"signal": {"clip": 0.05}}


@register("model", "qwen3_4b")
@dataclass
class Qwen3Of4BConfig(PublishedConfig):
    """Qwen3-4B, with OPSD v3's clip for it."""

    path: str = "Qwen/Qwen3-4B"
    revision: str = "1cfa9a7208912126459214e8b04321603b3df60c"
    brings: ClassVar[dict[str, Any]] = {"signal": {"clip": 0.05}}


@register("model", "qwen3_8b")
@dataclass
class Qwen3Of8BConfig(PublishedConfig):
    """Qwen3-8B, with OPSD v3's clip for it."""

    path: str = "Qwen/Qwen3-8B"
    revision: str = "b968826d9c46dd6066d109eabc6255188de91218"
    brings: ClassVar[dict[str, Any]] = {"signal": {"clip": 0.06}}


@dataclass
class EmbeddedConfig(ModelConfig):
    """One of the base models in this folder; see its README for the command that made it."""

    path: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path:
            raise UserError(f"model={self.name} comes with its weights, got model.path={self.path}; take model=folder")

    def folder(self) -> Path:
        return EMBEDDED / self.name


@register("model", "tiny_weak")
@dataclass
class TinyWeakConfig(EmbeddedConfig):
    """Greedy accuracy .24."""


@register("model", "tiny")
@dataclass
class TinyConfig(EmbeddedConfig):
    """Greedy accuracy .62."""


@register("model", "tiny_strong")
@dataclass
class TinyStrongConfig(EmbeddedConfig):
    """Greedy accuracy .88."""


@register("model", "surrogate")
@dataclass
class SurrogateConfig(Config):
    """A closed-form student with a known best exposure (``atesd.surrogate``): no data, no teacher, a run in a second.

    Attributes:
        family: how its best exposure moves; a key of ``atesd.surrogate.law.FAMILIES`` or a calibration.json.
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
        if run.env.groups > 1:
            raise UserError(
                f"env.groups={run.env.groups} groups problems by difficulty, and model=surrogate has no problems; "
                "leave env.groups out or choose another model"
            )
        from atesd.training.surrogate_trainer import SurrogateTrainer

        assert self.family is not None
        trainer: StudentTrainer = SurrogateTrainer(
            self.family, self.noise, run.seed, run.train.updates, run.reward.signal
        )
        return trainer
