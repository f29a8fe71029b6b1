"""The processes of one run: who am I, how many are we, and the few exchanges a trainer needs."""

from __future__ import annotations

import os
import socket
from typing import Any, TypeVar

import torch
import torch.distributed as dist

_T = TypeVar("_T")


def join() -> Ranks:
    """Join the launcher's process group, or make one of a single process where there is no launcher."""
    import deepspeed

    if not torch.cuda.is_available():
        # Compiles for a minute at first use, and gloo does without it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if "RANK" not in os.environ:
        alone = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
        os.environ |= {name: str(value) for name, value in alone.items()}
    if not dist.is_initialized():
        deepspeed.init_distributed(verbose=False)
    return Ranks(dist.get_rank(), dist.get_world_size())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Ranks:
    """This process among ``size``."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, items: list[_T]) -> list[_T]:
        """Return this rank's contiguous share of ``items``; shares differ by at most one item."""
        return items[len(items) * self.rank // self.size : len(items) * (self.rank + 1) // self.size]

    def gather(self, value: _T) -> list[_T]:
        """Return every rank's value, in the order of ranks, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def agree(self, value: _T) -> _T:
        """Return rank 0's value on every rank."""
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def barrier(self) -> None:
        dist.barrier()
