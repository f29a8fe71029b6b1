"""A recorded run, played again exactly: the same exposures bring the same student through the same states."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import UpdateReport
from atesd.logbook import Logbook, read_summary
from atesd.registry import config_of, names

# The parts a student is made of, where it has them; what chose its exposures is not asked again.
PARTS = ("model", "data", "rollout", "deepspeed", "lora")
# What has to come out again to the last bit.
RETRACED = ("loss/optimised", "probe/nll_nats_per_token")


@dataclass(frozen=True)
class Record:
    """What is needed to play a finished run again.

    Attributes:
        exposures: one per hold window.
        metrics: the rows of ``metrics.jsonl``; row i is student update i + 1.
    """

    folder: Path
    run: RunConfig
    exposures: list[float]
    metrics: list[dict[str, Any]]

    @property
    def updates(self) -> int:
        """Return how many student updates the run had."""
        return len(self.metrics)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the run's settings and exposures, wherever its folder lies."""
        files = (self.folder / "config.yaml", self.folder / "decisions.jsonl")
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    def exposure(self, update: int) -> float:
        """Return the exposure of the student update that follows ``update`` updates."""
        return self.exposures[update // self.run.env.hold_window]

    def check(self, update: int, report: UpdateReport) -> None:
        """Compare a retraced update with the recorded one.

        Raises:
            UserError: they differ, if only in the last bit.
        """
        row = self.metrics[update - 1]
        for key in RETRACED:
            if report.metrics[key] != row[key]:
                raise UserError(
                    f"{self.folder}, student update {update}: {key} was {row[key]} and is {report.metrics[key]} when "
                    "retraced, so this is another student; use the machine, versions and number of threads "
                    "(train.threads) of the run, or make a new run here"
                )


def read(folder: Path) -> Record:
    """Return the record of a finished run.

    Raises:
        UserError: the folder holds no finished run, or one whose exposure nobody chose, or names a part that is not
            registered.
    """
    summary = read_summary(folder)
    if not summary.get("complete"):
        raise UserError(f"run={folder} holds no complete run; finish it with resume=true or leave it out")
    run, logbook = settings(folder), Logbook(folder, writes=False)
    rows = sorted(logbook.rows("decisions.jsonl"), key=lambda row: int(row["decision"]))
    metrics = logbook.rows("metrics.jsonl")
    updates: int = summary["updates"]
    windows = math.ceil(updates / run.env.hold_window)
    if len(rows) != windows or len(metrics) != updates:
        raise UserError(
            f"run={folder} holds {len(rows)} decisions and {len(metrics)} updates, but should have {windows} and "
            f"{updates} by its summary; the logs are damaged, so leave the run out"
        )
    exposures = [checked(row["exposure"], f"{folder}, decision {row['decision']}: exposure") for row in rows]
    return Record(folder, run, exposures, metrics)


def settings(folder: Path) -> RunConfig:
    """Return a run's settings as the run had them.

    Raises:
        UserError: a part is not registered, or the run played a baseline or difficulty groups.
    """
    stored = OmegaConf.load(folder / "config.yaml")
    assert isinstance(stored, DictConfig)
    if stored.baseline is not None:
        raise UserError(
            f"run={folder} played baseline={stored.baseline.name}, which chooses no exposure; give runs of a "
            "controller, such as controller=fixed"
        )
    if (groups := stored.env.get("groups", 1)) > 1:
        raise UserError(
            f"run={folder} has env.groups={groups}, an exposure per difficulty group, and only one exposure for all "
            "problems can be retraced; give runs with env.groups=1"
        )
    base = OmegaConf.structured(RunConfig)
    for part in (part for part in PARTS if stored.get(part) is not None):
        name = stored[part].name
        if name not in names(part):
            raise UserError(f"run={folder} has {part}={name}, which is not registered; known: {', '.join(names(part))}")
        base[part] = OmegaConf.structured(config_of(part, name))
    run = OmegaConf.to_object(OmegaConf.merge(base, stored))
    assert isinstance(run, RunConfig)
    return run
