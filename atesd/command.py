"""The command line of an entry point made of named parts: compose its settings with Hydra, check them, run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from atesd.arguments import exit_interrupted
from atesd.errors import UserError
from atesd.registry import names


def not_given(missing: MissingMandatoryValue) -> str:
    """Return what to say of a setting that has no default and is not given."""
    key = str(missing.full_key)
    choices = f", one of {', '.join(names(key))}," if names(key) else ""
    return f"{key} must be given and has no default; add {key}=…{choices} to the command"


def command(config_name: str, run: Callable[[Any, dict[str, Any]], None]) -> None:
    """Run an entry point on its checked settings and on the same as plain data.

    What the user got wrong ends it with one line and exit code 1.
    """

    def composed(settings: DictConfig) -> None:
        try:
            plain = OmegaConf.to_container(settings, resolve=True, enum_to_str=True)
            assert isinstance(plain, dict)
            run(OmegaConf.to_object(settings), {str(key): value for key, value in plain.items()})
        except UserError as error:
            sys.exit(f"error: {error}")
        except MissingMandatoryValue as missing:
            sys.exit(f"error: {not_given(missing)}")

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra hands its errors on instead of printing half of them
    try:
        hydra.main(config_path="pkg://configs", config_name=config_name, version_base="1.3")(composed)()
    except (HydraException, OmegaConfBaseException) as error:
        words = f"{error} {error.__cause__ or ''}".split()
        sys.exit(f"error: {' '.join(words)}; --help lists every setting")
    except KeyboardInterrupt:
        exit_interrupted()
