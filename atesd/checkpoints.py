"""Checkpoints of a run: a folder appears under its final name only when all of it is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from atesd.interfaces import State, StudentTrainer

SESSION_FILE = "session.json"


class Checkpoints:
    """The folder ``checkpoints/``; it keeps the newest checkpoint."""

    def __init__(self, folder: Path, trainer: StudentTrainer) -> None:
        self.folder = folder
        self.trainer = trainer

    def save(self, session: State) -> None:
        """Write a checkpoint, then delete the one before it; one of this very update is left as it is."""
        target = self.folder / f"update_{self.trainer.updates_done:06d}"
        if self.trainer.any_rank(target.exists()):
            return
        unfinished = target.with_suffix(".unfinished")
        if self.trainer.leads:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        self.trainer.any_rank(False)  # nobody writes before the folder is there
        self.trainer.save(unfinished)
        if self.trainer.leads:
            (unfinished / SESSION_FILE).write_text(json.dumps(session, allow_nan=False))
            older = self.complete()
            unfinished.rename(target)
            for checkpoint in older:
                shutil.rmtree(checkpoint)
        self.trainer.any_rank(False)

    def complete(self) -> list[Path]:
        """Return the finished checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("update_*") if path.suffix != ".unfinished")

    def load_newest(self) -> State | None:
        """Load the newest checkpoint into the trainer and return the session's state; None where there is none."""
        found = self.complete()
        if not found:
            return None
        self.trainer.load(found[-1])
        state: State = json.loads((found[-1] / SESSION_FILE).read_text())
        return state
