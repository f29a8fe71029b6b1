"""The exposure decision as a Gymnasium environment: one step is a hold window of student updates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Observation, Reading, State, StudentDiverged, StudentTrainer, UpdateReport
from atesd.observation import HIGH, LOW, NEUTRAL_EXPOSURE, RunningState
from atesd.rewards import RewardRule

# Paid for a window in which the student diverged. ours
DIVERGED_REWARD = -1.0


@dataclass(frozen=True)
class Snapshot:
    """A student, as its trainer keeps it, and what the environment remembers."""

    student: Any
    environment: State


class ExposureEnv(gymnasium.Env[Observation, NDArray[np.float64]]):
    """Choose how much of the reference the teacher sees for the next hold window of student updates.

    ## Action Space
    ``Box(0, 1, (groups,), float64)``: the exposure of each difficulty group (``atesd.groups``), the easiest first, held
    for ``hold_window`` student updates (fewer in the last window). There is one group unless ``groups`` says otherwise.

    ## Observation Space
    ``Box(6 * groups,)``: progress, exposure, loss, mismatch, probe, confidence of the first group, then of the next;
    the table is in ``atesd/observation.py``.

    ## Rewards
    The window's own progress: the reward rule applied to the readings of this window, averaged over groups. The
    paper's reward looks further ahead and matures later; ``info["readings"]`` holds all it needs
    (``atesd.decisions.DecisionLedger``).

    ## Starting State
    The base student, which the trainer brings; the environment loads nothing. A real student cannot start again:
    ``reset`` after the first step raises ``UserError``, so no wrapper restarts a run behind one's back.

    ## Episode End
    Truncated when ``updates`` student updates are done, or ``tokens_generated`` tokens generated where such a limit is
    given; that may cut the last hold window short. Terminated, with reward -1, when the student diverged
    (``info["diverged"]`` says how).

    ## Info
    ``update``: student updates done. ``exposure``: as executed, one per group. ``readings``: one dict per update of
    the window, preceded by the one before it.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        trainer: StudentTrainer,
        rule: RewardRule,
        updates: int,
        hold_window: int,
        groups: int = 1,
        tokens_generated: int | None = None,
    ) -> None:
        for name, value in (("hold_window", hold_window), ("groups", groups)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.trainer = trainer
        self.rule = rule
        self.updates = updates
        self.hold_window = hold_window
        self.groups = groups
        self.tokens_generated = tokens_generated
        self.generated = 0
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (groups,), np.float64)
        self.observation_space = gymnasium.spaces.Box(np.tile(LOW, groups), np.tile(HIGH, groups), dtype=np.float32)
        self.on_update: Callable[[int, UpdateReport], None] = lambda update, report: None

    @property
    def finished(self) -> bool:
        """Return whether the run is at its end."""
        spent = self.tokens_generated is not None and self.generated >= self.tokens_generated
        return spent or self.trainer.updates_done >= self.updates

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self.last = self.trainer.start(NEUTRAL_EXPOSURE)
        self.generated = 0
        self.states = [RunningState(reading) for reading in self.last.by_group]
        return self._observation(), self._info([self.last])

    def step(self, action: NDArray[np.float64]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        exposures = self._exposures(action)
        readings = [self.last]
        try:
            while len(readings) <= self.hold_window and not self.finished:
                readings.append(self._update(exposures))
        except StudentDiverged as diverged:
            info = self._info(readings) | {"exposure": exposures, "diverged": str(diverged)}
            return self._observation(), DIVERGED_REWARD, True, False, info
        info = self._info(readings) | {"exposure": exposures}
        by_group = zip(*(reading.by_group for reading in readings), strict=True)
        reward = float(np.mean([self.rule(series).total for series in by_group]))
        return self._observation(), reward, False, self.finished, info

    def state_dict(self) -> State:
        """Return what the environment itself remembers; the trainer saves the student."""
        return {
            "last": asdict(self.last),
            "running": [state.state_dict() for state in self.states],
            "generated": self.generated,
        }

    def resume(self, state: State) -> tuple[Observation, dict[str, Any]]:
        """Take over a saved state instead of ``reset``; the trainer must have been loaded before."""
        self.last = Reading.from_state(state["last"])
        self.generated = state["generated"]
        self.states = [RunningState(reading) for reading in self.last.by_group]
        for own, saved in zip(self.states, state["running"], strict=True):
            own.load_state_dict(saved)
        return self._observation(), self._info([self.last])

    def snapshot(self) -> Snapshot:
        """Return student and environment as they are now, in memory, for ``restore``.

        Raises:
            UserError: the trainer cannot copy its student exactly.
        """
        return Snapshot(self.trainer.snapshot(), copy.deepcopy(self.state_dict()))

    def restore(self, snapshot: Snapshot) -> tuple[Observation, dict[str, Any]]:
        """Go back to a snapshot, bit for bit and as often as wanted; the same steps then give the same numbers."""
        self.trainer.restore(snapshot.student)
        return self.resume(copy.deepcopy(snapshot.environment))

    def _update(self, exposures: list[float]) -> Reading:
        report = self.trainer.update(exposures)
        self.last = report.reading
        self.generated += int(report.metrics.get("tokens/generated") or 0)
        for state, reading, exposure in zip(self.states, self.last.by_group, exposures, strict=True):
            state.include(reading, exposure)
        self.on_update(self.trainer.updates_done, report)
        return self.last

    def _exposures(self, action: NDArray[np.float64]) -> list[float]:
        if self.finished:
            raise UserError(
                f"the run's {self.trainer.updates_done} student updates are done; a finished run takes no more steps"
            )
        if np.shape(action) != (self.groups,):
            raise UserError(
                f"an action is an array of shape ({self.groups},), the exposure of each group; got shape "
                f"{np.shape(action)}"
            )
        return [checked(float(exposure), "action") for exposure in action]

    def _observation(self) -> Observation:
        progress = self.trainer.updates_done / self.updates
        return np.concatenate([state.observation(progress) for state in self.states])

    def _info(self, readings: list[Reading]) -> dict[str, Any]:
        return {"update": self.trainer.updates_done, "readings": [asdict(reading) for reading in readings]}
