"""Intervals and tests for what runs report. Values of several strata stand in arrays [S strata, N runs]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atesd.interfaces import Verdict

Values = NDArray[np.float64]
Picks = NDArray[np.int64]
Draw = Callable[[int, int, int, int], Picks]


def accuracy(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return accuracy with its 95 % Wilson interval, overall and per difficulty."""
    groups = sorted({verdict.difficulty for verdict in verdicts})
    by_difficulty = {str(g): _share([v.correct for v in verdicts if v.difficulty == g]) for g in groups}
    return {**_share([v.correct for v in verdicts]), "by_difficulty": by_difficulty}


def by_verdict(verdicts: Sequence[Verdict]) -> dict[str, list[str]]:
    """Return the problems answered right and those answered wrong, in the order asked.

    >>> by_verdict([Verdict("1+1", 1, True), Verdict("2+3", 1, False)])
    {'right': ['1+1'], 'wrong': ['2+3']}
    """
    named = {"right": True, "wrong": False}
    return {name: [v.problem for v in verdicts if v.correct is correct] for name, correct in named.items()}


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


def newcombe(before: dict[str, Any], after: dict[str, Any]) -> tuple[float, float]:
    """Return the interval of the gain between two accuracies with their Wilson intervals (Newcombe 1998, method 10).

    It takes the two for independent. Where the same problems were answered it is wider than it had to be.

    >>> rates = [{"mean": right / asked} | dict(zip(("low", "high"), wilson(right, asked))) for right, asked in
    ...          ((48, 80), (56, 70))]
    >>> tuple(round(bound, 4) for bound in newcombe(*rates))
    (0.0524, 0.3339)
    """
    gain = after["mean"] - before["mean"]
    down = math.hypot(after["mean"] - after["low"], before["high"] - before["mean"])
    up = math.hypot(after["high"] - after["mean"], before["mean"] - before["low"])
    return gain - down, gain + up


def mean(values: ArrayLike) -> Values:
    """Return the mean over the last axis."""
    return np.asarray(np.asarray(values, np.float64).mean(axis=-1))


def iqm(values: ArrayLike) -> Values:
    """Return the interquartile mean over the last axis: the mean without the lowest and the highest quarter.

    As Agarwal and others (2021, arXiv 2108.13264) recommend for few runs; a quarter is rounded down to whole values.

    >>> float(iqm([0, 1, 2, 3, 4, 5, 6, 100]))
    3.5
    """
    values = np.asarray(values, np.float64)
    cut = values.shape[-1] // 4
    if cut:
        values = np.partition(values, (cut, values.shape[-1] - cut - 1), axis=-1)[..., cut : values.shape[-1] - cut]
    return mean(values)


def probability_of_improvement(differences: ArrayLike) -> Values:
    """Return over the last axis how often the first of two paired runs is better; a tie counts half.

    Runs are paired because they share their random numbers; arXiv 2108.13264 compares every run with every other.

    >>> float(probability_of_improvement([0.3, -0.1, 0.0, 0.2]))
    0.625
    """
    signs = np.sign(np.asarray(differences, np.float64))
    return mean((signs + 1) / 2)


def fresh_picks(seed: int, resamples: int, strata: int, runs: int) -> Picks:
    """Return which runs each resample consists of [resamples, strata, runs]."""
    return np.random.default_rng(seed).integers(runs, size=(resamples, strata, runs))


def rliable_picks(seed: int, resamples: int, strata: int, runs: int) -> Picks:
    """Return the runs that rliable 1.2 resamples after ``numpy.random.seed(seed)``; it draws [runs, strata]."""
    drawn = np.random.RandomState(seed).choice(runs, (resamples, runs, strata))
    return np.moveaxis(drawn, 1, 2)


def stratified_bootstrap(
    values: ArrayLike,
    statistic: Callable[[ArrayLike], Values],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    draw: Draw = fresh_picks,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of all values [S, N], resampling within each stratum.

    A statistic reduces the last axis, over which all strata's values stand (arXiv 2108.13264, section 4.1).

    >>> stratified_bootstrap([[1.0, 1.0], [3.0, 3.0]], mean)
    (2.0, 2.0)
    """
    values = np.asarray(values, np.float64)
    strata, runs = values.shape
    picks = draw(seed, resamples, strata, runs)
    statistics = statistic(values[np.arange(strata)[:, None], picks].reshape(resamples, -1))
    low, high = np.quantile(statistics, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_p_values(differences: ArrayLike) -> Values:
    """Return the two-sided Wilcoxon signed-rank p-value of each row of paired differences.

    Rows without any difference have p-value 1; fewer than 6 differences cannot reach 0.05.

    >>> paired_p_values([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0, 0, 0, 0, 0, 0]]).tolist()
    [0.03125, 1.0]
    >>> paired_p_values([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0, 2.0, 3.0, 4.0, 5.0, 6.0]])[0].item()  # row by row
    0.03125
    """
    from scipy import stats

    rows = np.asarray(differences, np.float64)
    # One by one: scipy chooses between its exact and its approximate test once for all rows that it is given.
    return np.array([stats.wilcoxon(row).pvalue if row.any() else 1.0 for row in rows], np.float64)


def holm(p_values: ArrayLike) -> Values:
    """Return p-values adjusted for their number by the step-down rule of Holm (1979).

    >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted
