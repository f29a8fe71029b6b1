"""Putting a config on the command line, and being refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hydra.core.config_store import ConfigStore

from atesd import registry
from atesd.registry import Config, register


@dataclass
class First(Config):
    size: int = 3


@dataclass
class Second(Config):
    size: int = 4


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_owners", dict(registry._owners))


def test_a_registered_config_is_known_by_its_name_and_carries_it() -> None:
    assert register("test_group", "one")(First) is First
    assert registry.config_of("test_group", "one") is First
    assert registry.names("test_group") == ["one"]
    node = ConfigStore.instance().load("test_group/one.yaml").node
    assert (node.name, node.size) == ("one", 3)


def test_a_taken_name_is_refused_naming_its_first_owner() -> None:
    register("test_group", "taken")(First)
    with pytest.raises(ValueError, match=r"test_group=taken is taken by .*First; register .*Second under another name"):
        register("test_group", "taken")(Second)
    assert registry.config_of("test_group", "taken") is First
    assert ConfigStore.instance().load("test_group/taken.yaml").node.size == 3


def test_a_module_may_be_imported_twice_and_a_class_have_two_names() -> None:
    register("test_group", "twice")(First)
    register("test_group", "twice")(First)
    register("test_group", "alias")(First)
    register("other_group", "twice")(Second)
    assert registry.names("test_group") == ["alias", "twice"]


def test_what_is_no_dataclass_of_ours_is_refused() -> None:
    class Plain:
        pass

    @dataclass
    class Foreign:
        size: int = 1

    class Undecorated(Config):
        size: int = 1

    for config in (Plain, Foreign, Undecorated):
        with pytest.raises(TypeError, match=rf"test_group=bad: {config.__name__} must be a dataclass derived from"):
            register("test_group", "bad")(config)
    assert registry.names("test_group") == []
