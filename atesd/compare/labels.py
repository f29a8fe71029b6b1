"""Short names for methods: the method, and what was set otherwise in other runs, as in ``fixed exposure=0.5``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

# No setting of a method: where and how a run is recorded, and what it is judged on, which a comparison checks itself.
APART = ("seed", "output_dir", "resume", "tracker.", "checkpoint.", "data.", "eval.")
# Settings that mean something within one method alone.
OWN = ("controller.", "baseline.")

Config = dict[str, Any]


def label_all(runs: Sequence[tuple[str, Config]]) -> list[str]:
    """Return a name for each run, of its method and dotted settings; equal methods share one.

    >>> label_all([("fixed", {"controller.exposure": 0.5}), ("fixed", {"controller.exposure": 1.0}), ("opsd", {})])
    ['fixed exposure=0.5', 'fixed exposure=1.0', 'opsd']
    """
    common = _differing([{k: v for k, v in config.items() if not k.startswith(OWN)} for _, config in runs])
    configs = defaultdict(list)
    for method, config in runs:
        configs[method].append({key: value for key, value in config.items() if key.startswith(OWN)})
    own = {method: _differing(found) for method, found in configs.items()}
    short = _short(common.union(*own.values()))
    return [
        " ".join([method, *(f"{short[k]}={config[k]}" for k in sorted(common | own[method]) if k in config)])
        for method, config in runs
    ]


def _differing(configs: Sequence[Config]) -> set[str]:
    """Return the settings of which there are several values; one that a run lacks is none of its values."""
    seen: dict[str, set[str]] = defaultdict(set)
    for config in configs:
        for key, value in config.items():
            if not key.startswith(APART):
                seen[key].add(repr(value))
    return {key for key, values in seen.items() if len(values) > 1}


def _short(keys: set[str]) -> dict[str, str]:
    """Return the last word of each key, or all of it where two end alike; ``model.name`` is ``model``."""
    last = {key: key.removesuffix(".name").rpartition(".")[2] for key in keys}
    shared = Counter(last.values())
    return {key: word if shared[word] == 1 else key for key, word in last.items()}
