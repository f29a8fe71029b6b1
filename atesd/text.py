"""Cutting text without losing any of it."""

from __future__ import annotations

import re
from itertools import pairwise

_LINE_END = re.compile(r"\n\s*")


def cut_after(pattern: re.Pattern[str], text: str) -> list[str]:
    """Cut after every match of a pattern; the pieces joined are the text.

    >>> cut_after(re.compile(";"), "a;b;c")
    ['a;', 'b;', 'c']
    """
    ends = [match.end() for match in pattern.finditer(text) if 0 < match.end() < len(text)]
    return [text[start:end] for start, end in pairwise([0, *ends, len(text)])]


def cut_lines(text: str) -> list[str]:
    """Cut after every line; blank lines stay with the line before them.

    >>> cut_lines("a\\n\\nb\\n")
    ['a\\n\\n', 'b\\n']
    """
    return cut_after(_LINE_END, text)
