"""Statistics of segments: worked numbers."""

from __future__ import annotations

from atesd.exposure import Cut
from atesd.segmentation import describe
from atesd.tasks.arithmetic import Arithmetic
from atesd.tasks.collection import Collection
from atesd.tasks.problem import Problem


def test_segments_are_counted_per_cut(arithmetic: Arithmetic) -> None:
    problems = [Problem(f"p:{n}", f"{n}", "One. Two.\nThree." if n % 4 else "One.", "1", 1) for n in range(400)]
    task = Collection("p", problems, r"\n", seed=0, n=13)
    sizes = ", ".join(f"{len(rows)} {split.value}" for split, rows in task.splits.items())
    found = {cut: describe(task, cut) for cut in Cut}
    assert found[Cut.token] is None
    assert str(found[Cut.line]).startswith(f"{sizes} problems; references cut by line: 1 to 2 segments, median 2, 2")
    assert str(found[Cut.sentence]).startswith(
        f"{sizes} problems; references cut by sentence: 1 to 3 segments, median 3"
    )
    assert describe(arithmetic, Cut.step) is None
