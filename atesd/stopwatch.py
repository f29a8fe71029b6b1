"""Seconds per phase."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up wall seconds under names; nested phases count for the inner one only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lapped: dict[str, float] = {}
        self._stack: list[str] = []
        self._mark = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a block."""
        self._charge()
        self._stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def add(self, seconds: dict[str, float]) -> None:
        """Count seconds spent before a resume."""
        for name, spent in seconds.items():
            self.seconds[name] += spent
        self._lapped = dict(self.seconds)

    def lap(self) -> dict[str, float]:
        """Return the seconds since the last lap, the running phase included."""
        self._charge()
        lap = {name: seconds - self._lapped.get(name, 0.0) for name, seconds in self.seconds.items()}
        self._lapped = dict(self.seconds)
        return lap

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._mark
        self._mark = now
