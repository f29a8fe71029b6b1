"""A league's rows turned into a table, and the alarm that tells when the league itself is broken."""

from __future__ import annotations

from typing import Any

import numpy as np

from atesd.league.rounds import Entry
from atesd.statistics import (
    Values,
    holm,
    iqm,
    mean,
    paired_p_values,
    probability_of_improvement,
    stratified_bootstrap,
)
from atesd.surrogate.law import NULL

Rows = list[dict[str, Any]]
REFERENCE = "fixed"
NOMINAL = 0.05
# The alarm's trials, the problems of one exam, and the odds of an alarm in a sound league. ours
TRIALS, EXAM_PROBLEMS, FALSE_ALARM = 1000, 300, 0.001


def table(rows: Rows, entries: list[Entry]) -> Rows:
    """Return one row per noise and controller, over all families but ``null``.

    ``regret`` and ``regret_optimum`` are interquartile means in points with their intervals; ``gain`` is the mean
    difference in points to fixed 0.5 and ``twin_gain`` that to the own twin that does not learn, with the probability
    of improvement and the p-value of a paired test, corrected within its noise and column.
    """
    return [row for noise in sorted({row["noise"] for row in rows}) for row in _at_noise(rows, entries, noise)]


def _at_noise(rows: Rows, entries: list[Entry], noise: float) -> Rows:
    final = {each.name: matrix(rows, each.name, noise, "final") for each in entries}
    learning = {each.twin_of: each.name for each in entries if each.twin_of}
    standings = {
        each.name: {"noise": noise, "controller": each.name}
        | interval("regret", matrix(rows, each.name, noise, "regret"), iqm)
        | interval("regret_optimum", matrix(rows, each.name, noise, "regret_optimum"), iqm)
        for each in entries
    }
    against(standings, "gain", {n: final[n] - final[REFERENCE] for n in final if n != REFERENCE})
    against(standings, "twin_gain", {name: final[name] - final[twin] for name, twin in learning.items()})
    return sorted(standings.values(), key=lambda row: row["regret"])


def against(standings: dict[str, dict[str, Any]], column: str, differences: dict[str, Values]) -> None:
    """Add how each controller compares: mean difference, probability of improvement, corrected p-value."""
    p_values = paired_p_values([values.ravel() for values in differences.values()]) if differences else np.ones(0)
    for (name, values), p, corrected in zip(differences.items(), p_values, holm(p_values), strict=True):
        standings[name] |= interval(column, values, mean)
        standings[name] |= interval(f"{column}_probability", values, probability_of_improvement)
        standings[name] |= {f"{column}_p": float(p), f"{column}_p_holm": float(corrected)}


def interval(column: str, values: Values, statistic: Any) -> dict[str, Any]:
    """Return a statistic of values [families, seeds] with its 95 % interval, under names that begin with ``column``."""
    low, high = stratified_bootstrap(values, statistic)
    return {column: float(statistic(values.ravel())), f"{column}_low": low, f"{column}_high": high}


def matrix(rows: Rows, controller: str, noise: float, column: str) -> Values:
    """Return a column of one controller at one noise [families, seeds]; ``null`` counts only where it is alone."""
    mine = [row for row in rows if row["controller"] == controller and row["noise"] == noise]
    families = sorted({row["family"] for row in mine} - {NULL}) or [NULL]
    return np.array([[row[column] for row in mine if row["family"] == each] for each in families])


def alarm(rows: Rows) -> dict[str, Any]:
    """Return whether the league finds differences where exposure has no effect, from the rows of the null family.

    Each controller's students sit exams of ``EXAM_PROBLEMS`` problems, fresh ones in each of at least ``TRIALS``
    trials, and so do those of fixed 0.5; a trial is the paired test between them at ``NOMINAL``. A sound test is
    positive in 5 % of trials, and so in more than 5 % of them in half of all leagues: ``reason`` is set where the share
    is above 5 % by more than chance explains (one-sided binomial test at ``FALSE_ALARM``), or where competences differ
    at all.
    """
    from scipy import stats

    null = [row for row in rows if row["family"] == NULL]
    pairs = _null_pairs(null)
    if not pairs:
        return {"trials": 0, "positives": 0, "rate": None, "reason": None}
    rounds = -(-TRIALS // len(pairs))
    differences = [
        exam(mine, (number, pair, 0)) - exam(reference, (number, pair, 1))
        for number in range(rounds)
        for pair, (mine, reference) in enumerate(pairs)
    ]
    positives = int((paired_p_values(differences) <= NOMINAL).sum())
    reason = None
    if stats.binomtest(positives, len(differences), NOMINAL, "greater").pvalue < FALSE_ALARM:
        reason = f"{positives} of {len(differences)} comparisons without a difference are significant at 5 %"
    unequal = max(float(np.abs(mine - reference).max()) for mine, reference in pairs)
    if unequal > 1e-9:
        reason = f"students whom exposure cannot affect end up to {100 * unequal:.3g} points apart; {positives} of "
        reason += f"{len(differences)} comparisons are significant at 5 %"
    return {
        "trials": len(differences),
        "positives": positives,
        "rate": positives / len(differences),
        "reason": reason,
    }


def exam(competence: Values, key: tuple[int, ...]) -> Values:
    """Return accuracies on ``EXAM_PROBLEMS`` problems drawn by the key, by the normal law, which has no ties."""
    luck = np.random.default_rng([7, *key]).standard_normal(len(competence))
    return np.asarray(competence + luck * np.sqrt(competence * (1 - competence) / EXAM_PROBLEMS))


def _null_pairs(null: Rows) -> list[tuple[Values, Values]]:
    series: dict[tuple[float, str], list[float]] = {}
    for row in null:
        series.setdefault((row["noise"], row["controller"]), []).append(row["final"] / 100)
    return [
        (np.array(values), np.array(series[noise, REFERENCE]))
        for (noise, name), values in series.items()
        if name != REFERENCE
    ]
