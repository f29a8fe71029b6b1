"""Into how many segments a task's references fall: what the exposure can choose from."""

from __future__ import annotations

from atesd.exposure import Cut, segments
from atesd.tasks.problem import Split, Task


def describe(task: Task, cut: Cut) -> str | None:
    """Return a line of statistics on a task's training references; None where they have no end or tokens cut them."""
    import numpy as np

    listed = task.listed()
    if not listed or cut is Cut.token:
        return None
    counts = [len(segments(problem, cut, task, list)) for problem in listed[Split.training]]
    sizes = ", ".join(f"{len(problems)} {split.value}" for split, problems in listed.items())
    low, median, high = np.quantile(counts, [0, 0.5, 1])
    single = np.mean(np.array(counts) == 1)
    return (
        f"{sizes} problems; references cut by {cut.value}: {low:.0f} to {high:.0f} segments, median {median:g}, "
        f"{single:.1%} in one piece"
    )
