"""The ledger of decisions: each waits until its look-ahead is complete, then gets its reward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from atesd.interfaces import Reading, State
from atesd.rewards import RewardParts, RewardRule


@dataclass(frozen=True)
class Decision:
    """The choice of one exposure.

    Attributes:
        decision: its number, from 0.
        update: student updates done when it was taken.
        group: difficulty group it is for.
    """

    decision: int
    update: int
    exposure: float
    log_prob: float | None
    observation: list[float]
    details: dict[str, float]
    group: int = 0


@dataclass(frozen=True)
class Matured:
    """A decision with its reward; ``parts`` and ``matured_at`` are None where the run ended before its look-ahead."""

    decision: Decision
    parts: RewardParts | None
    matured_at: int | None

    def row(self) -> dict[str, Any]:
        """Return the decision's row of ``decisions.jsonl``."""
        row: dict[str, Any] = asdict(self.decision)
        details = row.pop("details")
        reward = {
            "reward": self.parts.total if self.parts else None,
            "reward/learning_progress": self.parts.learning_progress if self.parts else None,
            "reward/teacher_grounded": self.parts.teacher_grounded if self.parts else None,
            "matured_at": self.matured_at,
        }
        return {**row, **details, **reward}


class DecisionLedger:
    """Holds decisions until ``rule.span`` more updates are done; rewards come out in the order of the decisions."""

    def __init__(self, rule: RewardRule) -> None:
        self.rule = rule
        self.pending: list[Decision] = []
        self.readings: dict[int, Reading] = {}

    def record(self, update: int, reading: Reading) -> None:
        """Note what was measured after student update number ``update`` (0: the base model)."""
        self.readings[update] = reading

    def open(self, decision: Decision) -> None:
        """Let a decision wait for its reward."""
        self.pending.append(decision)

    def matured(self, update: int) -> Iterator[Matured]:
        """Yield the decisions whose look-ahead is complete after ``update`` updates, and forget them."""
        while self.pending and self.pending[0].update + self.rule.span <= update:
            decision = self.pending.pop(0)
            first, last = decision.update, decision.update + self.rule.span
            parts = self.rule([self.readings[number] for number in range(first, last + 1)])
            yield Matured(decision, parts, last)
        oldest = self.pending[0].update if self.pending else update
        self.readings = {number: reading for number, reading in self.readings.items() if number >= oldest}

    def close(self) -> Iterator[Matured]:
        """Yield the decisions the run's end left without a reward."""
        for decision in self.pending:
            yield Matured(decision, None, None)
        self.pending = []

    def state_dict(self) -> State:
        return {
            "pending": [asdict(decision) for decision in self.pending],
            "readings": {str(update): asdict(reading) for update, reading in self.readings.items()},
        }

    def load_state_dict(self, state: State) -> None:
        self.pending = [Decision(**decision) for decision in state["pending"]]
        self.readings = {int(update): Reading.from_state(reading) for update, reading in state["readings"].items()}
