"""The panels of one run, each drawn from the run's logs alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from atesd.recorded_run import RecordedRun, Row, number
from atesd.report.page import Panel
from atesd.report.style import (
    FAINT,
    HEIGHT,
    INK,
    PALE,
    SECOND,
    Figure,
    Trace,
    axis,
    band,
    bar,
    between,
    colour_bar,
    drawable,
    figure,
    scatter,
    spread,
)

EXPOSURE, REALISED = "exposure/asked", "exposure/realised"
MISMATCH = {
    "mismatch/top1_disagreement": ("Top-1 disagreement", "top-1 disagreement (share of tokens)"),
    "mismatch/kl_tail_nats": ("KL of the worst tokens", "KL of the worst 5 % of tokens (nats)"),
}
DENSITY_LEVELS = 81
# What is drawn darkest at least, so that a policy that knows nothing yet looks it. ours
LEAST_DENSE = 3.0
SHARES = (-0.03, 1.03)
# Between two rows of axes, as a share of the figure.
GAP = 0.05


def panels(run: RecordedRun) -> tuple[list[Panel], list[str]]:
    """Return the panels of a run, and what is left out and why."""
    found, left_out = [accuracy(run)], []
    exposed = run.has(EXPOSURE)
    if exposed:
        found += [exposure(run), *mismatch(run)]
        if not has_density(run):
            left_out.append(f"The density of the policy: {run.method} logs no Beta parameters.")
    else:
        left_out.append(f"Exposure and mismatch: {run.method} has no exposed teacher, or has made no update.")
    found += [difficulty_ends(run), difficulty_curves(run)]
    matured = [row for row in run.decisions if row["reward"] is not None]
    if matured and exposed:
        found.append(rewards(run, matured))
    else:
        why = "no decision has been paid a reward" if exposed else "no exposure was decided"
        left_out.append(f"Reward parts: {why}.")
    if run.metrics:
        found.append(explorer(run))
    if run.rollouts:
        found.append(token_view())
    else:
        left_out.append("Token-level KL: the run recorded no rollouts (eval.rollouts=0, or a student without tokens).")
    return [*found, timings(run)], left_out


def accuracy(run: RecordedRun) -> Panel:
    """Return accuracy over updates with its intervals."""
    drawn = figure("student updates", "accuracy", yaxis={"range": SHARES}, hovermode="x", showlegend=False)
    _accuracy_line(drawn, run.evaluations, INK, "accuracy")
    counts = sorted({row["problems"] for row in run.evaluations})
    caption = (
        "Share of held-out problems answered right, greedily; the band is the 95 % Wilson interval over the "
        f"{' or '.join(map(str, counts))} problems asked."
    )
    return Panel("Accuracy over updates", caption, drawn)


def _accuracy_line(drawn: Figure, rows: list[Row], colour: str, name: str) -> None:
    updates, means = [row["update"] for row in rows], [row["mean"] for row in rows]
    drawn.data.append(band(updates, [row["low"] for row in rows], [row["high"] for row in rows], colour, name))
    drawn.data.append(
        scatter(
            x=updates,
            y=means,
            name=name,
            legendgroup=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            customdata=[[row["low"], row["high"], row["problems"]] for row in rows],
            hovertemplate="update %{x}: %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
            f"<br>%{{customdata[2]}} problems<extra>{name}</extra>",
        )
    )


def has_density(run: RecordedRun) -> bool:
    """Return whether every decision logged the parameters of a Beta density."""
    return bool(run.decisions) and all("beta/a" in row and "beta/b" in row for row in run.decisions)


def exposure(run: RecordedRun) -> Panel:
    """Return the exposure over updates before the policy's density, a row of axes per difficulty group."""
    groups = run.groups
    names = [str(row) if row > 1 else "" for row in range(1, len(groups) + 1)]
    drawn = figure("student updates", "", height=HEIGHT + 160 * (len(groups) - 1), xaxis={"anchor": f"y{names[-1]}"})
    share = (1 + GAP) / len(groups)
    for group, name, below in zip(groups, names, reversed(range(len(groups))), strict=True):
        prefix = f"group_{group}/" if len(groups) > 1 else ""
        traces = [density([run], group)] if has_density(run) else []
        traces += _exposure_lines(run, prefix, legend=not name)
        drawn.data.extend(trace | {"yaxis": f"y{name}"} for trace in traces)
        room = [round(below * share, 4), round((below + 1) * share - GAP, 4)]
        title = f"exposure, group {group}" if prefix else "exposure"
        drawn.layout[f"yaxis{name}"] = axis(title) | {"range": SHARES, "domain": room}
    caption = "Share of the reference's segments that the teacher is shown: asked for, and realised in whole segments."
    if has_density(run):
        caption += " Behind it, the controller's Beta density over exposure (darker is denser)."
    return Panel("Exposure", caption, drawn)


def _exposure_lines(run: RecordedRun, prefix: str, legend: bool) -> Iterator[Trace]:
    lines = {"asked": {"mode": "lines", "line": {"color": INK, "width": 2, "shape": "hvh"}}}
    lines["realised"] = {"mode": "markers", "marker": {"color": SECOND, "size": 5}}
    for name, style in lines.items():
        yield scatter(
            x=run.updates,
            y=run.column(f"{prefix}exposure/{name}"),
            name=name,
            legendgroup=name,
            showlegend=legend,
            hovertemplate=f"update %{{x}}: %{{y:.3f}}<extra>{name}</extra>",
            **style,
        )


def density(runs: list[RecordedRun], group: int) -> Trace:
    """Return the mean density over runs of one group's Beta policy, a column per hold window."""
    decided = [
        sorted((row for row in run.decisions if row.get("group", 0) == group), key=lambda row: int(row["decision"]))
        for run in runs
    ]
    count = min(map(len, decided))  # runs of one method have as many windows, unless they are still going
    levels = np.linspace(0, 1, DENSITY_LEVELS)
    middles = (levels[1:] + levels[:-1]) / 2
    a, b = (np.array([[row[key] for row in rows[:count]] for rows in decided]) for key in ("beta/a", "beta/b"))
    densities = stats.beta.pdf(middles[:, None, None], a, b).mean(axis=1)
    starts = [row["update"] for row in decided[0][:count]]
    end = min(starts[-1] + int(runs[0].config["env"]["hold_window"]), runs[0].updates[-1])
    return {
        "type": "heatmap",
        # a window's updates are those after its start, and update n is drawn at n
        "x": [start + 0.5 for start in [*starts, end]],
        "y": levels.tolist(),
        "z": np.round(densities, 4).tolist(),
        "colorscale": PALE,
        "zmin": 0,
        "zmax": max(LEAST_DENSE, float(densities.max())),
        "colorbar": colour_bar("density"),
        "hovertemplate": "update %{x}, exposure %{y:.2f}<br>density %{z:.2f}<extra>policy</extra>",
    }


def mismatch(run: RecordedRun) -> Iterator[Panel]:
    """Yield each measure of mismatch against the realised exposure, coloured by update."""
    for key, (title, measure) in MISMATCH.items():
        drawn = figure("exposure, realised", measure, xaxis={"range": SHARES}, yaxis={"rangemode": "tozero"})
        marker: Row = {"color": run.updates, "colorscale": "Viridis", "size": 7, "opacity": 0.85}
        drawn.data.append(
            scatter(
                x=run.column(REALISED),
                y=run.column(key),
                mode="markers",
                marker=marker | {"colorbar": colour_bar("update")},
                customdata=run.updates,
                hovertemplate="update %{customdata}<br>exposure %{x:.3f}<br>" + measure + ": %{y:.4f}<extra></extra>",
            )
        )
        caption = (
            f"Mismatch between the exposed teacher and the student on the student's own tokens: {measure}. A dot per "
            "update."
        )
        yield Panel(f"{title} against exposure", caption, drawn)


def _levels(rows: list[Row]) -> list[str]:
    return sorted({level for row in rows for level in row["by_difficulty"]}, key=int)


def difficulty_ends(run: RecordedRun) -> Panel:
    """Return accuracy per difficulty at the first and the last evaluation."""
    first, last = run.evaluations[0], run.evaluations[-1]
    levels = _levels([first, last])
    ticks = {"tickvals": list(range(len(levels))), "ticktext": levels}
    drawn = figure("difficulty", "accuracy", yaxis={"range": SHARES}, xaxis=ticks)
    for row, name, colour, shift in ((first, "base", FAINT, -0.08), (last, f"update {last['update']}", INK, 0.08)):
        found = [row["by_difficulty"][level] for level in levels if level in row["by_difficulty"]]
        places = [place + shift for place, level in enumerate(levels) if level in row["by_difficulty"]]
        means, lows, highs = ([each[key] for each in found] for key in ("mean", "low", "high"))
        drawn.data.append(
            scatter(
                x=places,
                y=means,
                error_y=spread(means, lows, highs),
                mode="markers",
                marker={"color": colour, "size": 9},
                name=name,
                customdata=[[each["low"], each["high"], each["problems"]] for each in found],
                hovertemplate="%{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<br>%{customdata[2]} problems"
                f"<extra>{name}</extra>",
            )
        )
    caption = (
        "Share of problems answered right before training and at the last evaluation, by the task's difficulty (for "
        "arithmetic, its number of steps); bars are 95 % Wilson intervals."
    )
    return Panel("Accuracy by difficulty", caption, drawn)


def difficulty_curves(run: RecordedRun) -> Panel:
    """Return accuracy per difficulty over updates."""
    drawn = figure("student updates", "accuracy", yaxis={"range": SHARES}, showlegend=True)
    levels = _levels(run.evaluations)
    for place, level in enumerate(levels):
        shade = between("#8ab6dd", "#0d2033", place / max(1, len(levels) - 1))
        rows = [
            row["by_difficulty"][level] | {"update": row["update"]}
            for row in run.evaluations
            if level in row["by_difficulty"]  # the few problems asked midway may have none of a rare one
        ]
        _accuracy_line(drawn, rows, shade, level)
    for trace in drawn.data[::2]:  # a band per line would hide the lines
        trace["visible"] = "legendonly" if len(levels) > 1 else True
        del trace["legendgroup"]
    drawn.layout["legend"] |= {"title": {"text": "difficulty ", "font": {"size": 13}}}
    caption = "The same over updates, darker is harder; point at a dot for its interval, click a difficulty to hide it."
    return Panel("Difficulty over updates", caption, drawn)


def rewards(run: RecordedRun, matured: list[Row]) -> Panel:
    """Return the parts of each decision's reward."""
    drawn = figure("student updates done when decided", "reward", barmode="relative")
    matured = sorted(matured, key=lambda row: (int(row["decision"]), int(row.get("group", 0))))
    updates = [row["update"] for row in matured]
    total = np.array([number(row["reward"]) for row in matured], dtype=float)
    progress = np.array([number(row["reward/learning_progress"]) for row in matured], dtype=float)
    parts: dict[str, tuple[Any, str]] = {
        "learning progress": (progress, INK),
        "teacher-grounded, weighted": (total - progress, SECOND),
    }
    for name, (values, colour) in parts.items():
        drawn.data.append(
            bar(
                x=updates,
                y=drawable(values),
                name=name,
                width=0.7 * run.config["env"]["hold_window"],
                marker={"color": colour, "opacity": 0.8},
                hovertemplate=f"%{{y:.4f}}<extra>{name}</extra>",
            )
        )
    chosen = [[row["exposure"], row["matured_at"]] for row in matured]
    drawn.data.append(
        scatter(
            x=updates,
            y=drawable(total),
            name="reward",
            mode="markers",
            marker={"color": "#000000", "size": 6, "symbol": "diamond"},
            customdata=chosen,
            hovertemplate="%{y:.4f} for exposure %{customdata[0]:.3f}<br>matured at update %{customdata[1]}"
            "<extra>reward</extra>",
        )
    )
    waiting = len(run.decisions) - len(matured)
    rule = run.config["reward"]
    caption = (
        f"What each hold window was paid (reward.kind={rule['kind']}, signal {rule['signal']}): learning progress in "
        "units of the signal, plus the weighted teacher-grounded term in nats per token. "
        f"{waiting} of {len(run.decisions)} decisions had no whole look-ahead left and got none."
    )
    return Panel("Reward parts per decision", caption, drawn)


def explorer(run: RecordedRun) -> Panel:
    """Return every metric over updates, one at a time."""
    drawn = figure("student updates", "")
    names = [key for key in dict.fromkeys(key for row in run.metrics for key in row) if key != "update"]
    names = sorted(names, key=lambda name: name.startswith("time/"))
    missing = 0
    for name in names:
        values = run.column(name)
        missing += sum(isinstance(row.get(name), str) for row in run.metrics)
        drawn.data.append(
            scatter(
                x=run.updates,
                y=values,
                mode="lines+markers",
                line={"color": INK, "width": 1.5},
                marker={"size": 4},
                name=name,
                meta={"choice": name},
                showlegend=False,
                hovertemplate=f"update %{{x}}: %{{y:.5g}}<extra>{name}</extra>",
            )
        )
    caption = "Any column of metrics.jsonl, per student update; the name ends in the unit."
    if missing:
        caption += f" {missing} values are not finite and drawn as gaps."
    return Panel("All metrics", caption, drawn)


def token_view() -> Panel:
    """Return the frame of the token-level view, which the page's script fills."""
    caption = (
        "What the student wrote on fixed probe problems, token by token. Colour: KL(teacher ‖ student) in nats when "
        "the teacher is shown nothing but the answer (0), this exposure, or the whole reference (1); underlined: they "
        "disagree on the likeliest token. Point at a token, or use the arrow keys, for the likeliest choices of both."
    )
    body = '<div class="token-view" id="token-view"></div>'
    return Panel("Token-level KL", caption, None, body, wide=True)


def timings(run: RecordedRun) -> Panel:
    """Return seconds per phase."""
    spent = sorted(run.seconds().items(), key=lambda item: item[1])
    total = sum(seconds for _, seconds in spent)
    room = {"range": [0, 1.3 * max([seconds for _, seconds in spent] or [1])]}
    drawn = figure("wall seconds", "", xaxis=room, showlegend=False)
    drawn.data.append(
        bar(
            x=[seconds for _, seconds in spent],
            y=[name for name, _ in spent],
            orientation="h",
            marker={"color": INK},
            text=[f"{seconds:.1f} s, {seconds / max(total, 1e-9):.0%}" for _, seconds in spent],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2f} s<extra></extra>",
        )
    )
    where = "the whole run" if run.complete else "the updates so far"
    return Panel("Phase timings", f"Wall seconds per phase over {where}, {total:.1f} s in all.", drawn)
