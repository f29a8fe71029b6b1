"""What a run leaves behind: rows of JSON, the resolved config, and a summary that is complete or says it is not."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

import atesd
from atesd.arguments import flat
from atesd.errors import UserError
from atesd.folders import held, make
from atesd.interfaces import State

LOGS = ("metrics.jsonl", "decisions.jsonl", "evaluations.jsonl", "verdicts.jsonl", "rollouts.jsonl")
# Settings that may change when a run is resumed: no number of the run depends on them.
FREE = ("resume", "output_dir", "tracker")
VERSIONED = ("torch", "transformers", "deepspeed", "gymnasium", "stable-baselines3", "numpy", "scipy")


class Logbook:
    """The files of one run. Only rank 0 writes; the others hold a logbook that does not."""

    def __init__(self, folder: Path, writes: bool) -> None:
        self.folder = folder
        self.writes = writes

    def open_new(self, config: str) -> None:
        """Make the run's folder and write its config.

        Raises:
            UserError: the folder exists and holds something.
        """
        if not self.writes:
            return
        refuse_existing(self.folder)
        make(self.folder)
        (self.folder / "config.yaml").write_text(config)
        self.summarise({"complete": False})

    def settings(self) -> str:
        """Return the run's config."""
        return (self.folder / "config.yaml").read_text()

    def append(self, log: str, row: dict[str, Any]) -> None:
        """Add a row to a log; numbers JSON does not know are refused."""
        if self.writes:
            with (self.folder / log).open("a") as lines:
                lines.write(json.dumps(row, allow_nan=False) + "\n")

    def rows(self, log: str) -> list[dict[str, Any]]:
        """Return all rows of a log."""
        path = self.folder / log
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def last_updates(self) -> dict[str, int]:
        """Return the update of the last whole row of the logs a tracker shows; -1 where there is none."""
        found = {}
        for log in ("metrics.jsonl", "evaluations.jsonl"):
            path = self.folder / log
            whole, _, _ = path.read_text().rpartition("\n") if path.exists() else ("", "", "")
            found[log] = int(json.loads(whole.splitlines()[-1])["update"]) if whole else -1
        return found

    def sizes(self) -> State:
        """Return how long each log is, for a checkpoint."""
        return {log: (self.folder / log).stat().st_size if (self.folder / log).exists() else 0 for log in LOGS}

    def cut_back(self, sizes: State) -> None:
        """Forget the rows written after a checkpoint.

        Raises:
            UserError: a log is shorter than it was then, so rows have been lost; nothing is changed.
        """
        if not self.writes:
            return
        now = self.sizes()
        for log, size in sizes.items():
            if now[log] < size:
                raise UserError(
                    f"{self.folder / log} has {now[log]} bytes, but its checkpoint was taken at {size}; rows are lost, "
                    "so put the file back or start a new run"
                )
        for log, size in sizes.items():
            if (self.folder / log).exists():
                os.truncate(self.folder / log, size)

    def clear(self) -> None:
        """Forget all rows."""
        if self.writes:
            for log in LOGS:
                (self.folder / log).unlink(missing_ok=True)

    def summarise(self, summary: dict[str, Any]) -> None:
        """Replace ``summary.json`` in one step."""
        if self.writes:
            new = self.folder / "summary.json.new"
            new.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
            new.replace(self.folder / "summary.json")


def read_summary(folder: Path) -> dict[str, Any]:
    """Return a run's summary; a folder without one has an empty summary.

    Raises:
        UserError: it is damaged.
    """
    path = folder / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); put it back or start a new run") from error
    return summary


def changed(folder: Path, settings: str) -> dict[str, tuple[Any, Any]]:
    """Return the settings, old and new, in which a run differs from those given as YAML, the free ones aside.

    Raises:
        UserError: the run's are damaged.
    """
    try:
        old, new = (flat(text) for text in ((folder / "config.yaml").read_text(), settings))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder / 'config.yaml'} is damaged ({reason}); put it back or start a new run") from error
    keys = [key for key in sorted(old | new) if not key.startswith(FREE)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def refuse_existing(folder: Path) -> None:
    """Raise ``UserError`` if the folder holds anything."""
    if held(folder):
        raise UserError(
            f"output_dir={folder} exists and is never overwritten; choose another, remove it, or go on with resume=true"
        )


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose non-finite numbers are spelled out, since JSON has none and hiding them would lie."""
    return {key: str(v) if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()}


def provenance() -> dict[str, Any]:
    """Return the command, commit, versions and hardware of this process."""
    return {
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "commit": commit(),
        "versions": {"atesd": atesd.__version__, "python": platform.python_version(), **_versions()},
        "hardware": {"machine": platform.machine(), "cpu": _cpu(), "cores": os.cpu_count()},
    }


def commit() -> str:
    """Return the source's commit, marked where files differ from it; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in VERSIONED}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
