"""Play the exposures of a recorded run again: the controls that tell adapting from the exposures it led to.

*Yoked*: another seed's student gets the exposures an adaptive controller chose for the first one; if it gains as much,
adapting to the student was not what helped. *Shuffled*: the same exposures in random order; if it gains as much, their
order was not what helped either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting
from atesd.registry import register

RECORD = "decisions.jsonl"
# Keys the shuffle apart from the draws of decision 0 and up. ours
SHUFFLE = 2**31


class Order(Enum):
    """In which order the recorded exposures are played."""

    recorded = "recorded"
    shuffled = "shuffled"


class Replay(Controller):
    """Plays one recorded exposure per hold window: the first ``windows`` of the record, in order or shuffled."""

    def __init__(self, setting: Setting, exposures: list[float], order: Order) -> None:
        super().__init__(setting)
        self.exposures = exposures
        self.sources = {
            Order.recorded: list(range(setting.windows)),
            Order.shuffled: self.generator(SHUFFLE).permutation(setting.windows).tolist(),
        }[order]

    def choose(self, observation: Observation, decision: int) -> Action:
        source = self.sources[decision]
        return Action(self.exposures[source], details={"replay/decision": float(source)})


@register("controller", "replay")
@dataclass
class ReplayConfig(ControllerConfig):
    """Attributes:
    run: folder of the recorded run, which has at least as many hold windows as this one.
    order: ``recorded`` or ``shuffled``; the shuffle depends on the seed.
    """

    run: str = "???"
    order: Order = Order.recorded

    def controller(self, setting: Setting) -> Replay:
        exposures = recorded_exposures(self.run, setting)
        if len(exposures) < setting.windows:
            raise UserError(
                f"controller.run={self.run} holds {len(exposures)} decisions, but this run has {setting.windows} hold "
                "windows; record a run at least as long or lower train.updates"
            )
        return Replay(setting, exposures, self.order)


def recorded_exposures(run: str, setting: Setting) -> list[float]:
    """Return the exposures of a run's decisions for the setting's difficulty group.

    Raises:
        UserError: the folder holds no record, or one of other groups or of another hold window, or a row of it has no
            exposure in [0, 1]; names the file.
    """
    path = Path(run) / RECORD
    if not path.is_file():
        raise UserError(f"controller.run={run!r} holds no {RECORD}; give the output_dir of a recorded run")
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    except json.JSONDecodeError as broken:
        raise UserError(f"{path} is not a record: {broken}; record the run again") from broken
    groups = {row.get("group", 0) for row in rows}
    if groups and groups != set(range(setting.groups)):
        raise UserError(
            f"{path} has decisions for {len(groups)} difficulty groups, and this run has env.groups={setting.groups}; "
            "give a run of as many"
        )
    rows = [row for row in rows if row.get("group", 0) == setting.group]
    if [row.get("decision") for row in rows] != list(range(len(rows))):
        raise UserError(f"{path} does not hold decisions 0, 1, ... in order; record the run again")
    held = rows[1].get("update", setting.hold_window) if len(rows) > 1 else setting.hold_window
    if held != setting.hold_window:
        raise UserError(
            f"{path} holds an exposure for {held} student updates each, and this run has "
            f"env.hold_window={setting.hold_window}; play it with env.hold_window={held}"
        )
    return [checked(row["exposure"], f"{path}, decision {row['decision']}: exposure") for row in rows]
