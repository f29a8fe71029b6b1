"""A page about one run: ``python -m atesd.report RUN`` writes ``RUN/report.html``.

One file that loads nothing, so it can be kept and sent on. A run that is not complete gets a page that says so.
Several runs have their page from ``python -m atesd.compare``.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import Any

from atesd.arguments import run_main
from atesd.errors import UserError
from atesd.recorded_run import RecordedRun, Row, read
from atesd.report import panels as report_panels
from atesd.report.page import Page, Panel, Table, Tile
from atesd.statistics import newcombe


def write_run(folder: Path, path: Path) -> None:
    """Write the page of one run.

    Raises:
        UserError: the folder holds no run, or a damaged one.
    """
    run = read(folder)
    panels, left_out = report_panels.panels(run)
    status = "complete" if run.complete else "not complete: still going, or stopped"
    Page(
        title=f"{run.method} on {run.config['model']['name']}",
        subtitle=subtitle(run),
        status=status,
        warned=not run.complete,
        tiles=tiles(run),
        panels=[*panels, *record(run)],
        left_out=left_out,
        rollouts=run.rollouts,
    ).write(path)


def subtitle(run: RecordedRun) -> str:
    """Return what the run is, in one line."""
    config = run.config
    done = f"{len(run.metrics)} of {config['train']['updates']} student updates" if run.metrics else "no student update"
    window = config["env"]["hold_window"]
    return f"seed {run.seed} · task {config['data']['name']} · {done} · hold window {window} · {run.folder}"


def tiles(run: RecordedRun) -> list[Tile]:
    """Return the headline numbers."""
    first, last = run.evaluations[0], run.evaluations[-1]
    low, high = newcombe(first, last)
    shown = [
        Tile(f"Accuracy, update {last['update']}", f"{last['mean']:.3f}", interval(last)),
        Tile("Accuracy, base", f"{first['mean']:.3f}", interval(first)),
        Tile(
            "Gain", f"{last['mean'] - first['mean']:+.3f}", f"95 % [{low:+.3f}, {high:+.3f}], as if on other problems"
        ),
    ]
    if (exposure := run.mean(report_panels.REALISED)) is not None:
        shown.append(Tile("Mean exposure", f"{exposure:.2f}", "realised, over updates"))
    if (generated := run.mean("tokens/generated")) is not None:
        scored = run.mean("tokens/scored") or 0
        tokens = [f"{mean * len(run.metrics):,.0f}" for mean in (generated, scored)]
        shown.append(Tile("Tokens generated", tokens[0], f"{tokens[1]} scored by the teacher"))
    return [*shown, Tile("Wall time", duration(sum(run.seconds().values())), "all phases")]


def interval(evaluation: Row) -> str:
    """Return an accuracy's interval in words."""
    return f"95 % [{evaluation['low']:.3f}, {evaluation['high']:.3f}], {evaluation['problems']} problems"


def duration(seconds: float) -> str:
    """Return seconds as a person says them.

    >>> duration(42.4), duration(150), duration(7260)
    ('42 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def record(run: RecordedRun) -> list[Panel]:
    """Return how the run was made: command, versions, hardware, settings."""
    known = {key: flat(run.summary[key]) for key in ("commit", "versions", "hardware") if key in run.summary}
    rows = [(key, " · ".join(f"{name} {value}".strip() for name, value in told.items())) for key, told in known.items()]
    command = f'<pre class="command">{escape(run.summary["command"])}</pre>' if run.complete else ""
    table = Table("", "", ("what", "value"), rows).html() if rows else ""
    settings = (
        f"<details open><summary>config.yaml</summary><pre class='settings'>{escape(run.settings)}</pre></details>"
    )
    about = (
        "The command, the source's commit, versions and hardware."
        if run.complete
        else ("Written when the run is complete: command, commit, versions and hardware.")
    )
    return [
        Panel("How it was made", about, body=command + table),
        Panel("Settings", "Every setting of the run, resolved.", body=settings, wide=True),
    ]


def flat(nested: Any) -> Row:
    """Return versions and the like by name; a single value has none."""
    return nested if isinstance(nested, dict) else {"": nested}


def main() -> None:
    """Write the page of the command line's run."""
    if len(sys.argv) != 2:
        raise UserError(
            "usage: python -m atesd.report RUN; for several runs, python -m atesd.compare RUN… output_dir=…"
        )
    folder = Path(sys.argv[1])
    path = folder / "report.html"
    write_run(folder, path)
    print(f"written to {path}")


if __name__ == "__main__":
    run_main(main)
