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
    ``Box(0, 1, (1,), float64)``: the exposure, held for ``hold_window`` student updates (fewer in the last window).

    ## Observation Space
    ``Box(6,)``: progress, exposure, loss, mismatch, probe, confidence; the table is in ``atesd/observation.py``.

    ## Rewards
    The window's own progress: the reward rule applied to the readings of this window. The paper's reward looks further
    ahead and matures later; ``info["readings"]`` holds all it needs (``atesd.decisions.DecisionLedger``).

    ## Starting State
    The base student, which the trainer brings; the environment loads nothing. A real student cannot start again:
    ``reset`` after the first step raises ``UserError``, so no wrapper restarts a run behind one's back.

    ## Episode End
    Truncated when ``updates`` student updates are done. Terminated, with reward -1, when the student diverged
    (``info["diverged"]`` says how).

    ## Info
    ``update``: student updates done. ``exposure``: as executed. ``readings``: one dict per update of the window,
    preceded by the one before it.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, trainer: StudentTrainer, rule: RewardRule, updates: int, hold_window: int) -> None:
        self.trainer = trainer
        self.rule = rule
        self.updates = updates
        self.hold_window = hold_window
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float64)
        self.observation_space = gymnasium.spaces.Box(LOW, HIGH, dtype=np.float32)
        self.on_update: Callable[[int, UpdateReport], None] = lambda update, report: None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self.last = self.trainer.start(NEUTRAL_EXPOSURE)
        self.state = RunningState(self.last)
        return self._observation(), self._info([self.last])

    def step(self, action: NDArray[np.float64]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        exposure = self._exposure(action)
        readings = [self.last]
        try:
            for _ in range(min(self.hold_window, self.updates - self.trainer.updates_done)):
                readings.append(self._update(exposure))
        except StudentDiverged as diverged:
            info = self._info(readings) | {"exposure": exposure, "diverged": str(diverged)}
            return self._observation(), DIVERGED_REWARD, True, False, info
        truncated = self.trainer.updates_done >= self.updates
        info = self._info(readings) | {"exposure": exposure}
        return self._observation(), self.rule(readings).total, False, truncated, info

    def state_dict(self) -> State:
        """Return what the environment itself remembers; the trainer saves the student."""
        return {"last": asdict(self.last), "running": self.state.state_dict()}

    def resume(self, state: State) -> tuple[Observation, dict[str, Any]]:
        """Take over a saved state instead of ``reset``; the trainer must have been loaded before."""
        self.last = Reading(**state["last"])
        self.state = RunningState(self.last)
        self.state.load_state_dict(state["running"])
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

    def _update(self, exposure: float) -> Reading:
        report = self.trainer.update(exposure)
        self.last = report.reading
        self.state.include(self.last, exposure)
        self.on_update(self.trainer.updates_done, report)
        return self.last

    def _exposure(self, action: NDArray[np.float64]) -> float:
        if self.trainer.updates_done >= self.updates:
            raise UserError(f"the run's {self.updates} student updates are done; a finished run takes no more steps")
        if np.shape(action) != (1,):
            raise UserError(f"an action is an array of shape (1,), the exposure; got shape {np.shape(action)}")
        return checked(float(action[0]), "action")

    def _observation(self) -> Observation:
        return self.state.observation(self.trainer.updates_done / self.updates)

    def _info(self, readings: list[Reading]) -> dict[str, Any]:
        return {"update": self.trainer.updates_done, "readings": [asdict(reading) for reading in readings]}
