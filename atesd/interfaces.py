"""The contracts between the parts: controllers choose exposures, trainers train students. Imports no engine."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.exposure import Exposure
from atesd.registry import Config

if TYPE_CHECKING:
    from atesd.rewards import ProgressSignal

Observation = NDArray[np.float32]
State = dict[str, Any]
"""What JSON can hold: dicts with string keys, lists, strings, numbers, booleans, None."""
# What separates the seeds of the groups' controllers from other streams of the run. ours
_GROUPS = 6007


@dataclass(frozen=True)
class Setting:
    """What a controller may know of the run before it starts.

    Attributes:
        seed: of the run; ``seed=0`` is a seed.
        windows: hold windows in the run.
        observation_size: entries of an observation.
        hold_window: student updates in a hold window.
        group: difficulty group the controller chooses for, 0 the easiest, of ``groups``.
    """

    seed: int
    windows: int
    observation_size: int
    hold_window: int
    group: int = 0
    groups: int = 1

    def of_group(self, group: int, groups: int) -> Setting:
        """Return the setting of one group's controller: its own seed, so that no two draw alike; group 0 keeps ours."""
        own = np.random.SeedSequence([self.seed, _GROUPS, group]).generate_state(1)[0]
        return replace(self, seed=int(own) if group else self.seed, group=group, groups=groups)


@dataclass(frozen=True)
class Action:
    """One choice of a controller.

    Attributes:
        exposure: in [0, 1].
        log_prob: log density of the choice under the policy; None where the choice was certain.
        details: plain numbers worth a column in ``decisions.jsonl``, such as the Beta parameters.
    """

    exposure: float
    log_prob: float | None = None
    details: dict[str, float] = field(default_factory=dict)


class Controller(ABC):
    """Chooses one exposure per hold window and learns from rewards that arrive later, or never.

    A subclass writes ``choose`` and, if it learns, ``learn``, ``state_dict`` and ``load_state_dict``. Its randomness
    comes from ``generator(decision)`` alone, so a resumed run repeats no draw and skips none.
    """

    name: str = ""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @final
    def act(self, observation: Observation, decision: int) -> Action:
        """Choose the exposure of hold window ``decision``.

        Raises:
            UserError: the observation is not finite, or the choice is not one number in [0, 1]; names the controller,
                the value and the window.
        """
        where = f"controller {self.name or type(self).__name__}, window {decision}"
        if not np.all(np.isfinite(observation)):
            raise UserError(f"{where}: the observation {observation.tolist()} is not finite; the student has diverged")
        action = self.choose(observation, decision)
        exposure = action.exposure
        if not isinstance(exposure, float | np.floating) or not math.isfinite(exposure) or not 0 <= exposure <= 1:
            raise UserError(f"{where}: chose exposure {exposure!r}; allowed is one float in [0, 1]")
        return replace(action, exposure=float(exposure))  # numpy's own are no JSON

    @abstractmethod
    def choose(self, observation: Observation, decision: int) -> Action:
        """Return the choice for hold window ``decision``."""

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        """Take the matured reward of an earlier decision, in any order; return numbers worth logging."""
        return {}

    def state_dict(self) -> State:
        """Return everything ``load_state_dict`` needs to go on bit for bit."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Take over a state that ``state_dict`` returned."""
        if state:
            raise UserError(f"controller {self.name} keeps no state, but the checkpoint holds {sorted(state)}")

    def generator(self, decision: int) -> np.random.Generator:
        """Return the random generator of one decision."""
        return np.random.default_rng([self.setting.seed, 7919, decision])

    def progress(self, decision: int) -> float:
        """Return the run's progress in [0, 1] at a decision: 0 at the first window, 1 at the last."""
        return decision / max(1, self.setting.windows - 1)


@dataclass
class ControllerConfig(Config):
    """Base of every controller's settings."""

    def build(self, setting: Setting) -> Controller:
        """Return the controller, with its registered name."""
        controller = self.controller(setting)
        controller.name = self.name
        return controller

    def controller(self, setting: Setting) -> Controller:
        raise NotImplementedError(f"{type(self).__name__} does not say which controller it builds")


@dataclass(frozen=True)
class Reading:
    """What one student update leaves behind for observations and rewards.

    Attributes:
        progress_signal: l of the paper, lower is better; what it measures is ``reward.signal``.
        probe_nll: the bare student's NLL of the probe references, nats per token.
        loss: the optimised loss.
        confidence: mean probability the student gave its own tokens.
        mismatch: share of tokens whose most likely entry differs between teacher and student; None without a teacher.
        teacher_log_prob: g of the paper, nats per token: what the exposed teacher gives the reference; None without.
        groups: the same of each difficulty group; empty where there is only one.
    """

    progress_signal: float
    probe_nll: float
    loss: float
    confidence: float
    mismatch: float | None = None
    teacher_log_prob: float | None = None
    groups: tuple[Reading, ...] = ()

    @property
    def by_group(self) -> tuple[Reading, ...]:
        """Return one reading per difficulty group."""
        return self.groups or (self,)

    @classmethod
    def from_state(cls, state: State) -> Reading:
        """Return the reading that ``asdict`` turned into ``state``."""
        return cls(**(state | {"groups": tuple(map(cls.from_state, state["groups"]))}))


@dataclass(frozen=True)
class Verdict:
    """One evaluation problem, answered greedily from the bare prompt."""

    problem: str
    difficulty: int
    correct: bool


@dataclass(frozen=True)
class UpdateReport:
    """One student update: its reading, and everything worth a column in ``metrics.jsonl``."""

    reading: Reading
    metrics: dict[str, float | None]


class StudentDiverged(UserError):
    """A loss or gradient that is not finite."""


class StudentTrainer(ABC):
    """Trains one student. The environment asks for updates; who the student is stays here."""

    @abstractmethod
    def start(self, exposure: Exposure) -> Reading:
        """Load the base student and measure it on the first update's batch, at this exposure, without an update.

        Raises:
            UserError: the student has been updated and cannot start again.
        """

    @abstractmethod
    def update(self, exposure: Exposure) -> UpdateReport:
        """Make one student update with the teacher at this exposure.

        Raises:
            StudentDiverged: the loss or the gradient is not finite.
        """

    @abstractmethod
    def evaluate(self, count: int) -> list[Verdict]:
        """Answer the first ``count`` evaluation problems."""

    @abstractmethod
    def measure(self) -> dict[ProgressSignal, float]:
        """Measure the progress signals that need generation, as the student is now; empty where it generates nothing.

        ``loss`` and ``probe_nll`` are in every reading.
        """

    def specimens(self, exposures: Sequence[float]) -> list[State]:
        """Sample rollouts to look at, with the teacher at these exposures; empty where nothing is written in tokens."""
        return []

    @property
    @abstractmethod
    def updates_done(self) -> int:
        """Student updates since the base model."""

    @property
    def parameters(self) -> int:
        """Parameters of the student without its embeddings; 0 where it is no network."""
        return 0

    @property
    def leads(self) -> bool:
        """Return whether this process writes the run's files."""
        return True

    def any_rank(self, flag: bool) -> bool:
        """Return whether the flag is set on any process; every process must ask."""
        return flag

    @abstractmethod
    def snapshot(self) -> Any:
        """Return the student as it is now, in memory; later updates do not change it.

        Raises:
            UserError: these settings keep the student where it cannot be copied exactly.
        """

    @abstractmethod
    def restore(self, snapshot: Any) -> None:
        """Bring back what ``snapshot`` returned, bit for bit and as often as wanted."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write everything ``load`` needs to go on bit for bit into an empty folder."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Take over what ``save`` wrote."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the student as others load it."""
