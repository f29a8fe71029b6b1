"""Settings of the smaller entry points, read from ``key=value`` arguments into a dataclass."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from atesd.errors import UserError

_Settings = TypeVar("_Settings")


def settings(schema: type[_Settings], given: DictConfig) -> _Settings:
    """Return the settings that ``given`` makes of a dataclass.

    Raises:
        UserError: a key or value does not fit, or a setting without default is missing.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), given)
        if missing := sorted(OmegaConf.missing_keys(merged)):
            raise UserError(f"{missing[0]} is missing; add {missing[0]}=… to the command")
        made = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from error
    assert isinstance(made, schema)
    return made


def flat(text: str) -> dict[str, Any]:
    """Return settings written as YAML as one level of dotted keys.

    >>> flat("seed: 0\\ntrain:\\n  updates: 8")
    {'seed': 0, 'train.updates': 8}
    """
    return dotted(nested(text))


def nested(text: str) -> Any:
    """Return settings written as YAML."""
    # The parser in C: a comparison reads hundreds of these, and OmegaConf's own takes 20 times as long.
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def dotted(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted keys."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    nested = (dotted(value, f"{prefix}.{name}".strip(".")) for name, value in settings.items())
    return {key: value for level in nested for key, value in level.items()}


def run_main(main: Callable[[], None]) -> None:
    """Run an entry point; what the user got wrong ends it with one line and exit code 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
