"""What every schedule shares: exposure as a fixed function of progress, from ``start`` to ``end``."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting


class Schedule(Controller):
    """Moves from ``start`` at the first window to ``end`` at the last along ``share(progress)``."""

    def __init__(self, setting: Setting, start: float, end: float) -> None:
        super().__init__(setting)
        self.start, self.end = start, end

    @abstractmethod
    def share(self, progress: float) -> float:
        """Return how far the schedule has gone, from 0 at progress 0 to 1 at progress 1."""

    def choose(self, observation: Observation, decision: int) -> Action:
        return Action(self.start + (self.end - self.start) * self.share(self.progress(decision)))


@dataclass
class ScheduleConfig(ControllerConfig):
    """Where a schedule begins and ends; ``start`` above ``end`` runs it in reverse. ours

    Attributes:
        start: exposure of the first window, in [0, 1].
        end: exposure of the last window, in [0, 1].
    """

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        self.start = checked(self.start, "controller.start")
        self.end = checked(self.end, "controller.end")
