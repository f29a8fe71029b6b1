"""Which constants of the surrogates' law are free in each family that may be fitted, and where a search starts.

The families are those of ``atesd.surrogate``; ``noisy`` is ``static`` with more noise, and noise is measured, not
fitted. All ranges and starts are ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from atesd.surrogate.law import NULL, Law

Values = NDArray[np.float64]

# Lowest and highest value, and where the search starts.
RANGES = {
    "start": (0.005, 0.995, 0.5),
    "rate": (0.0, 0.3, 0.01),
    "centre": (0.0, 1.0, 0.5),
    "width": (0.0, 2.0, 0.3),
    "floor": (0.0, 1.0, 0.3),
    "slope": (-1.0, 1.0, 0.0),
    "jump": (-1.0, 1.0, 0.1),
    "band": (0.0, 0.5, 0.1),
    "inertia": (0.0, 0.99, 0.8),
    "harm": (0.0, 0.1, 0.003),
    "memory": (0.0, 0.99, 0.5),
}
# The fit has a valley for each place the best exposure may be in.
CENTRES = (0.1, 0.4, 0.7, 1.0)

_PULL = ("start", "rate", "centre", "width", "floor")
FREE = {
    NULL: ("start", "rate"),
    "static": _PULL,
    "rising": (*_PULL, "slope"),
    "falling": (*_PULL, "slope"),
    "switch": (*_PULL, "jump"),
    "plateau": (*_PULL, "band"),
    "deceptive": (*_PULL, "harm", "memory"),
    "delayed": (*_PULL, "inertia"),
}
_SIGNED = {"rising": (0.0, 1.0, 0.3), "falling": (-1.0, 0.0, -0.3)}
# Students without exposure's effect learn at full drive; all students of a sweep are one.
_HELD = {NULL: Law(floor=1.0, spread=0.0)}


def ranges(family: str, gap: float) -> Values:
    """Return lowest value, highest value and start of each free constant [3, K].

    Args:
        family: key of ``FREE``.
        gap: the widest between neighbouring exposures of the runs. A peak narrower than half of it could hide there.
    """
    found = RANGES | {"slope": _SIGNED.get(family, RANGES["slope"])}
    found["width"] = (min(gap / 2, RANGES["width"][2]), *RANGES["width"][1:])
    return np.array([found[name] for name in FREE[family]]).T


def starts(family: str, start: float) -> list[Values]:
    """Return where to search from, given the base student's competence."""
    first = dict(zip(FREE[family], ranges(family, 0)[2].tolist(), strict=True)) | {"start": start}
    centres = CENTRES if "centre" in first else (0.0,)
    tried = [first | {"centre": centre} for centre in centres]
    return [np.array([one[name] for name in FREE[family]]) for one in tried]


def law(family: str, values: Values) -> Law:
    """Return the law with these free constants [K]; [P, K] makes P laws at once, each constant of shape [P, 1]."""
    columns = values.tolist() if values.ndim == 1 else list(values.T[:, :, None])
    constants = cast(dict[str, float], dict(zip(FREE[family], columns, strict=True)))
    return replace(_HELD.get(family, Law(spread=0.0)), **constants)
