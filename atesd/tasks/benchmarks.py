"""Evaluation sets, under the names the paper's community uses on the hub; a local copy goes in ``data.path``."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.errors import UserError
from atesd.registry import register
from atesd.tasks.collection import Collection, CollectionConfig


@dataclass
class BenchmarkConfig(CollectionConfig):
    """Problems to evaluate on; there is nothing to train on."""

    test_split: str = "train"  # the only split most of them have

    def build(self, seed: int) -> Collection:
        raise UserError(
            f"data={self.name} is an evaluation set, to be asked by python -m atesd.evaluate; train on gsm8k, math, "
            "openthoughts_math, gsm_symbolic or jsonl"
        )


@register("data", "aime24")
@dataclass
class Aime24Config(BenchmarkConfig):
    """30 problems of AIME 2024."""

    hub: str = "HuggingFaceH4/aime_2024"


@register("data", "aime25")
@dataclass
class Aime25Config(BenchmarkConfig):
    """30 problems of AIME 2025."""

    hub: str = "yentinglin/aime_2025"


@register("data", "hmmt25")
@dataclass
class Hmmt25Config(BenchmarkConfig):
    """30 problems of HMMT February 2025."""

    hub: str = "MathArena/hmmt_feb_2025"


@register("data", "math500")
@dataclass
class Math500Config(BenchmarkConfig):
    """500 problems of MATH's test split."""

    hub: str = "HuggingFaceH4/MATH-500"
    test_split: str = "test"
