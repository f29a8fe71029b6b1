"""The report's page: one HTML file that holds its styles, its scripts, the plotting library and all the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from atesd.report.style import Figure

HERE = Path(__file__).parent
# The browser itself refuses to load anything from anywhere.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)


@dataclass(frozen=True)
class Tile:
    """One headline number."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """Return the table alone."""
        heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in self.heads)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


@dataclass(frozen=True)
class Panel:
    """A titled part of the page.

    Attributes:
        caption: what it shows and in which unit.
        figure: drawn here; traces with ``meta={"choice": NAME}`` show one name at a time, picked from a list.
        body: ready HTML, below the figure.
        wide: whether it takes the whole width.
    """

    title: str
    caption: str
    figure: Figure | None = None
    body: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Page:
    """Everything on one page.

    Attributes:
        status: a word or two on what the page rests on; ``warned`` says whether to beware.
        left_out: what the page does not show, and why.
        rollouts: rows of ``rollouts.jsonl`` for the token view.
        legend: the colour of each method; its button hides the method's traces (by ``legendgroup``) in all figures.
    """

    title: str
    subtitle: str
    status: str
    warned: bool
    tiles: Sequence[Tile]
    panels: Sequence[Panel]
    left_out: Sequence[str] = ()
    rollouts: Sequence[dict[str, Any]] = field(default_factory=list)
    legend: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the page in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(self.html())
        new.replace(path)

    def html(self) -> str:
        """Return the page."""
        figures = {f"figure-{i}": vars(p.figure) for i, p in enumerate(self.panels) if p.figure}
        data = embedded({"figures": figures, "rollouts": list(self.rollouts)})
        panels = "\n".join(_panel(f"figure-{i}", panel) for i, panel in enumerate(evened(self.panels)))
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{escape(self.title)}</title>
<style>{(HERE / "page.css").read_text()}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header>
<p class="kind">ATESD report <span class="status{" warned" if self.warned else ""}">{escape(self.status)}</span></p>
<h1>{escape(self.title)}</h1>
<p class="subtitle">{escape(self.subtitle)}</p>
<dl class="tiles">{"".join(map(_tile, self.tiles))}</dl>
</header>
{_legend(self.legend)}
<main>
{panels}
{_left_out(self.left_out)}
</main>
<script type="application/json" id="page-data">{data}</script>
<script>{(HERE / "page.js").read_text()}</script>
</body>
</html>
"""


def embedded(content: Any) -> str:
    """Return JSON that no content can break out of a script element with.

    >>> embedded({"name": "</script>"})
    '{"name":"\\\\u003c/script>"}'
    """
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def evened(panels: Sequence[Panel]) -> list[Panel]:
    """Return the panels, widened where one would stand alone in its row of two."""
    found: list[Panel] = []
    alone = False
    for panel, following in zip_longest(panels, panels[1:]):
        alone = not (panel.wide or alone)
        found.append(replace(panel, wide=panel.wide or (alone and (following is None or following.wide))))
        alone = alone and not found[-1].wide
    return found


def _legend(colours: dict[str, str]) -> str:
    """Return a button per method."""
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-method="{escape(name)}">'
        f'<span class="swatch" style="background:{colour}"></span>{escape(name)}</button>'
        for name, colour in colours.items()
    )
    return f'<nav class="legend-bar" aria-label="methods shown">{buttons}</nav>' if colours else ""


def _tile(tile: Tile) -> str:
    note = f'<dd class="note">{escape(tile.note)}</dd>' if tile.note else ""
    return f'<div class="tile"><dt>{escape(tile.label)}</dt><dd class="value">{escape(tile.value)}</dd>{note}</div>'


def _panel(name: str, panel: Panel) -> str:
    figure = f'<div class="figure" id="{name}"></div>' if panel.figure else ""
    return f"""<section class="panel{" wide" if panel.wide else ""}" aria-labelledby="{name}-title">
<h2 id="{name}-title">{escape(panel.title)}</h2>
<p class="caption">{escape(panel.caption)}</p>
{_choice(name, panel.figure)}{figure}{panel.body}
</section>"""


def _choice(name: str, figure: Figure | None) -> str:
    """Return the list to pick from, for a figure that shows one of several things at a time."""
    choices = dict.fromkeys(trace["meta"]["choice"] for trace in (figure.data if figure else ()) if "meta" in trace)
    if not choices:
        return ""
    options = "".join(f"<option>{escape(choice)}</option>" for choice in choices)
    return f'<label class="choice">Show <select data-figure="{name}">{options}</select></label>'


def _left_out(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return f'<section class="panel wide"><h2>Not on this page</h2><ul>{items}</ul></section>'
