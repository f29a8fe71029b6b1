"""Where a run's numbers are watched while it works: ``tracker=tensorboard``, ``wandb``, ``trackio`` or ``none``.

The run's own files hold everything; a tracker only shows a copy of ``metrics.jsonl`` and of the accuracies. No tracker
takes a key as a setting, and none writes one: W&B reads ``WANDB_API_KEY`` from the environment.
"""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from atesd.errors import UserError
from atesd.registry import Config, register

Values = Mapping[str, Any]


class Tracker:
    """Shows one run, and by itself nothing; only the process that leads opens one."""

    def open(self, resumed: int, shown: Mapping[str, int]) -> None:
        """Begin, or go on.

        Args:
            resumed: student updates of the checkpoint the run goes on from; -1 for a run that begins.
            shown: the last student update in each log when the run stopped, rows after the checkpoint included.
        """

    def log(self, log: str, update: int, values: Values) -> None:
        """Show a row of a log; what is no number is left out."""

    def close(self) -> None:
        """Write what is still waiting; a tracker that was never opened has nothing."""


@dataclass
class TrackerConfig(Config):
    """Base of every tracker's settings."""

    def build(self, folder: Path, settings: dict[str, Any]) -> Tracker:
        """Return the tracker of the run in ``folder``; nothing is imported or written before it is opened."""
        raise NotImplementedError(f"{type(self).__name__} does not say which tracker it builds")


def library(module: str, tracker: str, extra: str) -> Any:
    """Return an imported module.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as missing:
        raise UserError(
            f'tracker={tracker} needs {missing.name}; install it with pip install "{extra}", or choose tracker=none'
        ) from missing


def numbers(values: Values) -> dict[str, float]:
    """Return the entries that are numbers; a run spells out those that are not finite.

    >>> numbers({"loss": 0.5, "step": 3, "bad": "nan", "none": None, "flag": True})
    {'loss': 0.5, 'step': 3}
    """
    return {key: v for key, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


@register("tracker", "none")
@dataclass
class NoTrackerConfig(TrackerConfig):
    """Nothing to set."""

    def build(self, folder: Path, settings: dict[str, Any]) -> Tracker:
        return Tracker()


class TensorBoard(Tracker):
    """Writes event files into ``tensorboard/``; ``tensorboard --logdir`` on any folder above shows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        self.kept: Mapping[str, int] = {}
        self.writer: Any = None

    def open(self, resumed: int, shown: Mapping[str, int]) -> None:
        # The writer alone: torch.utils.tensorboard would load torch even for a student that is no network.
        writer = library("tensorboard.summary.writer.event_file_writer", "tensorboard", "tensorboard")
        self.event = import_module("tensorboard.compat.proto.event_pb2")
        self.summary = import_module("tensorboard.compat.proto.summary_pb2")
        self.writer = writer.EventFileWriter(str(self.folder))
        self.kept = {log: min(resumed, last) for log, last in shown.items()}
        # A start mark hides the points of earlier files from its step on: the resumed run writes them again.
        start = self.event.SessionLog(status=self.event.SessionLog.START)
        self._write(resumed + 1, session_log=start)

    def log(self, log: str, update: int, values: Values) -> None:
        if update <= self.kept[log]:  # the last evaluation follows the last checkpoint, at the same update
            return
        found = [self.summary.Summary.Value(tag=key, simple_value=value) for key, value in numbers(values).items()]
        self._write(update, summary=self.summary.Summary(value=found))

    def _write(self, step: int, **content: Any) -> None:
        self.writer.add_event(self.event.Event(wall_time=time.time(), step=step, **content))

    def close(self) -> None:
        if self.writer:
            self.writer.close()


@register("tracker", "tensorboard")
@dataclass
class TensorBoardConfig(TrackerConfig):
    """Nothing to set."""

    def build(self, folder: Path, settings: dict[str, Any]) -> Tracker:
        return TensorBoard(folder)


class AppendOnly(Tracker):
    """A tracker that cannot take points back: a resumed run leaves out those it has shown before.

    They would be the same, since a resumed run repeats its updates bit for bit.
    """

    def __init__(self) -> None:
        self.shown: Mapping[str, int] = {}
        self.run: Any = None

    def open(self, resumed: int, shown: Mapping[str, int]) -> None:
        self.shown = shown
        self.run = self.begin()

    def log(self, log: str, update: int, values: Values) -> None:
        if update > self.shown[log]:
            self.run.log(numbers(values), step=update)

    def close(self) -> None:
        if self.run:
            self.run.finish()

    @abstractmethod
    def begin(self) -> Any:
        """Open the run's page, again where it has one, and return it."""


class WandbMode(Enum):
    """Whether W&B sends at once, or leaves files for ``wandb sync``."""

    online = "online"
    offline = "offline"


class Wandb(AppendOnly):
    """Logs to Weights & Biases, its files in ``wandb/``."""

    def __init__(self, config: WandbConfig, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.folder = folder
        self.settings = settings

    def begin(self) -> Any:
        if self.config.mode is WandbMode.online and "WANDB_API_KEY" not in os.environ:
            raise UserError("tracker=wandb needs WANDB_API_KEY in the environment; set it, or use tracker.mode=offline")
        return library("wandb", "wandb", "atesd[wandb]").init(
            project=self.config.project,
            name=str(self.folder),
            id=page(self.folder),
            dir=str(self.folder),
            mode=self.config.mode.value,
            resume="allow",
            config=self.settings,
        )


def page(folder: Path) -> str:
    """Return the run's name on its tracker, drawn once and kept in ``tracker.txt``."""
    kept = folder / "tracker.txt"
    if not kept.exists():
        kept.write_text(os.urandom(8).hex() + "\n")
    return kept.read_text().strip()


@register("tracker", "wandb")
@dataclass
class WandbConfig(TrackerConfig):
    """Attributes:
    project: on the tracker.
    mode: ``online`` or ``offline``.
    """

    project: str = "atesd"
    mode: WandbMode = WandbMode.online

    def build(self, folder: Path, settings: dict[str, Any]) -> Tracker:
        return Wandb(self, folder, settings)


class Trackio(AppendOnly):
    """Logs to trackio, which keeps its numbers on this machine (``TRACKIO_DIR``)."""

    def __init__(self, project: str, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        self.project = project
        self.folder = folder
        self.settings = settings

    def begin(self) -> Any:
        name = f"{self.folder.name}-{page(self.folder)}"
        trackio = library("trackio", "trackio", "atesd[trackio]")
        return trackio.init(project=self.project, name=name, resume="allow", config=self.settings)


@register("tracker", "trackio")
@dataclass
class TrackioConfig(TrackerConfig):
    """Attributes:
    project: on the tracker.
    """

    project: str = "atesd"

    def build(self, folder: Path, settings: dict[str, Any]) -> Tracker:
        return Trackio(self.project, folder, settings)
