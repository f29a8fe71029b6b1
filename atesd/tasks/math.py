"""MATH (Hendrycks and others 2021, arXiv 2103.03874): contest problems with solutions that end in a box."""

from __future__ import annotations

from dataclasses import dataclass, field

from atesd.registry import register
from atesd.tasks.collection import CollectionConfig
from atesd.tasks.records import Columns


@register("data", "math")
@dataclass
class MathConfig(CollectionConfig):
    """MATH's own training and test splits."""

    hub: str = "DigitalLearningGmbH/MATH-lighteval"
    columns: Columns = field(default_factory=lambda: Columns("problem", "solution", ""))
    step_pattern: str = r"(?<=[.!?])\s+|\n+"  # its solutions are paragraphs. ours
