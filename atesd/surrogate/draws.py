"""Random numbers that are a pure function of their keys, for whole arrays of keys at once.

A generator per (seed, update) would cost more than the surrogate student it feeds. Here every key is folded into 64
bits with the finalizer of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators");
normals come from uniforms by Box and Muller (1958). Two controllers that meet the same student see the same draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = int | NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = (np.uint64(shift) for shift in (30, 27, 31, 11))


def uniforms(*keys: Keys) -> NDArray[np.float64]:
    """Return one number in (0, 1) per entry of the keys, which are integers of 0 or more and broadcast together.

    >>> float(uniforms(0, 1)) == float(uniforms(0, 1)), float(uniforms(0, 1)) == float(uniforms(1, 0))
    (True, False)
    """
    with np.errstate(over="ignore"):
        mixed = np.zeros((), np.uint64)
        for key in keys:
            mixed = _mix(mixed ^ _mix(np.asarray(key).astype(np.uint64) + _GOLDEN)) + _GOLDEN
    return ((mixed >> _11).astype(np.float64) + 0.5) * 2.0**-53


def normals(*keys: Keys) -> NDArray[np.float64]:
    """Return a pair of independent standard normals per entry of the keys, along a new first axis.

    >>> normals(0, np.arange(3)).shape
    (2, 3)
    """
    radius = np.sqrt(-2 * np.log(uniforms(*keys, 0)))
    angle = 2 * np.pi * uniforms(*keys, 1)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)])


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> _30)) * _FIRST
    bits = (bits ^ (bits >> _27)) * _SECOND
    return bits ^ (bits >> _31)
