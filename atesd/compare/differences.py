"""What runs of one comparison must have in common, and where they do not."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from atesd.budget import Budget
from atesd.compare.checkpoint_rule import Outcome
from atesd.errors import UserError

Difference = dict[str, Any]


def differences(outcomes: Sequence[Outcome], budget: Budget, tolerance: float) -> list[Difference]:
    """Return every difference in task, evaluation set, code and budget: what differs, and which runs have which value.

    Raises:
        UserError: a run did not count the budget.
    """
    compared = {
        "task": [outcome.run.task for outcome in outcomes],
        "evaluation set": [evaluation_set(outcome) for outcome in outcomes],
        "commit": [outcome.run.commit for outcome in outcomes],
    }
    found = [difference(what, values, outcomes) for what, values in compared.items() if len(set(values)) > 1]
    return found + over_budget(outcomes, budget, tolerance)


def evaluation_set(outcome: Outcome) -> str:
    """Return the size of the evaluation set and, where the run kept its verdicts, a hash of its problems."""
    if outcome.right is None:
        return f"{outcome.problems} problems, which not kept"
    digest = hashlib.sha256("\n".join(sorted(outcome.right)).encode()).hexdigest()
    return f"{outcome.problems} problems, {digest[:8]}"


def difference(what: str, values: Sequence[Any], outcomes: Sequence[Outcome]) -> Difference:
    """Return one difference."""
    runs = defaultdict(list)
    for value, outcome in zip(values, outcomes, strict=True):
        runs[value].append(outcome.run.folder)
    return {"what": what, "values": [{"value": value, "runs": folders} for value, folders in runs.items()]}


def over_budget(outcomes: Sequence[Outcome], budget: Budget, tolerance: float) -> list[Difference]:
    """Return the smallest and the largest budget spent where they differ by more than ``tolerance`` of the larger.

    A base model is no method that spent a budget, so it is held to none.
    """
    spent = [(counted(outcome, budget), outcome) for outcome in outcomes if outcome.run.trained]
    if not spent:
        return []
    least, most = (pick(spent, key=lambda each: each[0]) for pick in (min, max))
    if most[0] - least[0] <= tolerance * most[0]:
        return []
    ends = [{"value": value, "runs": [outcome.run.folder]} for value, outcome in (least, most)]
    return [{"what": f"budget {budget.name} (by more than tolerance={tolerance:g})", "values": ends}]


def counted(outcome: Outcome, budget: Budget) -> float:
    """Return what a run spent.

    Raises:
        UserError: it did not count that.
    """
    spent = outcome.run.spent[budget]
    if spent is None:
        raise UserError(
            f"budget={budget.name}: {outcome.run.folder} did not count it ({budget.value} is not in its summary.json); "
            "leave the run out or match another budget"
        )
    return spent


def sentence(found: Sequence[Difference]) -> str:
    """Return the differences in words, with a run for each value."""
    return "; ".join(f"{each['what']}: {', '.join(map(_value, each['values']))}" for each in found)


def _value(value: dict[str, Any]) -> str:
    first, others = value["runs"][0], len(value["runs"]) - 1
    return f"{value['value']} ({first}{f' and {others} more' if others else ''})"
