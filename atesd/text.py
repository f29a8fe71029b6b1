"""Cutting text without losing any of it."""

from __future__ import annotations

import re
from itertools import pairwise


def cut_after(pattern: re.Pattern[str], text: str) -> list[str]:
    """Cut after every match of a pattern; the pieces joined are the text.

    >>> cut_after(re.compile(";"), "a;b;c")
    ['a;', 'b;', 'c']
    """
    ends = [match.end() for match in pattern.finditer(text) if 0 < match.end() < len(text)]
    return [text[start:end] for start, end in pairwise([0, *ends, len(text)])]
