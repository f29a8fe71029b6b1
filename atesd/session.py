"""One run, from the base model's evaluation to the summary: the loop that plays a controller in the environment."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from atesd import model_card
from atesd.budget import totals
from atesd.checkpoints import Checkpoints
from atesd.config import RunConfig
from atesd.decisions import DecisionLedger, Matured
from atesd.errors import UserError
from atesd.interfaces import Action, Controller, Observation, Reading, State, StudentTrainer, UpdateReport
from atesd.logbook import Logbook, finite, provenance
from atesd.observation import NEUTRAL_EXPOSURE
from atesd.player import Player
from atesd.progress import Display
from atesd.statistics import accuracy, by_verdict
from atesd.stopwatch import Stopwatch
from atesd.trackers import Tracker


class Environment(Protocol):
    """What a session needs of ``ATESD/Exposure-v0``."""

    trainer: StudentTrainer
    last: Reading
    on_update: Any

    @property
    def finished(self) -> bool: ...

    def reset(self) -> tuple[Observation, dict[str, Any]]: ...

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]: ...

    def state_dict(self) -> State: ...

    def resume(self, state: State) -> tuple[Observation, dict[str, Any]]: ...


class Stopped(Exception):
    """The run was asked to stop and has written a checkpoint."""


class Session:
    """Plays one controller per difficulty group to the run's end and keeps the logbook."""

    def __init__(
        self,
        run: RunConfig,
        environment: Environment,
        controllers: Sequence[Controller],
        logbook: Logbook,
        display: Display,
        stopwatch: Stopwatch,
        tracker: Tracker,
    ) -> None:
        self.run = run
        self.environment = environment
        self.trainer = environment.trainer
        self.logbook = logbook
        self.display = display
        self.stopwatch = stopwatch
        rule = run.reward.rule(run.env.hold_window)
        self.players = [Player(controller, DecisionLedger(rule)) for controller in controllers]
        self.tracker = tracker
        self.shown = logbook.last_updates()
        self.checkpoints = Checkpoints(logbook.folder / "checkpoints", self.trainer)
        self.decisions = 0
        self.exposures = [NEUTRAL_EXPOSURE]  # before the first decision
        self.stop_requested = False
        environment.on_update = self._on_update

    def begin(self) -> None:
        """Evaluate the base model and start the environment."""
        self._open_tracker(-1)
        self._evaluate(self.run.eval.final_problems)
        if not self.environment.finished:
            with self.stopwatch.phase("environment"):
                self.observation, _ = self.environment.reset()
            self._record(0, self.environment.last)
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

    def _open_tracker(self, resumed: int) -> None:
        with self.stopwatch.phase("logging"):
            self.tracker.open(resumed, self.shown)

    def _take_over(self, state: State) -> None:
        self.logbook.cut_back(state["logs"])
        for player, saved in zip(self.players, state["players"], strict=True):
            player.load_state_dict(saved)
        self.stopwatch.add(state["seconds"])
        self.decisions = state["decisions"]
        self.exposures = state["exposures"]
        self.observation, _ = self.environment.resume(state["environment"])
        self._open_tracker(self.trainer.updates_done)
        self.display.say(f"resumed after student update {self.trainer.updates_done}")

    def play(self) -> None:
        """Play the hold windows that are left.

        Raises:
            Stopped: a signal asked the run to stop; a checkpoint holds all of it.
            UserError: the student diverged, or the controller chose what it may not.
        """
        while not self.environment.finished:
            self._window(self._decide())
            stop = self.trainer.any_rank(self.stop_requested)
            if stop or self.environment.finished or self.decisions % self.run.checkpoint.every == 0:
                self._checkpoint()
            if stop:
                raise Stopped

    def finish(self, describe: dict[str, Any]) -> dict[str, Any]:
        """Evaluate the trained student, export it, and write figures and summary."""
        for player in self.players:
            for unmatured in player.ledger.close():
                self._log_decision(unmatured, {})
        if self.trainer.updates_done:
            self._evaluate(self.run.eval.final_problems)
        with self.stopwatch.phase("export"):
            self.trainer.export(self.logbook.folder / "model")
            if self.logbook.writes:
                from atesd import figures

                figures.draw(self.logbook)
        self.trainer.any_rank(False)  # every process waits until the rows are written
        summary = self._summary() | describe | provenance()
        if self.logbook.writes:
            rows = self.logbook.rows("metrics.jsonl")
            asked = [row["exposure/asked"] for row in rows if row.get("exposure/asked") is not None]
            model_card.write(self.logbook.folder / "model", self.run, self.logbook.settings(), summary, asked)
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

    def _decide(self) -> list[Action]:
        """Ask every controller; where one fails, save everything up to here before the run stops."""
        try:
            with self.stopwatch.phase("controller"):
                return [player.controller.act(seen, self.decisions) for player, seen in self._views()]
        except Exception:
            if np.isfinite(self.observation).all():  # else the student has diverged, and nobody goes on from here
                self._checkpoint()
            raise

    def _views(self) -> Iterator[tuple[Player, Observation]]:
        """Yield every group's player with what it sees."""
        return zip(self.players, np.split(self.observation, len(self.players)), strict=True)

    def _window(self, actions: list[Action]) -> None:
        update = self.trainer.updates_done
        for (player, seen), action in zip(self._views(), actions, strict=True):
            player.open(self.decisions, update, seen, action)
        self.exposures = [action.exposure for action in actions]
        with self.stopwatch.phase("environment"):
            self.observation, _, terminated, _, info = self.environment.step(
                np.array([action.exposure for action in actions])
            )
        if terminated:
            raise UserError(info["diverged"])
        self.decisions += 1

    def _on_update(self, update: int, report: UpdateReport) -> None:
        self._record(update, report.reading)
        for player in self.players:
            for matured in player.ledger.matured(update):
                with self.stopwatch.phase("controller"):
                    assert matured.parts is not None
                    learned = player.controller.learn(matured.decision.decision, matured.parts.total)
                self._log_decision(matured, learned)
        with self.stopwatch.phase("logging"):
            seconds = {f"time/{phase}_seconds": spent for phase, spent in self.stopwatch.lap().items()}
            row = finite({"update": update, **report.metrics, **seconds})
            self.logbook.append("metrics.jsonl", row)
            self.tracker.log("metrics.jsonl", update, row)
            window_ends = update % self.run.env.hold_window == 0 or self.environment.finished
            self.display.updated(update, report.metrics, window_ends)
        if update % self.run.eval.every == 0 and not self.environment.finished:
            self._evaluate(self.run.eval.problems)

    def _record(self, update: int, reading: Reading) -> None:
        for player, own in zip(self.players, reading.by_group, strict=True):
            player.ledger.record(update, own)

    def _log_decision(self, matured: Matured, learned: dict[str, float]) -> None:
        with self.stopwatch.phase("logging"):
            self.logbook.append("decisions.jsonl", finite(matured.row() | learned))

    def _evaluate(self, problems: int) -> None:
        with self.stopwatch.phase("evaluation"):
            verdicts = self.trainer.evaluate(problems)
            found = accuracy(verdicts)
        update = self.trainer.updates_done
        self.logbook.append("verdicts.jsonl", {"update": update, **by_verdict(verdicts)})
        self.logbook.append("evaluations.jsonl", {"update": update, **found})
        levels = {f"accuracy/difficulty_{level}": each["mean"] for level, each in found["by_difficulty"].items()}
        self.tracker.log("evaluations.jsonl", update, {"accuracy/mean": found["mean"], **levels})
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
                    "environment": self.environment.state_dict(),
                    "players": [player.state_dict() for player in self.players],
                    "logs": self.logbook.sizes(),
                    "seconds": dict(self.stopwatch.seconds),
                }
            )

    def _summary(self) -> dict[str, Any]:
        evaluations = self.logbook.rows("evaluations.jsonl")
        summary: dict[str, Any] = {"complete": self.environment.finished, "updates": self.trainer.updates_done}
        for when, found in (("before", evaluations[0]), ("after", evaluations[-1])):
            summary |= {
                f"accuracy/{when}": found["mean"],
                f"accuracy/{when}_interval": [found["low"], found["high"]],
                f"accuracy/{when}_problems": found["problems"],
                f"accuracy/{when}_by_difficulty": found["by_difficulty"],
            }
        summary |= totals(self.logbook.rows("metrics.jsonl"), self.stopwatch.seconds, self.trainer.parameters)
        seconds = {phase: round(spent, 3) for phase, spent in self.stopwatch.seconds.items()}
        return summary | {"seconds": {**seconds, "total": round(sum(self.stopwatch.seconds.values()), 3)}}
