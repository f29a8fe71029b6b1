"""A private copy of the process-wide random generators, for libraries that draw from nothing else."""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any


class PrivateRandomness:
    """Within ``with``, Python's, NumPy's and torch's global CPU generators are ours; outside, everybody else's.

    Ours go on where the last block left them, and so do the others. The library inside seeds ours before it draws.
    """

    def __init__(self) -> None:
        self.ours: tuple[Any, ...] | None = None

    def __enter__(self) -> None:
        self.others = _states()
        if self.ours is not None:
            _install(self.ours)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ours = _states()
        _install(self.others)


def _states() -> tuple[Any, ...]:
    import numpy as np
    import torch

    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _install(states: tuple[Any, ...]) -> None:
    import numpy as np
    import torch

    python, numpy, cpu = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
