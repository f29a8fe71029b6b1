"""One state of a student, taught in several ways from there: what each exposure gains, and what rewards would say.

The gain is the change of greedy accuracy on the same evaluation problems, before and after. It is the ground truth that
rewards are judged by; nothing is ever trained on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from atesd.interfaces import Reading, StudentTrainer
from atesd.rewards import Kind, Progress, ProgressSignal, RewardConfig, RewardRule


@dataclass(frozen=True)
class Glance:
    """A reading, and every progress signal there is at that moment."""

    reading: Reading
    signals: dict[ProgressSignal, float]

    def seen_by(self, signal: ProgressSignal) -> Reading:
        """Return the reading as a run with this progress signal has it."""
        return replace(self.reading, progress_signal=self.signals[signal])

    def row(self) -> dict[str, float | None]:
        """Return all numbers, by name."""
        numbers = asdict(self.reading)
        del numbers["progress_signal"], numbers["groups"]
        return numbers | {signal.value: value for signal, value in self.signals.items()}


def glance(trainer: StudentTrainer, reading: Reading) -> Glance:
    """Measure what the student's newest reading leaves out."""
    read = {ProgressSignal.probe_nll: reading.probe_nll, ProgressSignal.loss: reading.loss}
    return Glance(reading, read | trainer.measure())


@dataclass(frozen=True)
class Variant:
    """One way to pay a decision."""

    signal: ProgressSignal
    rule: RewardRule

    def reward(self, glances: Sequence[Glance]) -> float:
        """Return the reward of a decision, given what was seen at it and after each later update."""
        return self.rule([each.seen_by(self.signal) for each in glances[: self.rule.span + 1]]).total


def variants(reward: RewardConfig, grounding: float, hold_window: int) -> dict[str, Variant]:
    """Return every kind x signal x progress, by name, with the constants of a run.

    The look-ahead reward stands there without its teacher-grounded term and, as ``.../grounded``, with it.
    """
    found = {}
    for kind in Kind:
        for signal in ProgressSignal:
            for progress in Progress:
                way = replace(reward, kind=kind, signal=signal, progress=progress, grounding=grounding)
                rule = way.rule(hold_window)
                name = f"{kind.value}/{signal.value}/{progress.value}"
                found[name] = Variant(signal, replace(rule, grounding=0.0))
                if rule.grounding:
                    found[f"{name}/grounded"] = Variant(signal, rule)
    return found


@dataclass(frozen=True)
class Gain:
    """Change of accuracy on the same problems, and its standard error."""

    mean: float
    error: float


def answers(trainer: StudentTrainer, problems: int) -> list[bool]:
    """Answer the first evaluation problems."""
    return [verdict.correct for verdict in trainer.evaluate(problems)]


def gain(before: Sequence[bool], after: Sequence[bool]) -> Gain:
    """Return what was gained between two answers to the same problems.

    >>> gain([True, False, False, False], [True, True, True, False])
    Gain(mean=0.5, error=0.25)
    """
    changes = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    return Gain(float(changes.mean()), float(changes.std() / np.sqrt(len(changes))))


def branch(
    trainer: StudentTrainer, start: Glance, before: Sequence[bool], exposures: Sequence[float], marks: dict[str, int]
) -> tuple[list[Glance], dict[str, Any]]:
    """Teach the student with these exposures, one per update, and return all glances and the gains at the marks.

    Args:
        marks: by name, after how many of the updates the gain is measured.
    """
    glances = [start]
    gains: dict[str, Any] = {}
    for done, exposure in enumerate(exposures, 1):
        glances.append(glance(trainer, trainer.update(exposure).reading))
        names = [name for name, mark in marks.items() if mark == done]
        if names:
            found = gain(before, answers(trainer, len(before)))
            gains |= dict.fromkeys(names, asdict(found))
    return glances, gains
