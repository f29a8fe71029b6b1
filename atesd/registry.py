"""Put a config dataclass on the command line: ``@register("controller", "fixed")`` makes ``controller=fixed`` work.

The config owns its defaults, its range checks (``__post_init__``) and ``build``, which returns the object. There is
no second table from names to classes: Hydra's ConfigStore holds the config, and the config builds the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from hydra.core.config_store import ConfigStore

_owners: dict[tuple[str, str], type] = {}
_ConfigType = TypeVar("_ConfigType", bound=type)


@dataclass
class Config:
    """Base of every registered config.

    Attributes:
        name: filled by ``register``.
        brings: values of other settings that come with this choice, such as ``{"teacher": {"kind": "ema"}}``. They
            replace the defaults, so the run's ``config.yaml`` shows them; what the user sets wins over both.
    """

    name: str = ""
    brings: ClassVar[dict[str, Any]] = {}

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Return the object these settings describe."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it builds")


def register(group: str, name: str) -> Callable[[_ConfigType], _ConfigType]:
    """Return a decorator that makes a config dataclass available as ``group=name``.

    Raises:
        TypeError: the class is not a dataclass derived from ``Config``.
        ValueError: the name is taken; the message names its first owner.
    """

    def decorate(config: _ConfigType) -> _ConfigType:
        # A subclass without the decorator passes for a dataclass but has none of its own fields.
        if "__dataclass_params__" not in vars(config) or not issubclass(config, Config):
            raise TypeError(f"{group}={name}: {config.__name__} must be a dataclass derived from atesd.registry.Config")
        owner = _owners.setdefault((group, name), config)
        if (owner.__module__, owner.__qualname__) != (config.__module__, config.__qualname__):
            raise ValueError(
                f"{group}={name} is taken by {owner.__module__}.{owner.__qualname__}; "
                f"register {config.__module__}.{config.__qualname__} under another name"
            )
        node = config(name=name)
        if node.brings:
            ConfigStore.instance().store(name, {group: node, **node.brings}, group, package="_global_")
        else:
            ConfigStore.instance().store(name, node, group)
        return config

    return decorate


def names(group: str) -> list[str]:
    """Return the registered names of a group, sorted."""
    return sorted(name for owner_group, name in _owners if owner_group == group)


def config_of(group: str, name: str) -> type:
    """Return the config class registered as ``group=name``."""
    return _owners[group, name]
