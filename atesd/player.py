"""One difficulty group's side of a run: its controller, and the ledger of its decisions."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.decisions import Decision, DecisionLedger
from atesd.interfaces import Action, Controller, Observation, State


@dataclass
class Player:
    """A controller that sees a run with one exposure, whatever the number of groups."""

    controller: Controller
    ledger: DecisionLedger

    def open(self, decision: int, update: int, observation: Observation, action: Action) -> None:
        """Let a choice wait for its reward."""
        seen, group = observation.tolist(), self.controller.setting.group
        self.ledger.open(Decision(decision, update, action.exposure, action.log_prob, seen, action.details, group))

    def state_dict(self) -> State:
        return {"controller": self.controller.state_dict(), "ledger": self.ledger.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.controller.load_state_dict(state["controller"])
        self.ledger.load_state_dict(state["ledger"])
