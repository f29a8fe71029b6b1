"""What a league is made of: one controller on a block of surrogate students, played without an environment."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import ControllerConfig, Setting
from atesd.observation import NAMES
from atesd.registry import config_of, names
from atesd.rewards import RewardRule
from atesd.surrogate.cohort import Cohort
from atesd.surrogate.law import Law, Values, best_fixed, family, optimum

TWIN = "learning_rate=0"


@dataclass(frozen=True)
class Entry:
    """A controller in the league; ``twin_of`` names the one it equals but for its learning rate of 0."""

    name: str
    config: ControllerConfig
    twin_of: str | None = None


def entry(name: str) -> Entry:
    """Return the registered controller of that name with its default settings.

    Raises:
        UserError: there is none, or it has settings without a default.
    """
    if name not in names("controller"):
        raise UserError(f"controllers={name} is not registered; known: {', '.join(names('controller'))}")
    if missing := unset(name):
        raise UserError(f"controllers={name} needs {', '.join(missing)}, and the league plays defaults; leave it out")
    return Entry(name, config_of("controller", name)(name=name))


def unset(name: str) -> list[str]:
    """Return the settings of a controller that have no default."""
    config = config_of("controller", name)
    return [field.name for field in fields(config) if isinstance(field.default, str) and field.default == "???"]


def with_twins(entries: list[Entry]) -> list[Entry]:
    """Return the entries, each that learns at a rate followed by its twin that does not learn."""
    return [one for each in entries for one in (each, *_twin(each))]


def _twin(of: Entry) -> list[Entry]:
    if not hasattr(of.config, "learning_rate"):
        return []
    config: Any = of.config
    return [Entry(f"{of.name} {TWIN}", replace(config, learning_rate=0.0), of.name)]


@dataclass(frozen=True)
class Block:
    """One controller's games with the students ``first`` to ``last`` of a family, at one noise."""

    entry: Entry
    family: str
    noise: float
    first: int
    last: int
    updates: int
    hold_window: int
    rule: RewardRule

    @property
    def file(self) -> str:
        """Return the name of the block's file."""
        name = f"{self.entry.name},{self.family},{self.noise:g},{self.first}-{self.last}.json"
        return name.replace(" ", "_").replace("/", "_")  # a family may be a file

    def settings(self) -> dict[str, Any]:
        """Return everything that decides the block's rows, as JSON holds it."""
        settings = {"controller": asdict(self.entry.config), "rule": asdict(self.rule), "noise": self.noise}
        settings |= {"law": asdict(family(self.family, "families")), "length": [self.updates, self.hold_window]}
        return dict(json.loads(json.dumps(settings, default=str)))


def play(block: Block, folder: Path) -> None:
    """Play a block and write its rows into the folder, in one step."""
    begun = time.process_time()
    rows = games(block)
    seconds = time.process_time() - begun
    unfinished = folder / f"{block.file}.unfinished"
    unfinished.write_text(json.dumps({"settings": block.settings(), "seconds": seconds, "rows": rows}, allow_nan=False))
    unfinished.replace(folder / block.file)


def played(block: Block, folder: Path) -> dict[str, Any] | None:
    """Return what an earlier ``play`` wrote, or None.

    Raises:
        UserError: it was played with other settings.
    """
    path = folder / block.file
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    if found["settings"] != block.settings():
        raise UserError(f"{path} was played with other settings; choose another output_dir or remove it")
    return found


def games(block: Block) -> list[dict[str, Any]]:
    """Return one row per student: final competence and regrets in points, best and mean exposure."""
    seeds = np.arange(block.first, block.last + 1)
    law = family(block.family, "families")
    exposures, final = exposures_and_competence(block, law, seeds)
    fixed, fixed_final, best_final = references(law, block.first, block.last, block.updates)
    columns = {
        "seed": seeds,
        "final": 100 * final,
        "regret": 100 * (fixed_final - final),
        "regret_optimum": 100 * (best_final - final),
        "best_fixed": fixed,
        "mean_exposure": exposures.mean(axis=0),
    }
    who = {"controller": block.entry.name, "family": block.family, "noise": block.noise}
    series = [values.tolist() for values in columns.values()]
    return [who | dict(zip(columns, values, strict=True)) for values in zip(*series, strict=True)]


def exposures_and_competence(block: Block, law: Law, seeds: NDArray[np.int64]) -> tuple[Values, Values]:
    """Play one controller per student side by side; return exposures [windows, N] and final competence [N].

    The order of choices and rewards is that of a run: a decision learns once its look-ahead is complete.
    """
    windows = math.ceil(block.updates / block.hold_window)
    cohort = Cohort(law, seeds, block.updates, block.noise)
    settings = [Setting(seed, windows, len(NAMES), block.hold_window) for seed in seeds.tolist()]
    controllers = [block.entry.config.build(setting) for setting in settings]
    exposures = np.empty((windows, len(seeds)))
    matured = 0
    for decision in range(windows):
        observations = cohort.observations()
        for i, controller in enumerate(controllers):
            exposures[decision, i] = controller.act(observations[i], decision).exposure
        cohort.hold(exposures[decision], block.hold_window)
        while matured <= decision and matured * block.hold_window + block.rule.span <= cohort.updates_done:
            start = matured * block.hold_window
            rewards = cohort.rewards(block.rule, start, start + block.rule.span).tolist()
            for controller, reward in zip(controllers, rewards, strict=True):
                controller.learn(matured, reward)
            matured += 1
    return exposures, cohort.students.competence


@lru_cache(maxsize=64)
def references(law: Law, first: int, last: int, updates: int) -> tuple[Values, Values, Values]:
    """Return best fixed exposure, its final competence, and the optimum's, of students ``first`` to ``last``."""
    students = law.students(np.arange(first, last + 1))
    return *best_fixed(students, updates), optimum(students, updates)
