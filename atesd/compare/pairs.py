"""Tests on paired differences, one per seed, and what so many pairs could have shown at all."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import cache
from itertools import product

import numpy as np

from atesd.statistics import Values

# Up to this many sign flips all are tried: 14 pairs. Beyond, so many are drawn. ours
FLIPS = 2**14
# Of the differences that would be detected, how many are; Cohen's convention.
POWER = 0.8
# Simulated comparisons that the power of the permutation test is counted on: within .018 of it. ours
DRAWS = 2000


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
        # Rounded, for gains are shares of problems: two sums of them that tie may differ in their last bits.
        lambda values, axis: np.round(values.mean(axis=axis), 12),
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
    if not np.ptp(differences):
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

    @property
    def effect(self) -> Callable[[int, float], float]:
        """Return what says how large a mean the test finds, from pairs and level, in standard deviations."""
        return {PairedTest.permutation: sign_flip_effect, PairedTest.t: t_effect}[self]

    def fewest_pairs(self, level: float) -> int:
        """Return how many pairs a p-value of at most ``level`` needs.

        >>> [PairedTest.permutation.fewest_pairs(level) for level in (0.05, 0.01)], PairedTest.t.fewest_pairs(0.01)
        ([6, 8], 2)
        """
        return next(pairs for pairs in range(1, 10_000) if self.smallest_p(pairs) <= level)


def detectable(deviation: float, pairs: int, level: float, test: PairedTest) -> float | None:
    """Return the smallest mean difference that a test finds with power ``POWER``, given the deviation that was seen.

    None where no difference is found at this level, however large, and where no deviation was seen.

    >>> round(detectable(1.0, 10, 0.05, PairedTest.t), 3)
    0.996
    >>> detectable(1.0, 5, 0.05, PairedTest.permutation)
    """
    if test.smallest_p(pairs) > level or not deviation:
        return None
    return deviation * test.effect(pairs, level)


@cache
def t_effect(pairs: int, level: float) -> float:
    """Return the smallest mean that the t test finds, in standard deviations: by the noncentral t squared.

    Cohen (1988), section 2.3.
    """
    from scipy import stats

    critical = stats.t.ppf(1 - level / 2, pairs - 1) ** 2
    return _smallest(lambda effect: float(stats.ncf.sf(critical, 1, pairs - 1, pairs * effect**2)))


@cache
def sign_flip_effect(pairs: int, level: float) -> float:
    """Return the smallest mean that the sign-flip test finds, in standard deviations: by drawn normal differences.

    Beyond 14 pairs it is the t test's, which by then is within a hundredth of it.
    """
    if 2**pairs > FLIPS:
        return t_effect(pairs, level)
    flips_FN = np.array([[1.0, *signs] for signs in product((1.0, -1.0), repeat=pairs - 1)])
    noise_SN = np.random.default_rng(0).standard_normal((DRAWS, pairs))

    def power(effect: float) -> float:
        sums_SF = np.abs((noise_SN + effect) @ flips_FN.T)  # the first flip changes no sign
        return float(np.mean((sums_SF >= sums_SF[:, :1] - 1e-9).mean(1) <= level))

    return _smallest(power)


def _smallest(power: Callable[[float], float]) -> float:
    """Return the smallest effect of enough power, to a thousandth."""
    low, high = 0.0, 1.0
    while power(high) < POWER:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


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
