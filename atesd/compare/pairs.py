"""Tests on paired differences, one per seed, and what so many pairs could have shown at all."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import numpy as np

from atesd.statistics import Values

# Up to this many sign flips all are tried: 14 pairs. Beyond, so many are drawn. ours
FLIPS = 2**14


def sign_flip_p(differences: Values) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of the mean; exact up to 14 differences.

    Its hypothesis is that each difference might as well have had the other sign (Fisher, 1935, section 21).

    >>> import numpy as np
    >>> sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    0.0625
    """
    from scipy import stats

    if len(differences) < 2:
        return 1.0
    found = stats.permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        rng=0,
    )
    return float(found.pvalue)


def t_p(differences: Values) -> float:
    """Return the two-sided p-value of the paired t test; 1 where no difference is seen or only one pair is.

    >>> import numpy as np
    >>> round(t_p(np.array([1.0, 2.0, 3.0])), 6)
    0.07418
    """
    from scipy import stats

    if len(differences) < 2 or not differences.any():
        return 1.0
    if not differences.std():
        return 0.0  # the same difference every time: t has no bound
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


class PairedTest(Enum):
    """How a contrast is tested."""

    permutation = "permutation"
    t = "t"

    @property
    def p_value(self) -> Callable[[Values], float]:
        """Return the test: paired differences to a two-sided p-value."""
        return {PairedTest.permutation: sign_flip_p, PairedTest.t: t_p}[self]

    def smallest_p(self, pairs: int) -> float:
        """Return the smallest p-value that so many pairs can have.

        >>> PairedTest.permutation.smallest_p(5), PairedTest.t.smallest_p(1)
        (0.0625, 1.0)
        """
        smallest = {PairedTest.permutation: 2.0 ** (1 - pairs), PairedTest.t: 0.0 if pairs > 1 else 1.0}[self]
        return min(1.0, smallest)

    def fewest_pairs(self, level: float) -> int:
        """Return how many pairs a p-value of at most ``level`` needs.

        >>> [PairedTest.permutation.fewest_pairs(level) for level in (0.05, 0.01)], PairedTest.t.fewest_pairs(0.01)
        ([6, 8], 2)
        """
        return next(pairs for pairs in range(1, 10_000) if self.smallest_p(pairs) <= level)


def detectable(deviation: float, pairs: int, level: float, power: float = 0.8) -> float | None:
    """Return the smallest mean difference that a two-sided paired t test finds with this power; None below two pairs.

    By the noncentral distribution of t squared (Cohen, 1988, section 2.3), with the deviation that was seen.

    >>> round(detectable(1.0, 10, 0.05), 3)
    0.996
    """
    from scipy import optimize, stats

    if pairs < 2:
        return None
    critical = stats.t.ppf(1 - level / 2, pairs - 1) ** 2

    def missing(effect: float) -> float:
        return float(stats.ncf.sf(critical, 1, pairs - 1, pairs * effect**2)) - power

    upper = 1.0
    while missing(upper) < 0:
        upper *= 2
    return deviation * float(optimize.brentq(missing, 0.0, upper))


def t_interval(values: Values, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Return Student's interval of a mean; one value has none.

    >>> import numpy as np
    >>> [round(bound, 3) for bound in t_interval(np.array([1.0, 2.0, 3.0]))]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None, None
    means, halves = t_spread(values, confidence)
    return float(means - halves), float(means + halves)


def t_spread(values: Values, confidence: float = 0.95) -> tuple[Values, Values]:
    """Return the mean over the first axis and half the width of Student's interval; of one value that is nan."""
    from scipy.special import stdtrit  # of scipy.stats.t, without a distribution object per call

    count = len(values)
    if count < 2:
        return values.mean(axis=0), np.full(values.shape[1:], np.nan)
    quantile = stdtrit(count - 1, (1 + confidence) / 2)
    return values.mean(axis=0), quantile * (values.std(axis=0, ddof=1) / np.sqrt(count))
