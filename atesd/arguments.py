"""Settings of the smaller entry points, read from ``key=value`` arguments into a dataclass."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from atesd.errors import UserError

_Settings = TypeVar("_Settings")
INTERRUPTED = 130  # as a shell reports Ctrl-C
HELP = ("--help", "-h")


def settings(schema: type[_Settings], given: DictConfig) -> _Settings:
    """Return the settings that ``given`` makes of a dataclass.

    Raises:
        UserError: a key or value does not fit, or a setting without default is missing.
    """
    if any(key in given for key in HELP):
        print(inspect.cleandoc(schema.__doc__ or ""))
        sys.exit(0)
    known = [each.name for each in fields(schema)]  # type: ignore[arg-type]
    if unknown := [str(key) for key in given if key not in known]:
        raise UserError(f"{unknown[0]} is no setting; settings: {', '.join(known)}; --help says what they mean")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), given)
        if missing := sorted(OmegaConf.missing_keys(merged)):
            raise UserError(f"{missing[0]} is missing; add {missing[0]}=… to the command")
        made = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from error
    assert isinstance(made, schema)
    return made


def dotlist(words: Sequence[str]) -> DictConfig:
    """Return the settings of ``key=value`` words.

    Raises:
        UserError: a value is no YAML.
    """
    for word in words:
        try:
            OmegaConf.from_dotlist([word])
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{word} is not read ({reason}); quote a name that holds brackets or commas") from error
    return OmegaConf.from_dotlist(list(words))


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
    """Return nested settings as one level of dotted keys.

    >>> dotted({"data": {"name": "aime24"}, "seed": 0})
    {'data.name': 'aime24', 'seed': 0}
    """
    if not isinstance(settings, dict):
        return {prefix: settings}
    nested = (dotted(value, f"{prefix}.{name}".strip(".")) for name, value in settings.items())
    return {key: value for level in nested for key, value in level.items()}


def run_main(main: Callable[[], None]) -> None:
    """Run an entry point; what the user got wrong, and Ctrl-C, end it with one line."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        exit_interrupted()


def exit_interrupted() -> NoReturn:
    """End the command as one that Ctrl-C stopped."""
    print("stopped", file=sys.stderr)
    sys.exit(INTERRUPTED)
