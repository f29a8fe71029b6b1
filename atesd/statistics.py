"""Intervals for what a run reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atesd.interfaces import Verdict


def accuracy(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return accuracy with its 95 % Wilson interval, overall and per difficulty."""
    groups = sorted({verdict.difficulty for verdict in verdicts})
    by_difficulty = {str(g): _share([v.correct for v in verdicts if v.difficulty == g]) for g in groups}
    return {**_share([v.correct for v in verdicts]), "by_difficulty": by_difficulty}


def _share(correct: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(correct), len(correct))
    return {"mean": sum(correct) / len(correct), "low": low, "high": high, "problems": len(correct)}


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    >>> tuple(round(bound, 4) for bound in wilson(8, 10))
    (0.4902, 0.9433)
    """
    from scipy import stats

    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
