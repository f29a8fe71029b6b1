"""How well a reward orders exposures: its rank correlation with the true gains within a state, over states.

Spearman (1904): the correlation of the ranks, equal values sharing the mean of their ranks. Ranks are taken within each
state, so that states in which everything gains more do not count as agreement. Over states: the mean, with a
percentile bootstrap interval that resamples states (Efron, 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from atesd.statistics import mean, stratified_bootstrap


def spearman(gains: Sequence[float], rewards: Sequence[float]) -> float | None:
    """Return the rank correlation of rewards with gains over the exposures of one state.

    None where all gains are equal: there is no order to find. 0 where all rewards are equal but the gains are not: the
    reward finds none of it. ours

    >>> spearman([0.1, 0.2, 0.3], [1.0, 3.0, 2.0])
    0.5
    >>> spearman([0.1, 0.2], [1.0, 1.0]), spearman([0.1, 0.1], [1.0, 2.0])
    (0.0, None)
    """
    from scipy import stats

    if len(set(gains)) == 1:
        return None
    if len(set(rewards)) == 1:
        return 0.0
    ranks = stats.rankdata([gains, rewards], axis=1)
    return round(float(np.corrcoef(ranks)[0, 1]), 12)  # 12 digits: what rounding leaves of whole and half ranks


def gain_lost(gains: Sequence[float], rewards: Sequence[float]) -> float:
    """Return how far the gain of the exposure that is paid best lies below the best gain; equals share the pay. ours

    >>> gain_lost([0.0, 0.25, 0.5], [1.0, 3.0, 2.0]), gain_lost([0.0, 0.5], [1.0, 1.0])
    (0.25, 0.25)
    """
    chosen = [gain for gain, reward in zip(gains, rewards, strict=True) if reward == max(rewards)]
    return max(gains) - float(np.mean(chosen))


def agreement(gains: Sequence[Sequence[float]], rewards: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the mean rank correlation over states, its 95 % interval, the gain lost and the states that count.

    Args:
        gains: [states, exposures], true gains.
        rewards: [states, exposures], what a reward would have paid.

    Neighbouring states of one run are alike, so the interval is, if anything, too narrow. Without a state that counts
    all numbers are None.
    """
    found = [spearman(gain, reward) for gain, reward in zip(gains, rewards, strict=True)]
    counted = [value for value in found if value is not None]
    if not counted:
        return {"mean": None, "low": None, "high": None, "gain_lost": None, "states": 0}
    low, high = stratified_bootstrap([counted], mean)
    ordered = [state for state, value in zip(zip(gains, rewards, strict=True), found, strict=True) if value is not None]
    lost = float(np.mean([gain_lost(*state) for state in ordered]))
    return {"mean": float(np.mean(counted)), "low": low, "high": high, "gain_lost": lost, "states": len(counted)}
