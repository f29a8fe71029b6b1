"""What one update says of each difficulty group: the numbers of the whole batch again, from the group's rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atesd.signals import SignalBatch
from atesd.training.ranks import Ranks

Metrics = dict[str, float | None]
Summarise = Callable[[dict[str, Tensor]], dict[str, float]]


class GroupReadings:
    """Remembers each group's newest numbers, as an update whose batch has no row of a group says nothing of it.

    Attributes:
        newest: by group; empty before the group's first row.
    """

    def __init__(self, groups: int, ranks: Ranks) -> None:
        self.ranks = ranks
        self.newest: list[Metrics] = [{} for _ in range(groups)]

    def of(self, batch: SignalBatch, columns: dict[str, Tensor], summarise: Summarise) -> list[Metrics]:
        """Return the numbers of each group; those of a group without a row are empty.

        Args:
            batch: this rank's rows.
            columns: token columns of the real tokens of all ranks' rows; ``group`` names the group of each.
            summarise: makes numbers of the token columns of some rows.
        """
        if len(self.newest) == 1:  # the group is the batch
            return []
        groups_B = torch.tensor(self._gathered(batch.groups))
        rows = {
            name: torch.tensor(self._gathered(row), dtype=torch.float64)
            for name, row in sorted(batch.row_metrics.items())
        }
        found: list[Metrics] = []
        for group in range(len(self.newest)):
            mine_B = groups_B == group
            mine_N = columns["group"] == group
            found.append({"rows": int(mine_B.sum())})
            if mine_B.any():
                found[group] |= {name: float(row_B[mine_B].mean()) for name, row_B in rows.items()}
                found[group] |= summarise({name: column[mine_N] for name, column in columns.items()})
                self.newest[group] = found[group]
        return found

    def _gathered(self, row: Sequence[float]) -> list[float]:
        return [value for share in self.ranks.gather(row) for value in share]
