"""Problems from a file of one's own: JSON Lines, CSV or parquet."""

from __future__ import annotations

from dataclasses import dataclass

from atesd.registry import register
from atesd.tasks.collection import CollectionConfig


@register("data", "jsonl")
@dataclass
class JsonlConfig(CollectionConfig):
    """A file; ``.csv`` and ``.parquet`` say what they are, anything else is JSON Lines."""

    path: str = "???"
