"""GSM8K (Cobbe and others 2021, arXiv 2110.14168): grade-school word problems with worked steps, one a line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from atesd.registry import register
from atesd.tasks.collection import CollectionConfig
from atesd.tasks.records import Columns

_CALCULATOR = re.compile(r"<<[^<>]*>>")


@register("data", "gsm8k")
@dataclass
class Gsm8kConfig(CollectionConfig):
    """GSM8K; its marks for a calculator tool, ``<<48/2=24>>``, are no part of the text and are taken out."""

    hub: str = "openai/gsm8k"
    subset: str = "main"
    columns: Columns = field(default_factory=lambda: Columns("question", "answer", ""))
    answer_marker: str = "####"

    def clean(self, reference: str) -> str:
        """Return a reference without calculator marks.

        >>> Gsm8kConfig().clean("48/2 = <<48/2=24>>24 clips")
        '48/2 = 24 clips'
        """
        return _CALCULATOR.sub("", reference)
