"""The divergences a distillation loss can be."""

from __future__ import annotations

from enum import Enum


class Divergence(Enum):
    """Between teacher and student, per token over the full vocabulary."""

    forward_kl = "forward_kl"
    reverse_kl = "reverse_kl"
    jsd = "jsd"
