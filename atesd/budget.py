"""What a run has spent: the five budgets by which methods are compared, each a total in ``summary.json``.

FLOPs are estimated from token counts with N, the student's parameters without embeddings (Kaplan and others, 2020,
arXiv 2001.08361, section 2.1; the teacher has as many):

    a token read or generated   2 N     (forward pass)
    a token trained on          6 N     (forward and backward pass)

Attention's own term, which grows with the context, is left out: by the same section it is a share n / (12 d) of the
forward pass, for n tokens of context and width d. What evaluations cost is no part of any budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

FORWARD, TRAIN = 2, 6
# Phases that serve the record of a run rather than its training. ours
UNCOUNTED = ("load", "evaluation", "specimens", "checkpoint", "logging", "export")


class Budget(Enum):
    """A budget, and its key in the summary."""

    updates = "total/updates"
    tokens_generated = "total/tokens/generated"
    tokens_scored = "total/tokens/scored"
    seconds = "total/seconds"
    flops = "total/flops"


def totals(metrics: Sequence[Mapping[str, Any]], seconds: Mapping[str, float], parameters: int) -> dict[str, float]:
    """Return everything a run has spent, under names that begin with ``total/``.

    Args:
        metrics: a row per student update.
        seconds: wall seconds per phase.
        parameters: of the student, without embeddings; 0 for a student that is no network, which then has no FLOPs.
    """
    counted = [key for key in (metrics[-1] if metrics else {}) if key.startswith(("tokens/", "probe/tokens"))]
    found: dict[str, float] = {"total/updates": len(metrics)}
    found |= {f"total/{key}": sum(row[key] for row in metrics) for key in counted}
    found["total/seconds"] = round(sum(spent for phase, spent in seconds.items() if phase not in UNCOUNTED), 3)
    return found | (flops(found, parameters) if parameters else {})


def flops(spent: Mapping[str, float], parameters: int) -> dict[str, float]:
    """Return the FLOPs of a run and of its parts from its token counts; an absent count is 0.

    Prompts are read once per rollout. Those of generated probe answers are not counted.

    >>> flops({"total/tokens/generated": 10, "total/tokens/scored": 5, "total/tokens/trained": 2}, 100)["total/flops"]
    4200
    """
    parts = {
        "generation": (FORWARD, ("tokens/prompted", "tokens/generated")),
        "scoring": (FORWARD, ("tokens/scored", "tokens/scored_by_student")),
        "training": (TRAIN, ("tokens/trained",)),
        "probe": (FORWARD, ("probe/tokens_scored", "probe/tokens_generated")),
    }
    found = {
        f"total/flops_{part}": factor * parameters * sum(spent.get(f"total/{key}", 0) for key in keys)
        for part, (factor, keys) in parts.items()
    }
    return {"total/flops": sum(found.values()), **found}
