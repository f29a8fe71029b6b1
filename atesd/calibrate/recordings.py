"""Recorded runs of one task under several exposures, as a surrogate is fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from atesd.arguments import dotted
from atesd.errors import UserError
from atesd.logbook import Logbook, read_summary
from atesd.oracle import retrace

Values = NDArray[np.float64]
# What runs may differ in: who chose the exposure, the seed, and where and how often things are kept.
FREE = ("seed", "output_dir", "resume", "controller", "checkpoint", "tracker")
FEWEST_EXPOSURES = 3
# What one second difference of the probe takes.
FEWEST_UPDATES = 3


@dataclass(frozen=True)
class Recording:
    """One finished run.

    Attributes:
        policy: the exposure it held, or the name of the controller that moved it.
        exposures: one per student update [T].
        updates: after how many updates it was evaluated, first 0, last T [E].
        accuracies, problems: what each evaluation found, and on how many problems [E].
        probe: probe NLL after each student update, in nats per token [T].
        settings: those that runs of one sweep share.
        commit: of the code that made it.
    """

    folder: Path
    policy: str
    seed: int
    exposures: Values
    updates: NDArray[np.int64]
    accuracies: Values
    problems: Values
    probe: Values
    settings: dict[str, Any]
    commit: str


def read(folder: Path) -> Recording:
    """Return a finished run.

    Raises:
        UserError: it is not finished, is damaged, played a baseline, or holds a reading that is no number.
    """
    record = retrace.read(folder)
    total = record.updates
    exposures = np.array([record.exposure(update) for update in range(total)])
    evaluations = Logbook(folder, writes=False).rows("evaluations.jsonl")
    probe = np.array([float(row["probe/nll_nats_per_token"]) for row in record.metrics])
    updates = np.array([row["update"] for row in evaluations])
    if not np.isfinite(probe).all() or not {0, total} <= set(updates.tolist()) or total < FEWEST_UPDATES:
        raise UserError(
            f"run={folder} lacks a finite probe reading for each of at least {FEWEST_UPDATES} updates, or an "
            "evaluation before or after training; leave it out"
        )
    held = len(set(exposures.tolist())) == 1
    return Recording(
        folder,
        f"{exposures[0]:g}" if held else record.run.controller["name"],
        record.run.seed,
        exposures,
        updates,
        np.array([row["mean"] for row in evaluations]),
        np.array([row["problems"] for row in evaluations], np.float64),
        probe,
        shared(folder),
        read_summary(folder)["commit"],
    )


def shared(folder: Path) -> dict[str, Any]:
    """Return a run's settings that all runs of a sweep share, by dotted key."""
    stored: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    sections = {key: value for key, value in stored.items() if key not in FREE}
    return dict(sorted(dotted(sections).items()))


def sweep(folders: Sequence[Path]) -> list[Recording]:
    """Return the runs of one sweep, ordered by policy and seed.

    Raises:
        UserError: two are of different tasks, two are the same run, or fewer than three exposures were held.
    """
    recordings = [read(folder) for folder in folders]
    for one in recordings[1:]:
        refuse_other(recordings[0], one)
    found: dict[tuple[str, int], Recording] = {}
    for one in recordings:
        if (first := found.setdefault((one.policy, one.seed), one)) is not one:
            raise UserError(
                f"run={one.folder} has the policy {one.policy} and seed {one.seed}, as has {first.folder}; give each "
                "once"
            )
    held = {one.policy for one in recordings if one.policy == f"{one.exposures[0]:g}"}
    if len(held) < FEWEST_EXPOSURES:
        raise UserError(
            f"the runs hold {len(held)} exposures ({', '.join(sorted(held)) or 'none'}), and a fit needs at least "
            f"{FEWEST_EXPOSURES}; add runs of controller=fixed, as experiment=fixed_sweep makes them"
        )
    return sorted(recordings, key=lambda one: (one.policy not in held, one.policy, one.seed))


def refuse_other(first: Recording, other: Recording) -> None:
    """Raise ``UserError`` if two runs are not of one task, model and training."""
    one, two = first.settings, other.settings
    differing = [key for key in sorted(one | two) if one.get(key) != two.get(key)]
    if differing:
        key = differing[0]
        raise UserError(
            f"run={other.folder} has {key}={two.get(key)}, but {first.folder} has {key}={one.get(key)}; one law fits "
            "one task, model and training, so calibrate them apart"
        )
