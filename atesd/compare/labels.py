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

    What a method alone has is named where its runs differ in it. A setting of all methods is named where it is not the
    one that most of the compared methods have.

    >>> label_all([("fixed", {"controller.exposure": 0.5}), ("fixed", {"controller.exposure": 1.0}), ("opsd", {})])
    ['fixed exposure=0.5', 'fixed exposure=1.0', 'opsd']
    >>> label_all([("opsd", {"train.rate": 1}), ("sft", {"train.rate": 1}), ("grpo", {"train.rate": 2})])
    ['opsd', 'sft', 'grpo rate=2']
    """
    shared = [{k: v for k, v in config.items() if not k.startswith(OWN)} for _, config in runs]
    common = _differing(shared)
    configs = defaultdict(list)
    for method, config in runs:
        configs[method].append({key: value for key, value in config.items() if key.startswith(OWN)})
    own = {method: _differing(found) for method, found in configs.items()}
    short = _short(common.union(*own.values()))
    usual = _usual(common, [(method, config) for (method, _), config in zip(runs, shared, strict=True)])
    return [
        " ".join(
            [method, *(f"{short[k]}={config[k]}" for k in sorted(common | own[method]) if _told(k, config, usual))]
        )
        for method, config in runs
    ]


def _told(key: str, config: Config, usual: Config) -> bool:
    return key in config and not (key in usual and config[key] == usual[key])


def _usual(keys: set[str], runs: Sequence[tuple[str, Config]]) -> Config:
    """Return each setting's value in most methods, however many seeds these have; nothing where two are as frequent."""
    methods = {repr((method, [(key, config.get(key)) for key in sorted(keys)])): config for method, config in runs}
    usual = {}
    for key in keys:
        values = {repr(config[key]): config[key] for config in methods.values() if key in config}
        counted = Counter(repr(config[key]) for config in methods.values() if key in config).most_common(2)
        if counted[0][1] > counted[1][1]:
            usual[key] = values[counted[0][0]]
    return usual


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
