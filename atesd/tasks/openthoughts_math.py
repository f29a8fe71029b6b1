"""OPSD's training set (arXiv 2601.18734): 29,434 problems of OpenThoughts with written-up solutions."""

from __future__ import annotations

from dataclasses import dataclass, field

from atesd.registry import register
from atesd.tasks.collection import CollectionConfig
from atesd.tasks.records import Columns


@register("data", "openthoughts_math")
@dataclass
class OpenThoughtsMathConfig(CollectionConfig):
    """The set as published; the answer is the last box of the solution. It has no test split."""

    hub: str = "siyanzhao/Openthoughts_math_30k_opsd"
    columns: Columns = field(default_factory=lambda: Columns("problem", "solution", ""))
    test_split: str = "train"
