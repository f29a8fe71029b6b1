"""How the report's figures look: colours per method, axes, bands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

INK, SECOND, FAINT = "#1b3a5c", "#c8553d", "#8a94a0"
# Okabe and Ito's colours, which colour-blind readers tell apart, without the yellow that vanishes on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
DASHES = ("solid", "dash", "dot", "dashdot")
# From pale to ink, for densities and for difficulty.
PALE = ((0.0, "#ffffff"), (0.5, "#a9c3dc"), (1.0, "#2b5f94"))
HEIGHT = 340

Numbers = Sequence[float | None]
Trace = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """What plotly.js draws. Plotly's own class copies every trace several times: minutes for a large comparison."""

    layout: dict[str, Any]
    data: list[Trace] = field(default_factory=list)


def figure(x: str, y: str, **layout: Any) -> Figure:
    """Return an empty figure with titled axes; further arguments add to the layout, xaxis and yaxis to the axes."""
    base = {
        "height": HEIGHT,
        "margin": {"l": 58, "r": 16, "t": 32, "b": 48},
        "font": {"family": "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "size": 13, "color": "#24303c"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "#ffffff",
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(255,255,255,0.8)", "color": FAINT, "activecolor": INK},
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#c5ccd4", "font": {"color": "#24303c"}, "align": "left"},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    }
    axes = {"xaxis": axis(x) | layout.get("xaxis", {}), "yaxis": axis(y) | layout.get("yaxis", {})}
    return Figure(base | layout | axes)


def colour_bar(title: str) -> dict[str, Any]:
    """Return a thin colour bar."""
    return {"title": {"text": title, "side": "right", "font": {"size": 13}}, "thickness": 10, "outlinewidth": 0}


def axis(title: str) -> dict[str, Any]:
    """Return a quiet axis."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 13}},
        "gridcolor": "#e8ecf0",
        "zeroline": False,
        "linecolor": "#c5ccd4",
        "ticks": "outside",
        "tickcolor": "#c5ccd4",
        "automargin": True,
    }


def colour(index: int) -> str:
    """Return the colour of the method with this number."""
    return COLOURS[index % len(COLOURS)]


def dash(index: int) -> str:
    """Return the dash of the method with this number: it changes once the colours are used up."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


def shade(colour: str, alpha: float) -> str:
    """Return a colour, made transparent.

    >>> shade("#0072b2", 0.2)
    'rgba(0,114,178,0.2)'
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def between(one: str, other: str, share: float) -> str:
    """Return the colour at a share of the way from one to the other.

    >>> between("#000000", "#ffffff", 0.5)
    '#808080'
    """
    ends = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (one, other)]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(*ends, strict=True))


def scatter(**trace: Any) -> Trace:
    """Return a trace of points or lines."""
    return {"type": "scatter", **trace}


def bar(**trace: Any) -> Trace:
    """Return a trace of bars."""
    return {"type": "bar", **trace}


def band(x: Sequence[float], low: Numbers, high: Numbers, colour: str, group: str, **trace: Any) -> Trace:
    """Return the area between two lines; it belongs to the legend entry of its group."""
    return scatter(
        x=[*x, *reversed(x)],
        y=[*high, *reversed(low)],
        mode="lines",
        fill="toself",
        fillcolor=shade(colour, 0.16),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
        name=group,
        **trace,
    )


def drawable(values: Iterable[float]) -> list[float | None]:
    """Return values as figures take them: no number is None.

    >>> drawable([0.12345678, float("nan")])
    [0.123457, None]
    """
    return [None if isnan(value) else round(float(value), 6) for value in values]


def spread(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> dict[str, Any]:
    """Return error bars from interval ends."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - mean for mean, high in zip(means, highs, strict=True)],
        "arrayminus": [mean - low for mean, low in zip(means, lows, strict=True)],
        "thickness": 1.5,
        "width": 4,
    }
