"""The student on a DeepSpeed engine: collect a batch, take the signal's losses, step, let the teacher follow, probe."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atesd.config import RunConfig
from atesd.errors import UserError
from atesd.exposure import Exposure
from atesd.groups import equal_shares
from atesd.interfaces import Reading, State, StudentTrainer, UpdateReport, Verdict
from atesd.losses import entropy, token_log_probs
from atesd.rewards import ProgressSignal
from atesd.signals import Signal, SignalBatch
from atesd.stopwatch import Stopwatch
from atesd.tasks.problem import Split, Task
from atesd.training import language_model, ranks, teacher, weights
from atesd.training.collector import Collector
from atesd.training.difficulty import reference_nlls
from atesd.training.engine import gradient_norm
from atesd.training.evaluation import answer
from atesd.training.lengths import refuse_too_long, warn_of_too_long
from atesd.training.memory import refuse_too_large
from atesd.training.probe import Probe, Probes
from atesd.training.reporter import Reporter, finite
from atesd.training.sequences import completion_logits
from atesd.training.specimens import Specimens

STATE_FILE = "trainer.json"
ENGINE_TAG = "engine"

# What the engine counts, and decides by when to step.
COUNTERS = ("micro_steps", "global_steps", "global_samples", "skipped_steps")


@dataclass(frozen=True)
class Snapshot:
    """One rank's student in memory: copies, which no update changes."""

    weights: dict[str, Tensor]
    teacher: dict[str, Tensor]
    optimizer: dict[str, Any]
    counters: dict[str, int]
    random: list[Tensor]
    counts: State


class DeepSpeedTrainer(StudentTrainer):
    """Trains a causal language model with whatever signal it is given; it never asks which method that is."""

    def __init__(self, run: RunConfig, signal: Signal, task: Task, stopwatch: Stopwatch) -> None:
        self.run = run
        self.signal = signal
        self.task = task
        self.stopwatch = stopwatch
        self.ranks = ranks.join()
        self._updates_done = 0
        self.grad_norm = 0.0
        if run.train.batch_size % self.ranks.size:
            raise UserError(
                f"train.batch_size={run.train.batch_size} does not divide over {self.ranks.size} processes; "
                "choose a multiple"
            )
        self._build()

    def _build(self) -> None:
        run = self.run
        if run.train.threads:
            torch.set_num_threads(run.train.threads)
        refuse_too_large(run, self.ranks.size)
        student = language_model.load(run.model)
        self.base = weights.fingerprint(student.model)
        self._parameters = weights.count_without_embeddings(student.model)
        if run.lora:
            student = replace(student, model=run.lora.adapt(student.model, run.seed))
        self.teacher = teacher.build(run.teacher, student.model, adapted=run.lora is not None)
        # ZeRO-3 shards the trained weights, so rollouts and probes then use a whole copy, renewed after every update.
        sharded = run.deepspeed.stage == 3
        sampled = copy.deepcopy(student.model) if sharded else student.model
        self.student = replace(student, model=sampled.eval(), room=run.rollout.max_new_tokens)
        self._judge_lengths()
        if self.teacher.model is student.model:
            self.teacher.model = sampled
        self.rollout = run.rollout.build(self.student)
        self.collector = Collector(
            run.seed,
            self.task,
            self.student,
            self.rollout,
            self.teacher,
            self.ranks,
            self.stopwatch,
            run.train.micro_batch_size,
            run.env.groups,
            run.reward.rule(run.env.hold_window).grounding != 0,
        )
        rows = run.train.batch_size // self.ranks.size
        if run.train.gradient_checkpointing:
            student.model.gradient_checkpointing_enable({"use_reentrant": False})
        micro_batches = math.ceil(rows / run.train.micro_batch_size)
        self.engine = run.deepspeed.build(student.model, run.train, micro_batches, run.model.dtype)
        sampled.to(self.engine.device)
        self.teacher.to(self.engine.device)
        self.probes = self._probes()
        self.reporter = Reporter(self.signal, self.collector, self.rollout, self.probes)
        specimens = self.task.held_out(Split.probe, run.reward.probe_problems)[: run.eval.rollouts]
        self._specimens = Specimens(self.collector, self.ranks.share(specimens), run.exposure.cut)

    def _judge_lengths(self) -> None:
        listed = self.task.listed().get(Split.training, [])
        refuse_too_long(self.student, listed)
        if self.ranks.leads:
            warn_of_too_long(self.student, listed)

    def _probes(self) -> Probes:
        """Return the probes of the difficulty groups, by the NLL of the student, which is still the base student."""
        problems, groups = self.task.held_out(Split.probe, self.run.reward.probe_problems), self.run.env.groups
        size = self.run.train.micro_batch_size
        nlls = reference_nlls(self.student, problems, size)[0] if groups > 1 else [0.0] * len(problems)
        shares = equal_shares(self.ranks.agree(nlls), groups)
        probes = [
            Probe(self.student, self.rollout, self.ranks.share([problems[index] for index in share]), size)
            for share in shares
        ]
        return Probes(probes, self.run.reward.signal, self.ranks)

    @property
    def updates_done(self) -> int:
        return self._updates_done

    @property
    def parameters(self) -> int:
        return self._parameters

    @property
    def leads(self) -> bool:
        return self.ranks.leads

    def any_rank(self, flag: bool) -> bool:
        return any(self.ranks.gather(flag))

    def start(self, exposure: Exposure) -> Reading:
        if self._updates_done:
            raise UserError(
                f"this student has had {self._updates_done} updates and cannot start again; make a new run to restart"
            )
        with self.collector.rewinding(), torch.no_grad():
            batch = self.signal.collect(self.collector, self.run.train.batch_size, exposure)
            total_weight = self._total_weight(batch)
            parts = [self._weighted_loss(micro, total_weight) for micro in self._micro_batches(batch)]
        loss = sum(self.ranks.gather(sum(float(loss) for loss, _ in parts)))
        reading, _ = self.reporter.report(batch, loss, self.grad_norm, [columns for _, columns in parts])
        return reading

    def update(self, exposure: Exposure) -> UpdateReport:
        with self.stopwatch.phase("batch"):
            exposure = self.ranks.agree(exposure)
            self.collector.begin(self._updates_done)
            batch = self.signal.collect(self.collector, self.run.train.batch_size, exposure)
            with self.stopwatch.phase("student"), self._training():
                self.rollout.sleep()
                loss, columns = self._descend(batch)
                self._renew_copies()
            self._sync()
            self._updates_done += 1
            reading, metrics = self.reporter.report(batch, loss, self.grad_norm, columns)
        return UpdateReport(reading, metrics)

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Train within the block; key what dropout draws by (seed, update, rank), so that a resumed run draws the same.

        An update that diverges leaves the engine as one that does not: it can be restored.
        """
        key = np.random.SeedSequence([self.run.seed, self._updates_done, self.ranks.rank])
        with torch.random.fork_rng():
            torch.manual_seed(int(key.generate_state(1)[0]))
            self.engine.train()
            try:
                yield
            finally:
                self.engine.eval()

    def _descend(self, batch: SignalBatch) -> tuple[float, list[dict[str, Tensor]]]:
        """Make one optimizer step; return the loss over all ranks and the token columns of each micro-batch."""
        total_weight = self._total_weight(batch)
        losses, columns = [], []
        for micro in self._micro_batches(batch):
            loss, micro_columns = self._weighted_loss(micro, total_weight)
            losses.append(self._finite("loss", sum(self.ranks.gather(float(loss.detach())))))
            columns.append(micro_columns)
            # DeepSpeed averages gradients over ranks; the loss is already a share of the mean over all of them.
            self.engine.backward(loss * self.ranks.size, scale_wrt_gas=False)
            norm = gradient_norm(self.engine)
            if norm is not None:  # known before the step, so that a bad one leaves the weights alone
                self._finite("gradient norm", norm)
            self.engine.step()
        norm = float(self.engine.get_global_grad_norm()) if norm is None else norm
        self.grad_norm = self._finite("gradient norm", norm)
        return sum(losses), columns

    def _weighted_loss(self, batch: SignalBatch, total_weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        model = self.engine if torch.is_grad_enabled() else self.student.model
        logits_BTV = completion_logits(model, batch.sequences)
        losses_BT, columns = self.signal.token_losses(logits_BTV, batch)
        detached_BTV = logits_BTV.detach()
        group_B1 = torch.tensor(batch.groups or [0] * len(batch), device=losses_BT.device)[:, None]
        columns = columns | {
            "group": group_B1.expand_as(losses_BT),
            "loss": losses_BT.detach(),
            "weight": batch.weights_BT,
            "entropy": entropy(detached_BTV),
            "confidence": token_log_probs(detached_BTV, batch.sequences.completion_ids_BT).exp(),
        }
        mask_BT = batch.sequences.completion_mask_BT.bool()
        # Outside the mask a loss may be anything, even not finite, and must not reach the gradient.
        loss = (losses_BT * batch.weights_BT)[mask_BT].sum() / total_weight
        return loss, {name: column[mask_BT].cpu() for name, column in columns.items()}

    def _micro_batches(self, batch: SignalBatch) -> Iterator[SignalBatch]:
        return (batch[rows] for rows in batch.sequences.by_length(self.run.train.micro_batch_size))

    def _total_weight(self, batch: SignalBatch) -> float:
        total = float(sum(self.ranks.gather(float(batch.weights_BT.sum()))))
        return total or 1.0  # a batch in which no token counts has loss 0, not 0 / 0

    def _finite(self, what: str, value: float) -> float:
        return finite(what, value, self._updates_done + 1)

    def _renew_copies(self) -> None:
        if self.student.model is not self.engine.module:
            weights.copy_into(self.engine.module, self.student.model)
        self.teacher.follow(self.engine.module)

    def _sync(self) -> None:
        with self.stopwatch.phase("sync"):
            self.rollout.sync()

    def evaluate(self, count: int) -> list[Verdict]:
        asked = self.task.held_out(Split.evaluation, count)
        problems, most = self.ranks.share(asked), math.ceil(len(asked) / self.ranks.size)
        prompt, batch_size = self.student.student_prompt, self.run.eval.batch_size
        answers = answer(self.rollout, self.student, problems, batch_size, prompt, most)
        verdicts = [Verdict(p.id, p.difficulty, right) for p, right in zip(problems, answers.correct, strict=True)]
        return [verdict for share in self.ranks.gather(verdicts) for verdict in share]

    def specimens(self, exposures: Sequence[float]) -> list[State]:
        rows = self._specimens.rows(self._updates_done, self.ranks.agree(list(exposures)))
        return [row for share in self.ranks.gather(rows) for row in share]

    def measure(self) -> dict[ProgressSignal, float]:
        return self.probes.measure_generated()

    def snapshot(self) -> Snapshot:
        if self.run.deepspeed.stage:
            raise UserError(
                f"deepspeed.stage={self.run.deepspeed.stage} shards the student over flat partitions that are not "
                "copied in memory; a snapshot needs deepspeed.stage=0"
            )
        return Snapshot(
            weights.snapshot(self.engine.module),
            self.teacher.snapshot(),
            copy.deepcopy(self.engine.optimizer.state_dict()),
            {name: getattr(self.engine, name) for name in COUNTERS},
            [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],  # a model with dropout draws from these
            self._counts(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        weights.restore(self.engine.module, snapshot.weights)
        self.teacher.restore(snapshot.teacher)
        # The optimizer keeps the tensors it is given and updates them in place.
        self.engine.optimizer.load_state_dict(copy.deepcopy(snapshot.optimizer))
        for name, count in snapshot.counters.items():
            setattr(self.engine, name, count)
        for parameter in self.engine.module.parameters():  # an update that diverged left its gradient
            parameter.grad = None
        own, *others = snapshot.random
        torch.set_rng_state(own)
        torch.cuda.set_rng_state_all(others)
        self._recount(snapshot.counts)
        self.collector.take_tokens()
        self._sync()

    def save(self, folder: Path) -> None:
        # Frozen weights are those of the base model, whose hash is kept.
        self.engine.save_checkpoint(folder, tag=ENGINE_TAG, exclude_frozen_parameters=self.run.lora is not None)
        if self.ranks.leads:
            self.teacher.save(folder)
            (folder / STATE_FILE).write_text(json.dumps({**self._counts(), "base": self.base}))
        self.ranks.barrier()

    def load(self, folder: Path) -> None:
        state = json.loads((folder / STATE_FILE).read_text())
        if state["base"] != self.base:
            raise UserError(
                f"the run in {folder} began from other base weights than model.path={self.run.model.folder()} holds; "
                "bring the old weights back or start a new run"
            )
        whole = self.run.lora is None
        loaded, _ = self.engine.load_checkpoint(folder, tag=ENGINE_TAG, load_module_strict=whole)
        if loaded is None:
            raise UserError(f"{folder / ENGINE_TAG} holds no DeepSpeed state; the checkpoint is damaged")
        self._recount(state)
        self.teacher.load(folder)
        if self.student.model is not self.engine.module:
            weights.copy_into(self.engine.module, self.student.model)
        self._sync()

    def _counts(self) -> State:
        """Return what there is to resume besides the engine and the teacher."""
        return {
            "updates_done": self._updates_done,
            "position": self.collector.position,
            "thresholds": self.collector.quantiles.thresholds,
            "groups": [dict(newest) for newest in self.reporter.groups.newest],
        }

    def _recount(self, state: State) -> None:
        self._updates_done, self.collector.position = state["updates_done"], state["position"]
        self.collector.quantiles.thresholds = state["thresholds"]
        self.reporter.groups.newest = [dict(newest) for newest in state["groups"]]

    def export(self, folder: Path) -> None:
        if self.ranks.leads:
            self.student.save(folder)
        self.ranks.barrier()
