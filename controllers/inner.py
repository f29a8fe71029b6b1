"""Build a controller that another one plays through."""

from __future__ import annotations

from atesd.errors import UserError
from atesd.interfaces import Controller, ControllerConfig, Setting
from atesd.registry import config_of, names


def inner_controller(key: str, name: str, setting: Setting) -> Controller:
    """Return the controller registered as ``name``, with its default settings.

    Raises:
        UserError: no such controller; names the setting ``key`` and the controllers there are.
    """
    if name not in names("controller"):
        raise UserError(f"{key}={name} is no controller; allowed are {', '.join(names('controller'))}")
    config: ControllerConfig = config_of("controller", name)(name=name)
    return config.build(setting)
