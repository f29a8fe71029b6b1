"""What a run shows while it works: a live line in a terminal, a plain line per hold window elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display:
    """Shows update, exposure, KL, probe, accuracy and time left."""

    def __init__(self, title: str, updates: int, shows: bool) -> None:
        self.console = Console(quiet=not shows, soft_wrap=True, highlight=False)
        self.title = title
        self.updates = updates
        self.accuracy = "-"
        self.started: tuple[float, int] | None = None
        self.bar = Progress(
            BarColumn(bar_width=6),  # all of it fits 80 columns
            MofNCompleteColumn(),
            TextColumn("{task.fields[reading]}"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task = self.bar.add_task(title, total=updates, reading="")

    def __enter__(self) -> Display:
        self.say(f"{self.title}: {self.updates} student updates")
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line)

    def evaluated(self, accuracy: float) -> None:
        """Take note of the newest accuracy."""
        self.accuracy = f"{accuracy:.3f}"

    def updated(self, update: int, metrics: Mapping[str, Any], window_ends: bool) -> None:
        """Show one student update."""
        reading = "  ".join(
            f"{name} {metrics[key]:.3f}"
            for name, key in (
                ("exposure", "exposure/asked"),
                ("KL", "loss/kl_nats_per_token"),
                ("probe", "probe/nll_nats_per_token"),
            )
            if metrics.get(key) is not None
        )
        reading += f"  accuracy {self.accuracy}"
        if self.console.is_terminal:
            self.bar.update(self.task, completed=update, reading=reading)
        elif window_ends:
            self.say(f"update {update}/{self.updates}  {reading}  left {self._left(update)}")
        self.started = self.started or (time.monotonic(), update)

    def _left(self, update: int) -> str:
        if self.started is None or update == self.started[1]:
            return "?"
        begun, first = self.started
        seconds = (time.monotonic() - begun) / (update - first) * (self.updates - update)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
