"""Several seeds of one method as one number, one interval, one line with a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from atesd.compare.pairs import t_spread
from atesd.recorded_run import RecordedRun
from atesd.report.style import Figure, band, colour, dash, drawable, scatter
from atesd.statistics import Values


def last_accuracies(runs: Sequence[RecordedRun]) -> list[float]:
    return [float(run.evaluations[-1]["mean"]) for run in runs]


def interval(values: ArrayLike) -> tuple[float, float, float]:
    """Return the mean of some seeds and its 95 % t-interval; one seed has the interval nan.

    >>> tuple(round(value, 4) for value in interval([0.5, 0.6, 0.7]))
    (0.6, 0.3516, 0.8484)
    """
    means, lows, highs = intervals(np.asarray(values, np.float64)[:, None])
    return float(means[0]), float(lows[0]), float(highs[0])


def intervals(values_SN: Values) -> tuple[Values, Values, Values]:
    """Return mean and 95 % t-interval over seeds, the first axis, of every column."""
    means, halves = t_spread(values_SN)
    return means, means - halves, means + halves


def told(found: tuple[float, float, float]) -> str:
    return "no interval" if np.isnan(found[1]) else f"95 % [{found[1]:.3f}, {found[2]:.3f}]"


def line(drawn: Figure, place: int, name: str, x: Sequence[float], values_SN: Values, **trace: Any) -> None:
    """Draw a method's mean over seeds and its band."""
    means, lows, highs = intervals(values_SN)
    if len(values_SN) > 1:
        drawn.data.append(band(x, drawable(lows), drawable(highs), colour(place), name, **trace))
    drawn.data.append(
        scatter(
            x=x,
            y=drawable(means),
            legendgroup=name,
            mode="lines+markers",
            zorder=1,  # before every band, not only its own
            showlegend=False,
            line={"color": colour(place), "width": 2, "dash": dash(place)},
            marker={"size": 5 if len(x) < 40 else 1},
            customdata=list(zip(_told(lows), _told(highs), strict=True)),
            hovertemplate="update %{x}: %{y:.4f} [%{customdata[0]}, %{customdata[1]}]<extra>" + name + "</extra>",
            **trace,
        )
    )


def _told(values: Values) -> list[str]:
    return ["-" if isnan(value) else f"{value:.4f}" for value in values.tolist()]


def common(found: Sequence[Mapping[int, float]]) -> tuple[list[int], Values]:
    """Return the updates that all runs have a value at, and those values [seeds, updates]."""
    updates = sorted(set.intersection(*(set(each) for each in found)))
    return updates, np.array([[each[update] for update in updates] for each in found], dtype=np.float64)


def metric(runs: Sequence[RecordedRun], key: str) -> tuple[list[int], Values]:
    """Return the updates at which all runs measured a metric, and its values [seeds, updates]."""
    count = min(len(run.metrics) for run in runs)
    values = np.array([run.columns[key][:count] for run in runs])
    held = np.isfinite(values).all(axis=0)
    return (np.flatnonzero(held) + 1).tolist(), np.compress(held, values, axis=1)
