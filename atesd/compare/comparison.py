"""Methods side by side, from the outcomes of their runs: a row per method, a row per contrast."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from atesd.budget import Budget
from atesd.compare.checkpoint_rule import Outcome
from atesd.compare.pairs import PairedTest, detectable, t_interval, t_p
from atesd.errors import UserError
from atesd.statistics import Values, holm, iqm, mean, probability_of_improvement, rliable_picks, stratified_bootstrap

# The level of the intervals and of Holm's correction.
LEVEL = 0.05
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How outcomes are compared.

    Attributes:
        reference: the method each other one's probability of improvement is over.
        contrasts: pairs of methods, declared before the results were seen.
        resamples: of the bootstrap.
    """

    reference: str
    contrasts: list[tuple[str, str]]
    test: PairedTest
    resamples: int


def by_method(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Group outcomes by method, in the order given, each by task and seed.

    Raises:
        UserError: two runs have one method, task and seed.
    """
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.run.name].append(outcome)
    for name, group in groups.items():
        group.sort(key=lambda outcome: outcome.pair)
        for one, other in pairwise(group):
            if one.pair == other.pair:
                raise UserError(
                    f"{one.run.folder} and {other.run.folder} are both {name} with seed {one.run.seed}; two runs of "
                    "one seed are no two samples, so leave one out"
                )
    return dict(groups)


def method_row(name: str, group: Sequence[Outcome], reference: Sequence[Outcome], resamples: int) -> Row:
    """Return what a method reached over its seeds, in shares of problems, with 95 % intervals."""
    values = np.array([outcome.accuracy for outcome in group])
    low, high = t_interval(values)
    row: Row = {"method": name, "n": len(group), "seeds": [outcome.run.seed for outcome in group]}
    row |= {"mean": float(values.mean()), "sd": _sd(values), "low": low, "high": high}
    row |= _bootstrapped("iqm", by_task(group), iqm, resamples)
    row |= improvement(paired(group, reference), resamples)
    levels = sorted(set.intersection(*(set(outcome.by_difficulty) for outcome in group)))
    return row | {
        "by_difficulty": {level: float(np.mean([each.by_difficulty[level] for each in group])) for level in levels},
        "spent": {budget.name: _mean_spent(group, budget) for budget in Budget},
        "curve": curve(group),
        "runs": [run_row(outcome) for outcome in group],
    }


def run_row(outcome: Outcome) -> Row:
    """Return one run of a method."""
    spent = {budget.name: spent for budget, spent in outcome.run.spent.items()}
    judged = {"update": outcome.update, "accuracy": outcome.accuracy, "problems": outcome.problems}
    return {"run": outcome.run.folder, "seed": outcome.run.seed, "task": outcome.run.task, **judged, "spent": spent}


def _mean_spent(group: Sequence[Outcome], budget: Budget) -> float | None:
    spent = [outcome.run.spent[budget] for outcome in group]
    known = [value for value in spent if value is not None]
    return float(np.mean(known)) if len(known) == len(spent) else None


def _sd(values: Values) -> float | None:
    if len(values) < 2:
        return None
    return float(values.std(ddof=1)) if np.ptp(values) else 0.0  # of equal values numpy's may be 1e-17


def curve(group: Sequence[Outcome]) -> list[Row]:
    """Return mean accuracy with its 95 % interval after every update at which all runs of a method were evaluated."""
    rows = [{row["update"]: row for row in outcome.run.evaluations} for outcome in group]
    points = []
    for update in sorted(set.intersection(*(set(found) for found in rows))):
        values = np.array([found[update]["mean"] for found in rows])
        low, high = t_interval(values)
        problems = rows[0][update]["problems"]
        points.append({"update": update, "mean": float(values.mean()), "low": low, "high": high, "problems": problems})
    return points


def by_task(group: Sequence[Outcome]) -> Values:
    """Return accuracies [tasks, seeds]: the strata of the bootstrap.

    Raises:
        UserError: the tasks have different numbers of seeds.
    """
    counts = Counter(outcome.run.task for outcome in group)
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {task}" for task, count in counts.items())
        raise UserError(f"{group[0].run.name} has runs of several tasks, {told}; give equally many of each")
    return np.array([outcome.accuracy for outcome in group]).reshape(len(counts), -1)


def _bootstrapped(column: str, values: Values, statistic: Any, resamples: int) -> Row:
    bounds = stratified_bootstrap(values, statistic, resamples=resamples, draw=rliable_picks)
    low, high = bounds if values.shape[-1] > 1 else (None, None)  # one run has no interval
    return {column: float(statistic(values.ravel())), f"{column}_low": low, f"{column}_high": high}


def paired(group: Sequence[Outcome], others: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Return the pairs of one task and seed."""
    found = {outcome.pair: outcome for outcome in others}
    return [(outcome, found[outcome.pair]) for outcome in group if outcome.pair in found]


def gains(pairs: Sequence[tuple[Outcome, Outcome]]) -> Values:
    """Return the difference in accuracy of each pair, without the last bits in which equal ones may differ."""
    return np.round([one.accuracy - other.accuracy for one, other in pairs], 12)


def improvement(pairs: Sequence[tuple[Outcome, Outcome]], resamples: int) -> Row:
    """Return the probability of improvement over the paired runs; None without any, and for a method over itself."""
    column = "probability_of_improvement"
    if not pairs or pairs[0][0] is pairs[0][1]:
        return dict.fromkeys((column, f"{column}_low", f"{column}_high", f"{column}_n"))
    found = _bootstrapped(column, gains(pairs)[None], probability_of_improvement, resamples)
    return found | {f"{column}_n": len(pairs)}


def contrast_rows(groups: dict[str, list[Outcome]], plan: Plan) -> list[Row]:
    """Return a row per contrast with at least one pair; p-values corrected for all of them."""
    rows = [contrast_row(one, other, groups, plan) for one, other in plan.contrasts]
    rows = [row for row in rows if row["n"]]
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(corrected)
        row["detectable"] = detectable(row["sd"] or 0.0, row["n"], LEVEL / len(rows), plan.test)
    return rows


def contrast_row(one: str, other: str, groups: dict[str, list[Outcome]], plan: Plan) -> Row:
    """Return how two methods differ, in shares of problems, over the seeds both have."""
    pairs = paired(groups[one], groups[other])
    seeds = [outcome.run.seed for outcome, _ in pairs]
    row: Row = {"contrast": f"{one} - {other}", "a": one, "b": other, "n": len(pairs), "seeds": seeds}
    if not pairs:
        return row
    found = gains(pairs)
    low, high = t_interval(found)
    alone = {outcome.pair for name in (one, other) for outcome in groups[name]} - {each.pair for each, _ in pairs}
    return row | {
        "unpaired_seeds": sorted(seed for _, seed in alone),
        "gains": found.tolist(),
        "mean": float(found.mean()),
        "sd": _sd(found),
        "low": low,
        "high": high,
        "test": plan.test.value,
        "p": plan.test.p_value(found),
        "smallest_p": plan.test.smallest_p(len(pairs)),
        **improvement(pairs, plan.resamples),
        "by_problem": by_problem(pairs),
    }


def by_problem(pairs: Sequence[tuple[Outcome, Outcome]]) -> Row | None:
    """Return the difference paired by problem: these trained students on other problems of the kind.

    Each problem's difference is its mean over the pairs of runs; ``p`` is of the t test over problems, and ``won`` and
    ``lost`` are shares of problems. None where a run kept no verdicts, or no pair was asked a problem in common.
    """
    answers = [(one.right, other.right) for one, other in pairs]
    if any(one is None or other is None for one, other in answers):
        return None
    found: dict[str, list[int]] = defaultdict(list)
    for one, other in answers:
        assert one is not None
        assert other is not None
        for problem in one.keys() & other.keys():
            found[problem].append(one[problem] - other[problem])
    if not found:
        return None
    gained = np.array([sum(found[problem]) / len(found[problem]) for problem in sorted(found)])
    low, high = t_interval(gained)
    shares = {"won": float(mean(gained > 0)), "lost": float(mean(gained < 0))}
    return {"problems": len(gained), "mean": float(gained.mean()), "low": low, "high": high, **shares, "p": t_p(gained)}


def warnings(groups: dict[str, list[Outcome]], rows: Sequence[Row], plan: Plan) -> list[str]:
    """Return what a reader must know before believing the table."""
    found = []
    told = {(row["a"], row["b"]) for row in rows}
    found += [
        f"{one} - {other}: no task and seed in common, so not compared"
        for one, other in plan.contrasts
        if (one, other) not in told
    ]
    found += [
        f"{row['contrast']}: seeds without a partner left out: {row['unpaired_seeds']}"
        for row in rows
        if row["unpaired_seeds"]
    ]
    for name, group in groups.items():
        if name != plan.reference and (count := len(paired(group, groups[plan.reference]))) < len(group):
            found.append(f"P({name} > {plan.reference}) is of the {count} of {len(group)} runs that have a partner")
    found += _too_few(rows, plan.test)
    found += [
        f"{row['contrast']}: all {row['n']} pairs gained the same, of which the t test's p says nothing"
        for row in rows
        if plan.test is PairedTest.t and row["sd"] == 0 and row["mean"]
    ]
    outcomes = [outcome for group in groups.values() for outcome in group]
    if kept_none := sum(outcome.right is None for outcome in outcomes):
        found.append(f"{kept_none} runs kept no verdicts.jsonl: their contrasts are not paired by problem")
    else:
        found += [f"{row['contrast']}: no problem in common" for row in rows if row["by_problem"] is None]
    unsure = sorted({o.run.commit for o in outcomes if o.run.commit.endswith("-dirty") or o.run.commit == "unknown"})
    found += [f"commit {commit}: the source is not known to be the same in all its runs" for commit in unsure]
    return found


def _too_few(rows: Sequence[Row], test: PairedTest) -> list[str]:
    """Warn of contrasts that no difference, however large, could make significant."""
    hopeless: dict[tuple[int, str], list[str]] = defaultdict(list)
    reachable = holm([row["smallest_p"] for row in rows])
    for row, smallest in zip(rows, reachable, strict=True):
        alone = row["smallest_p"] > LEVEL
        if smallest > LEVEL:
            needed = test.fewest_pairs(LEVEL if alone else LEVEL / len(rows))
            why = "" if alone else f" among {len(rows)} contrasts"
            hopeless[row["n"], f"p cannot go under {row['smallest_p']:.2g}, significance{why} needs {needed}"].append(
                row["contrast"]
            )
    return [
        f"too few seeds: {pairs} pairs with test={test.value}: {why} ({', '.join(names)})"
        for (pairs, why), names in hopeless.items()
    ]
