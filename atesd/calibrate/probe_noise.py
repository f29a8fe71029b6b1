"""What a sweep's probe says about competence, and with how much noise, in the unit of the surrogates' readings.

A surrogate's probe reading is the share it has yet to learn, plus noise. A real probe NLL is taken as level + scale *
that share + noise: the scale comes from a regression on the fitted law's share, the noise from second differences of
the readings (after Gasser, Sroka and Jennen-Steinmetz 1986), which need no law. The surrogates' noise is white, so the
distance of the readings would not matter. A real probe wanders over several updates; what blurs a reward is how much
readings a look-ahead apart differ, so that distance is the one that counts. ours
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def jitter(readings: Values, lag: int = 1) -> float:
    """Return the standard deviation of noise on a smooth curve of readings [T, ...], T above twice the lag.

    A second difference of independent readings has six times their variance.

    >>> round(jitter(np.array([0.0, 1.0, 0.0, 1.0])), 4)
    0.8165
    """
    bent = readings[2 * lag :] - 2 * readings[lag:-lag] + readings[: -2 * lag]
    return float(np.sqrt(np.mean(np.square(bent)) / 6))


def probe_noise(probe: Values, unlearned: Values, weights: NDArray[np.int64], lag: int) -> dict[str, Any]:
    """Return level, scale, noise and misfit of the probe; None where they are not defined.

    Args:
        probe: readings after each update, nats per token [T, R].
        unlearned: the share yet to learn that the law gives the same runs [T, R].
        weights: how often each run counts [R].
        lag: updates between the readings whose differences are noise; T is above twice as many.

    ``noise``, ``noise_adjacent`` and ``misfit`` are standard deviations in shares: of readings ``lag`` updates apart,
    of neighbours, and of all that the law leaves of the probe. Where the probe does not rise with the share, it tells
    nothing that a surrogate's would, and they are None.

    >>> found = probe_noise(np.array([[0.1], [0.2], [0.3]]), np.array([[0.5], [0.7], [0.9]]), np.ones(1, int), 1)
    >>> [round(found[key], 6) for key in ("scale", "correlation", "misfit")]
    [0.5, 1.0, 0.0]
    """
    counts = np.broadcast_to(weights, probe.shape).ravel()
    x, y = unlearned.ravel(), probe.ravel()
    (xx, xy), (_, yy) = np.cov(x, y, fweights=counts, ddof=0)
    seen = probe[:, weights > 0]
    nats, adjacent = jitter(seen, lag), jitter(seen)
    found: dict[str, Any] = {"lag": lag, "noise_nats": nats, "noise_adjacent_nats": adjacent}
    found |= dict.fromkeys(("level", "scale", "correlation", "noise", "noise_adjacent", "misfit"))
    if min(xx, yy) < 1e-15:  # without change there is no slope
        return found
    scale = xy / xx
    level = np.average(y, weights=counts) - scale * np.average(x, weights=counts)
    found |= {"level": float(level), "scale": float(scale), "correlation": float(xy / np.sqrt(xx * yy))}
    if scale > 0:
        left = np.average(np.square(y - level - scale * x), weights=counts)
        found |= {"noise": float(nats / scale), "noise_adjacent": float(adjacent / scale)}
        found["misfit"] = float(np.sqrt(left) / scale)
    return found
