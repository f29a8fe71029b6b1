"""The page of a comparison: every method's seeds as one line with a band, in the method's own colour throughout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from atesd.recorded_run import RecordedRun, Row, common_metrics, number
from atesd.report.page import Page, Panel, Table, Tile
from atesd.report.panels import EXPOSURE, MISMATCH, REALISED, SHARES, density, has_density, token_view
from atesd.report.seeds import common, interval, intervals, last_accuracies, line, metric, told
from atesd.report.style import bar, colour, drawable, figure, scatter, shade, spread

Methods = Mapping[str, Sequence[RecordedRun]]
# Phases with a colour of their own. ours
NAMED_PHASES = 6
SEEDS = "the band is the 95 % t-interval over seeds"


def page(methods: Methods, tables: Sequence[Table]) -> Page:
    """Return the page."""
    runs = [run for found in methods.values() for run in found]
    panels, left_out, rollouts = [*map(table_panel, tables), method_table(methods)], [], recorded_rollouts(methods)
    shown = [name for _, name, _ in exposed(methods)]
    panels += [accuracy(methods), final(methods)]
    if shown:
        panels += [over_updates(methods), *mismatch(methods)]
    if without := [name for name in methods if name not in shown]:
        left_out.append(f"Exposure and mismatch of {', '.join(without)}: no exposed teacher, or no update.")
    panels += [*densities(methods), difficulty(methods), *rewards(methods), *explorer(methods)]
    if rollouts:
        panels.append(token_view())
    else:
        left_out.append("Token-level KL: the runs recorded no rollouts (eval.rollouts=0, or students without tokens).")
    if alone := [name for name, found in methods.items() if len(found) == 1]:
        left_out.append(f"Bands and intervals of {', '.join(alone)}: one seed has none.")
    return Page(
        title=f"{len(methods)} methods compared" if len(methods) > 1 else f"{next(iter(methods))} over seeds",
        subtitle=" · ".join(shared(runs)),
        status="complete runs only",
        warned=False,
        tiles=tiles(methods),
        panels=[*panels, timings(methods), run_table(methods)],
        left_out=left_out,
        rollouts=rollouts,
        legend={name: colour(place) for place, name in enumerate(methods)},
    )


def shared(runs: Sequence[RecordedRun]) -> Iterator[str]:
    """Yield in words what the runs are."""
    yield f"{len(runs)} runs"
    for word, key in (("model", "model"), ("task", "data")):
        yield f"{word} {', '.join(sorted({str(run.config[key]['name']) for run in runs}))}"
    yield f"seeds {', '.join(map(str, sorted({run.seed for run in runs})))}"
    yield f"commit {', '.join(sorted({str(run.summary['commit']) for run in runs}))}"


def tiles(methods: Methods) -> list[Tile]:
    """Return accuracy after training of the methods with the highest mean, best first."""
    rows = {name: interval(last_accuracies(runs)) for name, runs in methods.items()}
    best = sorted(rows, key=lambda name: -rows[name][0])[:4]
    return [
        Tile(
            name,
            f"{rows[name][0]:.3f}",
            f"accuracy after the last update, {told(rows[name])}, n = {len(methods[name])}",
        )
        for name in best
    ]


def table_panel(table: Table) -> Panel:
    return Panel(table.title, table.caption, body=table.html(), wide=True)


def method_table(methods: Methods) -> Panel:
    """Return a row per method."""
    heads = (
        "method",
        "seeds",
        "accuracy after",
        "95 % over seeds",
        "base",
        "gain",
        "mean exposure",
        "tokens generated",
    )
    rows = []
    for name, runs in methods.items():
        after, before = interval(last_accuracies(runs)), np.mean([run.evaluations[0]["mean"] for run in runs])
        exposures = [value for run in runs if (value := run.mean(REALISED)) is not None]
        tokens = [value * len(run.metrics) for run in runs if (value := run.mean("tokens/generated")) is not None]
        cells = [name, str(len(runs)), f"{after[0]:.3f}", told(after).removeprefix("95 % ")]
        cells += [f"{before:.3f}", f"{after[0] - before:+.3f}"]
        cells.append(f"{np.mean(exposures):.2f}" if exposures else "-")
        rows.append([*cells, f"{np.mean(tokens):,.0f}" if tokens else "-"])
    caption = "Shares of evaluation problems, means over seeds; the interval is Student's t over seeds."
    return table_panel(Table("After the last update", caption, heads, rows))


def accuracy(methods: Methods) -> Panel:
    """Return accuracy over updates."""
    drawn = figure("student updates", "accuracy")
    for place, (name, runs) in enumerate(methods.items()):
        updates, values = common([{row["update"]: row["mean"] for row in run.evaluations} for run in runs])
        line(drawn, place, name, updates, values)
    caption = f"Share of evaluation problems answered right, greedily: mean over seeds; {SEEDS}."
    return Panel("Accuracy over updates", caption, drawn)


def final(methods: Methods) -> Panel:
    """Return accuracy after training, a dot per run and the mean with its interval."""
    names = list(methods)
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.5, -0.5]}
    drawn = figure("accuracy after training", "", yaxis=ticks, showlegend=False, height=max(340, 90 + 34 * len(names)))
    for place, (name, runs) in enumerate(methods.items()):
        values = last_accuracies(runs)
        mean, low, high = interval(values)
        bars = spread([mean], [low], [high]) if len(runs) > 1 else None
        seeds = [f"seed {run.seed}" for run in runs]
        drawn.data.append(
            scatter(
                x=values,
                y=[place + 0.18] * len(values),
                mode="markers",
                legendgroup=name,
                marker={"color": shade(colour(place), 0.5), "size": 8},
                text=seeds,
                hovertemplate="%{text}: %{x:.4f}<extra>" + name + "</extra>",
            )
        )
        drawn.data.append(
            scatter(
                x=[mean],
                y=[place],
                error_x=bars,
                mode="markers",
                legendgroup=name,
                marker={"color": colour(place), "size": 11, "symbol": "diamond"},
                hovertemplate=f"mean %{{x:.4f}}, {told((mean, low, high))}<extra>{name}</extra>",
            )
        )
    caption = "A dot per seed; the diamond is the mean, the bar its 95 % t-interval over seeds."
    return Panel("Accuracy after training", caption, drawn)


def over_updates(methods: Methods) -> Panel:
    """Return exposure over updates."""
    drawn = figure("student updates", "exposure, realised", yaxis={"range": SHARES})
    for place, name, runs in exposed(methods):
        line(drawn, place, name, *metric(runs, REALISED))
    caption = f"Share of the reference's segments that the teacher was shown: mean over seeds; {SEEDS}."
    return Panel("Exposure", caption, drawn)


def exposed(methods: Methods) -> Iterator[tuple[int, str, Sequence[RecordedRun]]]:
    """Yield the methods with an exposed teacher: number, which the colour follows from, name and runs."""
    for place, (name, runs) in enumerate(methods.items()):
        if all(run.has(EXPOSURE) for run in runs):
            yield place, name, runs


def mismatch(methods: Methods) -> Iterator[Panel]:
    """Yield each measure of mismatch against exposure, a dot per run."""
    for key, (title, measure) in MISMATCH.items():
        along = {"xaxis": {"range": SHARES}, "yaxis": {"rangemode": "tozero"}}
        drawn = figure("exposure, realised, mean over updates", measure, **along)
        for place, name, runs in exposed(methods):
            drawn.data.append(
                scatter(
                    x=[run.mean(REALISED) for run in runs],
                    y=[run.mean(key) for run in runs],
                    mode="markers",
                    legendgroup=name,
                    showlegend=False,
                    marker={"color": colour(place), "size": 9, "opacity": 0.85},
                    text=[f"seed {run.seed}" for run in runs],
                    hovertemplate="%{text}<br>exposure %{x:.3f}<br>" + f"{measure}: %{{y:.4f}}<extra>{name}</extra>",
                )
            )
        caption = f"Mismatch between the exposed teacher and the student: {measure}, mean over updates. A dot per run."
        yield Panel(f"{title} against exposure", caption, drawn)


def densities(methods: Methods) -> Iterator[Panel]:
    """Yield the policies' densities over updates, averaged over seeds."""
    drawn = figure("student updates", "exposure", yaxis={"range": SHARES})
    for name, runs in methods.items():
        if all(has_density(run) for run in runs):
            for group in runs[0].groups:
                choice = f"{name}, group {group}" if len(runs[0].groups) > 1 else name
                drawn.data.append(density(list(runs), group) | {"meta": {"choice": choice}})
    if drawn.data:
        caption = (
            "The Beta density over exposure that the controller drew from, averaged over seeds (darker is denser)."
        )
        yield Panel("Density of the policy", caption, drawn)


def difficulty(methods: Methods) -> Panel:
    """Return accuracy after training per difficulty."""
    ends = {name: [run.evaluations[-1]["by_difficulty"] for run in runs] for name, runs in methods.items()}
    levels = sorted({level for found in ends.values() for each in found for level in each}, key=int)
    ticks = {"tickvals": list(range(len(levels))), "ticktext": levels, "range": [-0.5, len(levels) - 0.5]}
    drawn = figure("difficulty", "accuracy after training", yaxis={"range": SHARES}, xaxis=ticks)
    for place, (name, found) in enumerate(ends.items()):
        held = [level for level in levels if all(level in each for each in found)]
        means, lows, highs = intervals(np.array([[each[level]["mean"] for level in held] for each in found]))
        shift = 0.6 * ((place + 0.5) / len(ends) - 0.5)
        drawn.data.append(
            scatter(
                x=[levels.index(level) + shift for level in held],
                y=drawable(means),
                error_y=spread(means.tolist(), lows.tolist(), highs.tolist()) if len(found) > 1 else None,
                mode="markers",
                legendgroup=name,
                showlegend=False,
                marker={"color": colour(place), "size": 8},
                hovertemplate=f"%{{y:.3f}}<extra>{name}</extra>",
            )
        )
    caption = "Mean over seeds after training, by the task's difficulty; bars are 95 % t-intervals over seeds."
    return Panel("Accuracy by difficulty", caption, drawn)


def rewards(methods: Methods) -> Iterator[Panel]:
    """Yield the parts of the reward per decision."""
    drawn = figure("student updates done when decided", "")
    for key in ("reward", "reward/learning_progress", "reward/teacher_grounded"):
        for place, name, runs in exposed(methods):
            updates, values = common([paid(run, key) for run in runs])
            if updates:
                line(drawn, place, name, updates, values, meta={"choice": key})
    if drawn.data:
        caption = f"What each hold window was paid, and its parts before weighting: mean over seeds; {SEEDS}."
        yield Panel("Reward parts per decision", caption, drawn)


def paid(run: RecordedRun, key: str) -> dict[int, float]:
    """Return what was paid by the update decided at, averaged over difficulty groups."""
    found: dict[int, list[float]] = {}
    for row in run.decisions:
        if (value := number(row[key])) is not None:
            found.setdefault(row["update"], []).append(value)
    return {update: float(np.mean(values)) for update, values in found.items()}


def explorer(methods: Methods) -> Iterator[Panel]:
    """Yield every metric that all runs measured."""
    runs = [run for found in methods.values() for run in found]
    drawn = figure("student updates", "")
    for key in sorted(common_metrics(runs), key=lambda name: name.startswith("time/")):
        for place, (name, found) in enumerate(methods.items()):
            updates, values = metric(found, key)
            if updates:
                line(drawn, place, name, updates, values, meta={"choice": key})
    if drawn.data:
        caption = f"Any metric that all runs share, per student update: mean over seeds; {SEEDS}."
        yield Panel("All metrics", caption, drawn)


def recorded_rollouts(methods: Methods) -> list[Row]:
    """Return the last recorded rollouts of the first run of each method, which is named in them."""
    found = []
    for name, runs in methods.items():
        rows = runs[0].rollouts
        last = [row for row in rows if row["update"] == rows[-1]["update"]]
        found += [row | {"run": f"{name}, seed {runs[0].seed}"} for row in last]
    return found


def timings(methods: Methods) -> Panel:
    """Return seconds per phase, stacked per method."""
    height = max(340, 150 + 30 * len(methods))
    drawn = figure("wall seconds, mean over seeds", "", barmode="stack", height=height, yaxis={"autorange": "reversed"})
    spent = {name: [run.seconds() for run in runs] for name, runs in methods.items()}
    phases = list(dict.fromkeys(phase for found in spent.values() for each in found for phase in each))
    means = {p: [float(np.mean([each.get(p, 0.0) for each in found])) for found in spent.values()] for p in phases}
    ranked = sorted(phases, key=lambda phase: -sum(means[phase]))
    others, shown = ranked[NAMED_PHASES:], ranked[:NAMED_PHASES]
    if others:
        means["others"] = [sum(seconds) for seconds in zip(*(means[phase] for phase in others), strict=True)]
        shown.append("others")
    for place, phase in enumerate(shown):
        drawn.data.append(
            bar(
                x=means[phase],
                y=list(methods),
                name=phase,
                orientation="h",
                marker={"color": colour(place)},
                hovertemplate=f"%{{x:.2f}} s<extra>{phase}</extra>",
            )
        )
    caption = "Wall seconds per phase of a run, mean over seeds."
    if others:
        caption += f" Others: {', '.join(others)}."
    return Panel("Phase timings", caption, drawn)


def run_table(methods: Methods) -> Panel:
    """Return a row per run."""
    heads = ("method", "seed", "base", "after", "problems", "updates", "commit", "folder")
    rows = [
        [
            name,
            str(run.seed),
            f"{run.evaluations[0]['mean']:.3f}",
            f"{run.evaluations[-1]['mean']:.3f}",
            str(run.evaluations[-1]["problems"]),
            str(run.summary["updates"]),
            str(run.summary["commit"]),
            str(run.folder),
        ]
        for name, runs in methods.items()
        for run in runs
    ]
    commands = [f"# {run.folder}\n{run.summary['command']}" for runs in methods.values() for run in runs]
    listed = Table("", "", heads, rows).html()
    return Panel("Runs", "Every run on this page.", body=listed + _folded("Commands", commands), wide=True)


def _folded(title: str, texts: Sequence[str]) -> str:
    body = escape("\n".join(texts))
    return f'<details><summary>{escape(title)}</summary><pre class="command">{body}</pre></details>'
