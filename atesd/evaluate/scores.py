"""What n samples per problem say: Average@n, pass@k, majority@n, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from atesd.evaluate.samples import Sample
from atesd.statistics import mean, stratified_bootstrap
from atesd.tasks.problem import Problem
from atesd.verify import Grade, Pair

Compare = Callable[[Sequence[Pair]], list[Grade]]


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the chance that one of k samples is right, without bias from ``right`` of ``samples``.

    Chen and others (2021, arXiv 2107.03374, equation 1): 1 - C(n - c, k) / C(n, k).

    >>> pass_at_k(4, 1, 2), pass_at_k(4, 0, 4), pass_at_k(4, 3, 2)
    (0.5, 0.0, 1.0)
    """
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def sizes(samples: int) -> list[int]:
    """Return the k of pass@k: powers of two, and all samples.

    >>> sizes(12)
    [1, 2, 4, 8, 12]
    """
    return sorted({2**power for power in range(samples.bit_length()) if 2**power <= samples} | {samples})


def majority(samples: Sequence[Sample], compare: Compare) -> float:
    """Return whether the most frequent answer is right; among answers equally frequent, the chance of a fair pick.

    Samples without an answer do not vote.
    """
    right = sum(sample.right for sample in samples)
    wrong = [sample for sample in samples if sample.answer is not None and not sample.right]
    if not right or right > len(wrong):
        return float(right > 0)
    votes = _votes(wrong, compare)
    most = max(votes)
    return 0.0 if right < most else 1 / (1 + votes.count(most)) if right == most else 1.0


def _votes(wrong: Sequence[Sample], compare: Compare) -> list[int]:
    """Return how often each wrong answer was given; equal answers, however written, are one."""
    counts: dict[str, int] = {}
    for sample in wrong:
        assert sample.answer is not None
        counts[sample.answer] = counts.get(sample.answer, 0) + 1
    # What could not be compared with the right answer in its time is not compared again.
    answers = list(dict.fromkeys(s.answer for s in wrong if s.answer is not None and s.grade == Grade.wrong.value))
    pairs = list(combinations(answers, 2))
    merged = {answer: answer for answer in counts}
    for (first, second), grade in zip(pairs, compare(pairs), strict=True):
        if grade is Grade.right and merged[second] == second:
            merged[second] = merged[first]
    return [sum(counts[a] for a in counts if merged[a] == first) for first in dict.fromkeys(merged.values())]


def problem_row(problem: Problem, samples: Sequence[Sample], compare: Compare) -> dict[str, Any]:
    """Return one problem's row of the table."""
    right = sum(sample.right for sample in samples)
    return {
        "id": problem.id,
        "answer": problem.answer,
        "samples": len(samples),
        "right": right,
        "average": right / len(samples),
        "majority": majority(samples, compare),
        **{f"pass_at_{k}": pass_at_k(len(samples), right, k) for k in sizes(len(samples))},
        "finished": sum(sample.finished for sample in samples),
        "tokens": sum(sample.tokens for sample in samples),
    }


def summary(rows: Sequence[dict[str, Any]], right: Sequence[Sequence[bool]]) -> dict[str, Any]:
    """Return the scores over all problems, each with 95 % percentile bootstrap intervals.

    Over ``problems``: other problems like these; over ``samples``: the same problems, asked again. Resampling samples
    would bias pass@k and majority, so they have the first alone. All right or all wrong has intervals without width.

    Args:
        rows: of ``problem_row``.
        right: [P problems, N samples].
    """
    n = rows[0]["samples"]

    def over_problems(column: str) -> tuple[float, tuple[float, float]]:
        values = [row[column] for row in rows]
        return float(mean(values)), stratified_bootstrap([values], mean)

    passes = {str(k): over_problems(f"pass_at_{k}") for k in sizes(n)}
    most, most_interval = over_problems("majority")
    average, average_interval = over_problems("average")
    return {
        "average_at_n": average,
        "pass_at_k": {k: value for k, (value, _) in passes.items()},
        "majority_at_n": most,
        "n": n,
        "intervals": {
            "average_at_n": {"problems": average_interval, "samples": stratified_bootstrap(right, mean)},
            "pass_at_k": {k: {"problems": interval} for k, (_, interval) in passes.items()},
            "majority_at_n": {"problems": most_interval},
        },
        "finished": sum(row["finished"] for row in rows) / (n * len(rows)),
        "tokens": sum(row["tokens"] for row in rows),
        "problems": list(rows),
    }
