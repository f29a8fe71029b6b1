"""Who may import whom: a walk over every import in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HOUSE = ("atesd", "controllers", "envs", "baselines", "configs")
ENGINES = {
    "torch",
    "transformers",
    "deepspeed",
    "tokenizers",
    "safetensors",
    "vllm",
    "stable_baselines3",
    "sb3_contrib",
}
# Entry points: they compose the parts, so they alone may know controllers, environments and baselines.
COMPOSERS = {
    "atesd.run",
    "atesd.league.__main__",
    "atesd.oracle.__main__",
    "atesd.compare.__main__",
    "atesd.evaluate.__main__",
    "atesd.exposure_sweep",
    "atesd.calibrate.__main__",
    "atesd.dry_run",
}
# Modules that may import an engine at the top: everything else does so inside functions, and so starts at once.
ENGINE_ROOMS = (
    "atesd.training",
    "atesd.losses",
    "atesd.pretrain",
    "controllers.sb3_learner",
    "controllers.sb3_practice",
)
# Settings that the command line imports must not load an engine even though they lie in an engine room.
ENGINE_FREE = (
    "atesd.training",
    "atesd.training.adapter",
    "atesd.training.engine",
    "atesd.training.rollout",
    "atesd.training.surrogate_trainer",
)


@dataclass(frozen=True)
class Import:
    """One import: where, of what, and whether it runs when the module is imported."""

    module: str
    target: str
    at_import: bool

    @property
    def package(self) -> str:
        return self.target.partition(".")[0]


def imports(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Yield every import of a module's source; those for type checkers alone never run."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            children: list[ast.AST] = list(node.orelse)
        else:
            children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: None if is_package else -1]
            parent = ".".join(base[: len(base) - node.level + 1]) if node.level else ""
            stem = ".".join(filter(None, [parent, node.module or ""]))
            yield Import(module, stem, at_import)
            yield from (Import(module, f"{stem}.{alias.name}", at_import) for alias in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in children:
            yield from visit(child, at_import and not inside)

    return visit(ast.parse(source), True)


def modules() -> dict[str, Path]:
    paths = [path for package in HOUSE for path in sorted((ROOT / package).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return dict(zip(names, paths, strict=True))


def all_imports() -> list[Import]:
    return [
        found
        for module, path in modules().items()
        for found in imports(path.read_text(), module, path.name == "__init__.py")
    ]


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def wrong(arrow: Import) -> bool:
    """Return whether the house forbids an import from one of its packages to another."""
    owner = arrow.module.partition(".")[0]
    if arrow.package not in HOUSE or arrow.package == owner:
        return False
    if owner == "atesd":
        return arrow.module not in COMPOSERS
    return arrow.package != "atesd" or arrow.target in COMPOSERS


def loud(arrow: Import) -> bool:
    """Return whether importing a module that should be light loads an engine."""
    light = arrow.module in ENGINE_FREE or not within(arrow.module, ENGINE_ROOMS)
    settings = arrow.target == "atesd.training" or within(arrow.target, ENGINE_FREE[1:])
    engine = arrow.package in ENGINES or (within(arrow.target, ENGINE_ROOMS) and not settings)
    return light and engine and arrow.at_import


def listed(found: Iterable[Import]) -> list[str]:
    return [f"{arrow.module} -> {arrow.target}" for arrow in found]


def test_the_walk_sees_the_house() -> None:
    assert {"atesd.run", "atesd.training.sequences", "controllers.fixed", "envs", "baselines.grpo"} <= set(modules())
    assert len(all_imports()) > 200


def test_nobody_imports_against_the_arrows() -> None:
    assert listed(filter(wrong, all_imports())) == []


def test_engines_are_loaded_in_the_engine_rooms_or_inside_functions() -> None:
    assert listed(filter(loud, all_imports())) == []


def test_no_leaf_imports_an_entry_point() -> None:
    entries = COMPOSERS | {"atesd.pretrain"}
    assert listed(a for a in all_imports() if a.target in entries and a.module not in entries) == []


@pytest.mark.parametrize(
    ("module", "source", "refused"),
    [
        ("controllers.new", "import envs.exposure_env", True),
        ("controllers.new", "from baselines import opsd", True),
        ("controllers.new", "def f():\n    from envs import exposure_env", True),
        ("controllers.new", "from controllers.fixed import Fixed\nfrom atesd.interfaces import Action", False),
        ("controllers.new", "from atesd import run", True),
        ("envs.new", "from controllers.fixed import Fixed", True),
        ("baselines.new", "import controllers", True),
        ("baselines.new", "from .opsd import OpsdConfig", False),
        ("atesd.new", "from controllers.fixed import Fixed", True),
        ("atesd.run", "from controllers.fixed import Fixed", False),
        ("atesd.new", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import controllers", False),
    ],
)
def test_the_arrows_check_can_fail(module: str, source: str, refused: bool) -> None:
    assert any(map(wrong, imports(source, module))) is refused


@pytest.mark.parametrize(
    ("module", "source", "refused"),
    [
        ("atesd.new", "import torch", True),
        ("atesd.new", "from torch.nn import functional", True),
        ("atesd.new", "def f():\n    import torch", False),
        ("atesd.new", "class C:\n    import torch", True),
        ("atesd.new", "try:\n    import torch\nexcept ImportError:\n    pass", True),
        ("atesd.new", "from atesd import losses", True),
        ("atesd.new", "from atesd.training.sequences import collate", True),
        ("atesd.new", "from atesd.training.rollout import Rollout", False),
        ("atesd.training.new", "import torch\nimport atesd.losses", False),
        ("atesd.training.engine", "import torch", True),
        ("controllers.new", "import torch", True),
        ("controllers.new", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
        (
            "controllers.new",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import torch",
            True,
        ),
    ],
)
def test_the_engine_check_can_fail(module: str, source: str, refused: bool) -> None:
    assert any(map(loud, imports(source, module))) is refused
