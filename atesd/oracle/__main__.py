"""Measure what each exposure would truly have gained along recorded runs: ``python -m atesd.oracle run=FOLDER ...``.

A run is retraced exactly; at every k-th hold window its student is forked, each exposure of a grid is played from the
same state, and the change of accuracy on held-out problems is measured, after the hold window and at the look-ahead.
Beside it stands what every kind of reward would have paid. ``oracle.json`` holds all of it and the rank correlation of
each reward with the true look-ahead gain; ``oracle.png`` shows it.

The oracle looks at problems of the evaluation split, which no probe and no update ever sees. It serves analysis alone:
nothing it measures may be trained on, and accuracy reported for a method chosen by it needs other problems.

A study that was stopped goes on with the same command: every finished state has a file.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from atesd.arguments import dotlist, run_main, settings
from atesd.errors import UserError
from atesd.exposure import checked
from atesd.folders import claim
from atesd.oracle import fork, retrace
from atesd.oracle.agreement import agreement
from atesd.oracle.retrace import Record
from atesd.rewards import Kind, ProgressSignal
from atesd.run import quiet  # which also registers the parts that runs are made of
from atesd.stopwatch import Stopwatch

if TYPE_CHECKING:
    from envs.exposure_env import ExposureEnv


# What a reward must beat: less exposure is the better one in most states of some students.
CONTROLS: dict[str, Callable[[float], float]] = {
    "control/less_exposure": lambda exposure: -exposure,
    "control/constant": lambda exposure: 0.0,
}


class After(Enum):
    """Which exposures follow the forked hold window up to the look-ahead: the run's own, or the same one still."""

    own = "own"
    held = "held"


@dataclass
class OracleConfig:
    """Settings, all ours.

    Attributes:
        run: folder of a finished run, or a list of them, whose states are pooled.
        output_dir: where states, oracle.json and oracle.png go; an unfinished study there is gone on with.
        every: hold windows from one forked state to the next; the first is the base student.
        exposures: the grid that is played from each state.
        lookahead: student updates after which the gain is measured, besides after the hold window.
        after: what follows the hold window.
        problems: evaluation problems that gains are measured on.
        grounding: weight of the teacher-grounded term in the rewards that have one.
    """

    run: Any = "???"
    output_dir: str = "???"
    every: int = 5
    exposures: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])
    lookahead: int = 8
    after: After = After.own
    problems: int = 500
    grounding: float = 0.1

    def __post_init__(self) -> None:
        for exposure in self.exposures:
            checked(exposure, "exposures")
        if len(set(self.exposures)) < max(2, len(self.exposures)):
            raise UserError(f"exposures must be at least two numbers, each once, got {self.exposures}")
        for key in ("every", "lookahead", "problems"):
            if getattr(self, key) < 1:
                raise UserError(f"{key} must be at least 1, got {getattr(self, key)}")

    def records(self) -> list[Record]:
        """Return the runs.

        Raises:
            UserError: a run is given twice, cannot be retraced, or has a hold window longer than the look-ahead.
        """
        folders = [str(folder) for folder in (self.run if isinstance(self.run, list) else [self.run])]
        records = [retrace.read(Path(folder)) for folder in folders]
        if not records or len({record.fingerprint for record in records}) < len(records):
            raise UserError(f"run must name at least one run, and each once, got {folders}")
        for record in records:
            if (window := record.run.env.hold_window) > self.lookahead:
                raise UserError(
                    f"lookahead={self.lookahead} ends before the hold window of {window} updates of {record.folder}; "
                    f"choose at least {window}"
                )
        return records

    def horizon(self, record: Record) -> int:
        """Return how many updates a fork plays: to the look-ahead, and as far as the run's own reward looks."""
        return max(self.lookahead, record.run.reward.lookahead)

    def states(self, record: Record) -> list[int]:
        """Return after how many updates the run is forked: every k-th window that has the whole horizon ahead."""
        last = record.updates - self.horizon(record)
        return list(range(0, last + 1, self.every * record.run.env.hold_window))

    def path(self, record: Record, update: int) -> Path:
        """Return where a state is kept: a name for all that it depends on."""
        depends = [record.fingerprint, self.exposures, self.lookahead, self.after.value, self.problems, self.grounding]
        digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]
        return Path(self.output_dir) / "states" / f"{digest}-{update:05d}.json"


def oracle(config: OracleConfig) -> dict[str, Any]:
    """Measure the states that are not yet measured, write ``oracle.json`` and ``oracle.png``, and return the former.

    Raises:
        UserError: a run cannot be retraced, or is too short for one state.
    """
    records = config.records()
    for record in records:
        if not config.states(record):
            raise UserError(
                f"run={record.folder} has {record.updates} updates, fewer than the {config.horizon(record)} "
                "a fork plays; lower lookahead or leave the run out"
            )
    folder = Path(config.output_dir)
    claim(folder, "oracle.json", "states")
    (folder / "states").mkdir(exist_ok=True)
    for record in records:
        measure_missing(config, record)
    states = [
        json.loads(config.path(record, update).read_text()) | {"run": str(record.folder)}
        for record in records
        for update in config.states(record)
    ]
    result: dict[str, Any] = {
        "settings": OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True),
        "correlations": correlations(states),
        "best_exposure": [{key: state[key] for key in ("run", "update", "best_exposure")} for state in states],
        "states": states,
    }
    write(folder / "oracle.json", result)
    from atesd.oracle import figure as oracle_figure

    oracle_figure.draw(result, folder / "oracle.png")
    return result


def measure_missing(config: OracleConfig, record: Record) -> None:
    """Retrace a run as far as its last state without a file, and measure those states."""
    missing = [update for update in config.states(record) if not config.path(record, update).exists()]
    if not missing:
        return
    env = environment(record, config.grounding)
    env.reset()
    for decision in range(missing[-1] // record.run.env.hold_window + 1):
        update = env.trainer.updates_done
        if update in missing:
            begun = time.monotonic()
            state = measured(config, record, env)
            write(config.path(record, update), state)
            say(f"{record.folder}, update {update}: best exposure {state['best_exposure']:g}", begun)
        if update < missing[-1]:
            env.step(np.array([record.exposures[decision]]))


def environment(record: Record, grounding: float) -> ExposureEnv:
    """Return the run's environment, which checks every update against the record.

    Its progress signal is the probe NLL, which costs no generation; forks measure the others where they are needed. A
    weight of the teacher-grounded term other than 0 has that term measured.
    """
    from envs.exposure_env import ExposureEnv

    reward = replace(record.run.reward, kind=Kind.lookahead, signal=ProgressSignal.probe_nll, grounding=grounding)
    run = replace(record.run, reward=reward)
    trainer = run.model.trainer(run, run.signal.build(run.exposure.cut), run.data.build(run.seed), Stopwatch())
    env = ExposureEnv(trainer, run.reward.rule(run.env.hold_window), run.train.updates, run.env.hold_window)
    env.on_update = record.check
    return env


def measured(config: OracleConfig, record: Record, env: ExposureEnv) -> dict[str, Any]:
    """Fork the student at every exposure and return the state's row; the environment is left as it was."""
    snapshot, update = env.snapshot(), env.trainer.updates_done
    start, before = fork.glance(env.trainer, env.last), fork.answers(env.trainer, config.problems)
    ways = fork.variants(record.run.reward, config.grounding, record.run.env.hold_window)
    ways = {name: way for name, way in ways.items() if way.signal in start.signals}
    marks = {"window": record.run.env.hold_window, "lookahead": config.lookahead}
    branches: list[dict[str, Any]] = []
    for exposure in config.exposures:
        played = schedule(config, record, update, exposure)
        glances, gains = fork.branch(env.trainer, start, before, played, marks)
        env.restore(snapshot)
        rewards = {name: way.reward(glances) for name, way in ways.items()}
        rows = [each.row() for each in glances]
        branches.append({"exposure": exposure, "gain": gains, "rewards": rewards, "readings": rows})
    return {
        "update": update,
        "accuracy": float(np.mean(before)),
        "run_exposure": record.exposure(update),
        # the lowest of equals
        "best_exposure": -max((branch["gain"]["lookahead"]["mean"], -branch["exposure"]) for branch in branches)[1],
        "branches": branches,
    }


def schedule(config: OracleConfig, record: Record, update: int, exposure: float) -> list[float]:
    """Return the exposure of each update of a fork: one for the hold window, then ``config.after``."""
    window, horizon = record.run.env.hold_window, config.horizon(record)
    later = {
        After.own: [record.exposure(update + done) for done in range(window, horizon)],
        After.held: [exposure] * (horizon - window),
    }
    return [exposure] * window + later[config.after]


def correlations(states: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for every reward how well it orders exposures by look-ahead gain, over the states that know it.

    Two controls that look at nothing stand beside them: to be paid for less exposure, and to be paid the same always.
    """
    names = dict.fromkeys(name for state in states for name in state["branches"][0]["rewards"])
    found = {}
    for name in names:
        known = [state["branches"] for state in states if name in state["branches"][0]["rewards"]]
        gains = [[branch["gain"]["lookahead"]["mean"] for branch in branches] for branches in known]
        rewards = [[branch["rewards"][name] for branch in branches] for branches in known]
        found[name] = agreement(gains, rewards)
    every = [state["branches"] for state in states]
    gains = [[branch["gain"]["lookahead"]["mean"] for branch in branches] for branches in every]
    for name, pay in CONTROLS.items():
        found[name] = agreement(gains, [[pay(branch["exposure"]) for branch in branches] for branches in every])
    return found


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is whole or absent."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    unfinished.replace(path)


def say(what: str, begun: float) -> None:
    """Tell what was finished and how long it took."""
    print(f"{what}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the rewards as text, the best first."""
    yield f"{'reward':<46}{'correlation':>11}  95 % interval     gain lost  states"
    known = {name: found for name, found in result["correlations"].items() if found["states"]}
    for name, found in sorted(known.items(), key=lambda item: -float(item[1]["mean"])):
        span = "[{low:+.2f}, {high:+.2f}]".format(**found)
        yield f"{name:<46}{found['mean']:>+11.2f}  {span:<17}{found['gain_lost']:>10.4f}{found['states']:>8}"
    if not known:
        yield "in no state did exposures differ in their gain; raise problems or lookahead"


def main() -> None:
    """Read ``key=value`` settings from the command line."""
    config = settings(OracleConfig, dotlist(sys.argv[1:]))
    quiet()
    for line in lines(oracle(config)):
        print(line)


if __name__ == "__main__":
    run_main(main)
