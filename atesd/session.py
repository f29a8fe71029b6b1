"""One run, from the base model's evaluation to the summary: the loop that plays a controller in the environment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from atesd.checkpoints import Checkpoints
from atesd.config import RunConfig
from atesd.decisions import Decision, DecisionLedger, Matured
from atesd.errors import UserError
from atesd.interfaces import Action, Controller, Observation, Reading, State, StudentTrainer, UpdateReport
from atesd.logbook import Logbook, finite, provenance
from atesd.observation import NEUTRAL_EXPOSURE
from atesd.progress import Display
from atesd.statistics import accuracy
from atesd.stopwatch import Stopwatch


class Environment(Protocol):
    """What a session needs of ``ATESD/Exposure-v0``."""

    trainer: StudentTrainer
    last: Reading
    on_update: Any

    def reset(self) -> tuple[Observation, dict[str, Any]]: ...

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]: ...

    def state_dict(self) -> State: ...

    def resume(self, state: State) -> tuple[Observation, dict[str, Any]]: ...


class Stopped(Exception):
    """The run was asked to stop and has written a checkpoint."""


class Session:
    """Plays ``controller`` in ``environment`` for ``updates`` student updates and keeps the logbook."""

    def __init__(
        self,
        run: RunConfig,
        environment: Environment,
        controller: Controller,
        updates: int,
        logbook: Logbook,
        display: Display,
        stopwatch: Stopwatch,
    ) -> None:
        self.run = run
        self.environment = environment
        self.trainer = environment.trainer
        self.controller = controller
        self.updates = updates
        self.logbook = logbook
        self.display = display
        self.stopwatch = stopwatch
        self.ledger = DecisionLedger(run.reward.rule(run.env.hold_window))
        self.checkpoints = Checkpoints(logbook.folder / "checkpoints", self.trainer)
        self.decisions = 0
        self.exposures = [NEUTRAL_EXPOSURE]  # before the first decision
        self.stop_requested = False
        environment.on_update = self._on_update

    def begin(self) -> None:
        """Evaluate the base model and start the environment."""
        self._evaluate(self.run.eval.final_problems)
        if self.updates:
            with self.stopwatch.phase("environment"):
                self.observation, _ = self.environment.reset()
            self.ledger.record(0, self.environment.last)
            self._checkpoint()
            self.stopwatch.lap()  # what came before belongs to no student update

    def resume(self) -> None:
        """Go on from the newest checkpoint, or begin again where the run stopped before its first."""
        state = self.checkpoints.load_newest()
        if state is None:
            self.display.say("no checkpoint yet: the run begins again")
            self.logbook.clear()
            self.begin()
        else:
            self._take_over(state)

    def _take_over(self, state: State) -> None:
        self.logbook.cut_back(state["logs"])
        self.controller.load_state_dict(state["controller"])
        self.ledger.load_state_dict(state["ledger"])
        self.stopwatch.add(state["seconds"])
        self.decisions = state["decisions"]
        self.exposures = state["exposures"]
        self.observation, _ = self.environment.resume(state["environment"])
        self.display.say(f"resumed after student update {self.trainer.updates_done}")

    def play(self) -> None:
        """Play the hold windows that are left.

        Raises:
            Stopped: a signal asked the run to stop; a checkpoint holds all of it.
            UserError: the student diverged, or the controller chose what it may not.
        """
        while self.trainer.updates_done < self.updates:
            self._window(self._decide())
            stop = self.trainer.any_rank(self.stop_requested)
            done = self.trainer.updates_done == self.updates
            if stop or done or self.decisions % self.run.checkpoint.every == 0:
                self._checkpoint()
            if stop:
                raise Stopped

    def finish(self, describe: dict[str, Any]) -> dict[str, Any]:
        """Evaluate the trained student, export it, and write figures and summary."""
        for unmatured in self.ledger.close():
            self._log_decision(unmatured, {})
        if self.updates:
            self._evaluate(self.run.eval.final_problems)
        with self.stopwatch.phase("export"):
            self.trainer.export(self.logbook.folder / "model")
            if self.logbook.writes:
                from atesd import figures

                figures.draw(self.logbook)
        self.trainer.any_rank(False)  # every process waits until the rows are written
        summary = self._summary() | describe | provenance()
        self.logbook.summarise(summary)
        return summary

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM stop the run after the current hold window; a second one stops it at once."""

        def request(number: int, frame: Any) -> None:
            self.display.say("stopping after this hold window; once more stops at once")
            self.stop_requested = True
            signal.signal(number, signal.SIG_DFL)

        previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _decide(self) -> Action:
        """Ask the controller; where it fails, save everything up to here before the run stops."""
        try:
            with self.stopwatch.phase("controller"):
                return self.controller.act(self.observation, self.decisions)
        except Exception:
            self._checkpoint()
            raise

    def _window(self, action: Action) -> None:
        update = self.trainer.updates_done
        self.ledger.open(
            Decision(
                self.decisions, update, action.exposure, action.log_prob, self.observation.tolist(), action.details
            )
        )
        self.exposures = [action.exposure]
        self.window_end = min(update + self.run.env.hold_window, self.updates)
        with self.stopwatch.phase("environment"):
            self.observation, _, terminated, _, info = self.environment.step(np.array([action.exposure]))
        if terminated:
            raise UserError(info["diverged"])
        self.decisions += 1

    def _on_update(self, update: int, report: UpdateReport) -> None:
        self.ledger.record(update, report.reading)
        for matured in self.ledger.matured(update):
            with self.stopwatch.phase("controller"):
                assert matured.parts is not None
                learned = self.controller.learn(matured.decision.decision, matured.parts.total)
            self._log_decision(matured, learned)
        with self.stopwatch.phase("logging"):
            seconds = {f"time/{phase}_seconds": spent for phase, spent in self.stopwatch.lap().items()}
            self.logbook.append("metrics.jsonl", finite({"update": update, **report.metrics, **seconds}))
            self.display.updated(update, report.metrics, update == self.window_end)
        if update % self.run.eval.every == 0 and update < self.updates:
            self._evaluate(self.run.eval.problems)

    def _log_decision(self, matured: Matured, learned: dict[str, float]) -> None:
        with self.stopwatch.phase("logging"):
            self.logbook.append("decisions.jsonl", finite(matured.row() | learned))

    def _evaluate(self, problems: int) -> None:
        with self.stopwatch.phase("evaluation"):
            found = accuracy(self.trainer.evaluate(problems))
        update = self.trainer.updates_done
        self.logbook.append("evaluations.jsonl", {"update": update, **found})
        self.display.evaluated(found["mean"])
        self.display.say(
            f"update {update}: accuracy {found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}] "
            f"on {found['problems']} problems"
        )
        with self.stopwatch.phase("specimens"):
            rollouts = self.trainer.specimens(self.exposures)
        for rollout in rollouts:
            self.logbook.append("rollouts.jsonl", rollout)

    def _checkpoint(self) -> None:
        with self.stopwatch.phase("checkpoint"):
            self.checkpoints.save(
                {
                    "decisions": self.decisions,
                    "exposures": self.exposures,
                    "controller": self.controller.state_dict(),
                    "environment": self.environment.state_dict(),
                    "ledger": self.ledger.state_dict(),
                    "logs": self.logbook.sizes(),
                    "seconds": dict(self.stopwatch.seconds),
                }
            )

    def _summary(self) -> dict[str, Any]:
        evaluations = self.logbook.rows("evaluations.jsonl")
        summary: dict[str, Any] = {"complete": self.trainer.updates_done == self.updates, "updates": self.updates}
        for when, found in (("before", evaluations[0]), ("after", evaluations[-1])):
            summary |= {
                f"accuracy/{when}": found["mean"],
                f"accuracy/{when}_interval": [found["low"], found["high"]],
                f"accuracy/{when}_problems": found["problems"],
                f"accuracy/{when}_by_difficulty": found["by_difficulty"],
            }
        metrics = self.logbook.rows("metrics.jsonl")
        tokens = [key for key in (metrics[-1] if metrics else {}) if key.startswith(("tokens/", "probe/tokens"))]
        summary |= {f"total/{key}": sum(row[key] for row in metrics) for key in tokens}
        seconds = {phase: round(spent, 3) for phase, spent in self.stopwatch.seconds.items()}
        return summary | {"seconds": {**seconds, "total": round(sum(self.stopwatch.seconds.values()), 3)}}
