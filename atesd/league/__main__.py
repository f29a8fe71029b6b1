"""Play controllers against surrogate students: ``python -m atesd.league controllers=[ucb1,gp_ucb] output_dir=…``.

Every controller meets the same students with the same noise. ``league.json`` holds a row per controller, family, noise
and seed, the table and the alarm; ``*.png`` show it. A league that was stopped goes on with the same command.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import controllers as controllers
from atesd.arguments import dotlist, run_main, settings
from atesd.errors import UserError
from atesd.folders import claim
from atesd.league.rounds import Block, Entry, entry, play, played, unset, with_twins
from atesd.league.standings import REFERENCE, alarm, table
from atesd.registry import names
from atesd.rewards import ProgressSignal, RewardConfig
from atesd.surrogate.law import FAMILIES, NULL, family

# Students per file: what a stopped league loses at most, per worker. ours
BLOCK = 50
# The smallest number of pairs whose signed-rank test can reach 5 %.
FEWEST_SEEDS = 6


@dataclass
class LeagueConfig:
    """Settings, all ours.

    Attributes:
        output_dir: where blocks, league.json and figures go; an unfinished league there is gone on with.
        controllers: registered names, each with its defaults; empty: all but those that need settings. Fixed 0.5 and
            the twins that do not learn always play.
        without: names the empty list leaves out.
        families: keys of ``atesd.surrogate.law.FAMILIES`` or calibration.json files; ``null`` only feeds the alarm.
        noise: standard deviations of the readings, each its own table.
        seeds: students per family, the same for every controller.
        updates: student updates in a run.
        hold_window: student updates that share one exposure.
        workers: processes.
        reward: what controllers are paid for, as in a run.
    """

    output_dir: str = "???"
    controllers: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=lambda: ["sb3"])
    families: list[str] = field(default_factory=lambda: list(FAMILIES))
    noise: list[float] = field(default_factory=lambda: [0.001, 0.01, 0.03])
    seeds: int = 100
    updates: int = 120
    hold_window: int = 4
    workers: int = 2
    reward: RewardConfig = field(default_factory=RewardConfig)

    def __post_init__(self) -> None:
        for name in self.families:
            family(name, "families")
        for key in ("families", "noise", "controllers", "without"):
            values = getattr(self, key)
            if len(set(values)) < len(values) or (not values and key in ("families", "noise")):
                raise UserError(f"{key} must name at least one, and each once, got {values}")
        if not all(0 <= noise < float("inf") for noise in self.noise):
            raise UserError(f"noise must be finite numbers of 0 or more, got {self.noise}")
        if self.seeds < FEWEST_SEEDS:
            raise UserError(f"seeds must be at least {FEWEST_SEEDS}, got {self.seeds}: fewer can never be significant")
        for key in ("updates", "hold_window", "workers"):
            if getattr(self, key) < 1:
                raise UserError(f"{key} must be at least 1, got {getattr(self, key)}")
        if self.reward.signal is not ProgressSignal.probe_nll:
            raise UserError(
                f"reward.signal={self.reward.signal.value} is not what the league reads; leave it probe_nll"
            )

    def entries(self) -> list[Entry]:
        """Return who plays, twins and the reference included."""
        every = [name for name in names("controller") if name not in self.without and not unset(name)]
        chosen = self.controllers or every
        return with_twins([entry(name) for name in dict.fromkeys([*chosen, REFERENCE])])

    def blocks(self) -> list[Block]:
        """Return everything there is to play."""
        rule = self.reward.rule(self.hold_window)
        return [
            Block(each, name, noise, first, min(first + BLOCK, self.seeds) - 1, self.updates, self.hold_window, rule)
            for each in self.entries()
            for name in self.families
            for noise in self.noise
            for first in range(0, self.seeds, BLOCK)
        ]


def league(config: LeagueConfig) -> dict[str, Any]:
    """Play what is not yet played, write ``league.json`` and figures, and return the former.

    Raises:
        UserError: the alarm went off; everything is written before.
    """
    folder, entries = Path(config.output_dir), config.entries()
    blocks = folder / "blocks"
    claim(folder, "league.json", "blocks")
    blocks.mkdir(exist_ok=True)
    play_missing(config, blocks)
    games = [found for block in config.blocks() if (found := played(block, blocks)) is not None]
    rows = [row for game in games for row in game["rows"]]
    result: dict[str, Any] = {
        "settings": OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True),
        "alarm": alarm(rows),
        "milliseconds_per_decision": costs(config, games),
        "table": table(rows, entries),
        "rows": rows,
    }
    unfinished = folder / "league.json.unfinished"
    unfinished.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    unfinished.replace(folder / "league.json")
    from atesd.league import figures as league_figures

    league_figures.draw(result, folder)
    if reason := result["alarm"]["reason"]:
        raise UserError(f"the league is broken: {reason}; do not believe {folder / 'league.json'}")
    return result


def play_missing(config: LeagueConfig, folder: Path) -> None:
    """Play the blocks that have no file, in ``config.workers`` processes, and say how far it is."""
    missing = [block for block in config.blocks() if played(block, folder) is None]
    if not missing:
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers: theirs are small arrays, and the cores are taken
    begun = said = time.monotonic()
    with ProcessPoolExecutor(config.workers, multiprocessing.get_context("spawn")) as pool:
        try:
            for done, finished in enumerate(as_completed([pool.submit(play, block, folder) for block in missing]), 1):
                finished.result()
                now = time.monotonic()
                if now - said > 10:
                    left = (now - begun) / done * (len(missing) - done)
                    print(f"{done} of {len(missing)} blocks, {left:.0f} s left", file=sys.stderr, flush=True)
                    said = now
        except BaseException:  # Ctrl-C too: no block is begun any more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def costs(config: LeagueConfig, games: list[dict[str, Any]]) -> dict[str, float]:
    """Return each controller's mean CPU milliseconds per decision, its student's updates included."""
    windows = -(-config.updates // config.hold_window)
    spent: dict[str, list[float]] = {}
    for game in games:
        rows = game["rows"]
        spent.setdefault(rows[0]["controller"], []).append(1000 * game["seconds"] / len(rows) / windows)
    return {name: round(sum(values) / len(values), 4) for name, values in spent.items()}


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the table as text."""
    heads = f"{'regret':>7}  {'95 % interval':<16}{'optimum':>8}{'P(> 0.5)':>10}  gain over twin"
    yield f"{'noise':>6}  {'controller':<34}{heads}"
    for row in result["table"]:
        span = "[{regret_low:.2f}, {regret_high:.2f}]".format(**row)
        better = f"{row['gain_probability']:.2f}" if "gain" in row else "-"
        twin = "{twin_gain:+.2f} [{twin_gain_low:+.2f}, {twin_gain_high:+.2f}]" if "twin_gain" in row else ""
        shown = f"{row['regret']:>7.2f}  {span:<16}{row['regret_optimum']:>8.2f}{better:>10}  {twin.format(**row)}"
        yield f"{row['noise']:>6g}  {row['controller']:<34}{shown}"
    if result["alarm"]["trials"]:
        yield "alarm: {positives} of {trials} comparisons significant in the null family".format(**result["alarm"])


def command_line() -> DictConfig:
    """Return the settings of the command line, where YAML reads the family ``null`` as nothing."""
    given = dotlist(sys.argv[1:])
    if OmegaConf.is_list(given.get("families")):
        given.families = [NULL if name is None else name for name in given.families]
    return given


def main() -> None:
    """Read ``key=value`` settings from the command line."""
    config = settings(LeagueConfig, command_line())
    for line in lines(league(config)):
        print(line)


if __name__ == "__main__":
    run_main(main)
