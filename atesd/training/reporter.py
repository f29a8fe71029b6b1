"""What an update did, as metrics and as readings: its token columns, its counts and its probes, over all ranks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from atesd.interfaces import Reading, StudentDiverged
from atesd.rewards import ProgressSignal
from atesd.signals import Signal, SignalBatch
from atesd.training.collector import Collector
from atesd.training.group_readings import GroupReadings, Metrics
from atesd.training.probe import Probes
from atesd.training.rollout import Rollout

# Keeps the loss of rows that no weight falls on at 0.
TINY = 1e-12


def finite(what: str, value: float, update: int) -> float:
    """Return the value.

    Raises:
        StudentDiverged: it is not finite; names the student update, counted from 1.
    """
    if not math.isfinite(value):
        raise StudentDiverged(
            f"student update {update}: the {what} is {value}; start a new run with a lower train.learning_rate or "
            "train.max_grad_norm"
        )
    return value


class Reporter:
    """Reports each update of one student.

    Attributes:
        groups: the newest numbers of each difficulty group; all there is to resume.
    """

    def __init__(self, signal: Signal, collector: Collector, rollout: Rollout, probes: Probes) -> None:
        self.signal = signal
        self.collector = collector
        self.ranks = collector.ranks
        self.rollout = rollout
        self.probes = probes
        self.groups = GroupReadings(len(probes.groups), self.ranks)

    def report(
        self, batch: SignalBatch, loss: float, grad_norm: float, columns: list[dict[str, Tensor]]
    ) -> tuple[Reading, Metrics]:
        """Report on this rank's rows of a batch; every rank must call.

        Args:
            batch: this rank's rows.
            loss: over all ranks.
            grad_norm: over all ranks.
            columns: token columns of each of this rank's micro-batches.
        """
        merged = self._merge(columns)
        metrics: Metrics = {
            **self._summarise(merged),
            "loss/optimised": loss,
            "student/grad_norm": grad_norm,
            **self._counts(batch),
            **self._mean_over_ranks(batch.metrics),
        }
        if (gap := self.rollout.take_gap()) is not None:
            metrics["rollout/logprob_gap"] = max(self.ranks.gather(gap))
        with self.collector.stopwatch.phase("probe"):
            probed, *probed_by_group = self.probes.measure()
        metrics = self._with_progress(metrics | probed)
        readings = []
        for group, found in enumerate(self.groups.of(batch, merged, self._summarise)):
            newest = (self.groups.newest[group] or metrics) | probed_by_group[group]
            readings.append(self._reading(self._with_progress(newest)))
            metrics |= {f"group_{group}/{key}": value for key, value in (found | probed_by_group[group]).items()}
        return self._reading(metrics, tuple(readings)), metrics

    def _merge(self, columns: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        local = {name: torch.cat([part[name] for part in columns]) for name in columns[0]}
        shares = self.ranks.gather(local)
        return {name: torch.cat([share[name] for share in shares]) for name in local}

    def _summarise(self, columns: dict[str, Tensor]) -> dict[str, float]:
        """Turn the token columns of some rows into numbers about them."""
        weights_N = columns["weight"]
        return {
            "loss/optimised": float((columns["loss"] * weights_N).sum() / weights_N.sum().clamp(min=TINY)),
            "student/entropy_nats_per_token": float(columns["entropy"].mean()),
            "student/confidence": float(columns["confidence"].mean()),
            **self.signal.summarise(columns),
        }

    def _counts(self, batch: SignalBatch) -> Metrics:
        shares = self.ranks.gather(batch.sequences.completion_mask_BT.sum(1).tolist())
        lengths = [length for share in shares for length in share]
        return {
            "rollout/length_tokens": sum(lengths) / len(lengths),
            **{f"tokens/{name}": sum(self.ranks.gather(n)) for name, n in self.collector.take_tokens().items()},
            "tokens/trained": sum(self.ranks.gather(int(batch.sequences.mask.sum()))),
        }

    def _mean_over_ranks(self, metrics: dict[str, float]) -> dict[str, float]:
        shares = self.ranks.gather(metrics)
        return {name: sum(share[name] for share in shares) / len(shares) for name in metrics}

    def _with_progress(self, metrics: Metrics) -> Metrics:
        """Return the metrics with the loss as the progress signal, where it is that."""
        if self.probes.signal is ProgressSignal.loss:
            return metrics | {"probe/progress_signal": metrics["loss/optimised"]}
        return metrics

    def _reading(self, metrics: dict[str, Any], groups: tuple[Reading, ...] = ()) -> Reading:
        update = self.collector.update + 1
        return Reading(
            progress_signal=finite("progress signal", metrics["probe/progress_signal"], update),
            probe_nll=finite("probe NLL", metrics["probe/nll_nats_per_token"], update),
            loss=metrics["loss/optimised"],
            confidence=metrics["student/confidence"],
            mismatch=metrics.get("mismatch/top1_disagreement"),
            teacher_log_prob=metrics.get("teacher/reference_log_prob_nats_per_token"),
            groups=groups,
        )
