"""Compare finished runs: ``python -m atesd.compare RUN… output_dir=…``; a folder of runs stands for all runs below it.

``compare.json`` holds everything: a row per method over its seeds (``methods``), a row per declared contrast
(``contrasts``), the runs left out and why (``excluded``), what the comparison matched, and what to beware of
(``warnings``). ``compare.csv``, ``contrasts.csv`` and ``compare.tex`` hold the tables, ``*.png`` and ``report.html``
show it. Runs that differ in task, evaluation set, budget or code are refused, unless ``--allow-different``. Runs
without an update are of the base model: they are named so (``bases``) and held to no budget.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from atesd.arguments import HELP, dotlist, run_main, settings
from atesd.budget import Budget
from atesd.compare import table as compare_table
from atesd.compare.archive import Finished, collect
from atesd.compare.checkpoint_rule import CheckpointRule, Outcome
from atesd.compare.comparison import LEVEL, Plan, Row, by_method, contrast_rows, method_row, warnings
from atesd.compare.differences import Difference, counted, differences, evaluation_set, sentence
from atesd.compare.pairs import PairedTest
from atesd.errors import UserError
from atesd.folders import claim

# The method that others are measured against where the command names none: the paper's own baseline.
REFERENCE = "opsd"
FLAG = "--allow-different"


@dataclass
class CompareConfig:
    """Settings, all ours.

    Attributes:
        runs: folders of runs, or of folders of runs; the arguments that are no settings.
        output_dir: where the comparison is written; an earlier comparison there is replaced.
        budget: what every run must have spent alike: updates, tokens_generated, tokens_scored, seconds or flops.
        tolerance: how far budgets may lie apart, as a share of the largest.
        checkpoint_rule: which state of each run is judged: last, or best_probe.
        reference: the method others are measured against; opsd where there is one, else the first run's.
        contrasts: pairs of methods as ``a-b``; every other method against the reference where none are declared.
        test: permutation (of signs, exact up to 14 pairs) or t, both on differences paired by seed.
        resamples: of the bootstrap; rliable's number.
        allow_different: compare runs that differ in what they should have in common; the output says in what.
    """

    runs: list[str] = field(default_factory=list)
    output_dir: str = "???"
    budget: Budget = Budget.updates
    tolerance: float = 0.01
    checkpoint_rule: CheckpointRule = CheckpointRule.last
    reference: str = ""
    contrasts: list[str] = field(default_factory=list)
    test: PairedTest = PairedTest.permutation
    resamples: int = 50_000
    allow_different: bool = False

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError("no runs; usage: python -m atesd.compare RUN… output_dir=…")
        if not 0 <= self.tolerance < 1:
            raise UserError(f"tolerance must lie in [0, 1), got {self.tolerance}")
        if self.resamples < 1:
            raise UserError(f"resamples must be at least 1, got {self.resamples}")


def compare(config: CompareConfig, runs: Sequence[Finished], excluded: Sequence[Row]) -> dict[str, Any]:
    """Return the comparison of runs, as ``compare.json`` holds it; those excluded are in it with the reason.

    Raises:
        UserError: no run is complete, the runs differ in what they must share, or a name is no method.
    """
    if not runs:
        raise UserError(f"no complete run to compare: {'; '.join('{run}: {reason}'.format(**row) for row in excluded)}")
    outcomes = [config.checkpoint_rule.outcome(run) for run in runs]
    found = differences(outcomes, config.budget, config.tolerance)
    if found and not config.allow_different:
        raise UserError(f"the runs differ and are not compared: {sentence(found)}; leave some out, or add {FLAG}")
    groups = by_method(outcomes)
    plan = planned(config, list(groups))
    methods = [method_row(name, group, groups[plan.reference], config.resamples) for name, group in groups.items()]
    contrasts = contrast_rows(groups, plan)
    return {
        "settings": OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True),
        **matched(config, outcomes),
        "reference": plan.reference,
        "level": LEVEL,
        "methods": sorted(methods, key=lambda row: -float(row["mean"])),
        "contrasts": contrasts,
        "excluded": list(excluded),
        "differences": found,
        "warnings": _different(found) + warnings(groups, contrasts, plan),
    }


def planned(config: CompareConfig, names: Sequence[str]) -> Plan:
    """Return reference and contrasts.

    Raises:
        UserError: the settings name what is no method.
    """
    reference = config.reference or (REFERENCE if REFERENCE in names else names[0])
    if reference not in names:
        raise UserError(f"reference={reference} is no method here; there are: {', '.join(names)}")
    default = [(name, reference) for name in names if name != reference]
    declared = [split(contrast, names) for contrast in config.contrasts]
    for place, pair in enumerate(declared):
        if set(pair) in map(set, declared[:place]):
            raise UserError(
                f"contrasts={config.contrasts[place]} is declared twice, and each declared contrast makes the "
                "correction stricter; leave one out"
            )
    return Plan(reference, declared or default, config.test, config.resamples)


def split(contrast: str, names: Sequence[str]) -> tuple[str, str]:
    """Return the two methods of a contrast ``a-b``, whose own names may have dashes.

    Raises:
        UserError: it is not made of two different methods.
    """
    cuts = [place for place, letter in enumerate(contrast) if letter == "-"]
    sides = [(contrast[:cut].strip(), contrast[cut + 1 :].strip()) for cut in cuts]
    found = [(one, other) for one, other in sides if one in names and other in names and one != other]
    if len(found) != 1:
        raise UserError(f"contrasts={contrast} is not two methods as a-b; there are: {', '.join(names)}")
    return found[0]


def matched(config: CompareConfig, outcomes: Sequence[Outcome]) -> Row:
    """Return what the runs have, or should have, in common."""
    spent = [counted(outcome, config.budget) for outcome in outcomes if outcome.run.trained] or [0]
    return {
        "budget": {"matched": config.budget.name, "tolerance": config.tolerance, "low": min(spent), "high": max(spent)},
        "bases": sorted({outcome.run.name for outcome in outcomes if not outcome.run.trained}),
        "checkpoint_rule": config.checkpoint_rule.name,
        "task": sorted({outcome.run.task for outcome in outcomes}),
        "evaluation_set": sorted({evaluation_set(outcome) for outcome in outcomes}),
        "commit": sorted({outcome.run.commit for outcome in outcomes}),
    }


def _different(found: Sequence[Difference]) -> list[str]:
    return [f"compared all the same ({FLAG}): {sentence([each])}" for each in found]


def write(result: dict[str, Any], runs: Sequence[Finished], folder: Path) -> None:
    """Write ``compare.json``, ``compare.csv``, ``contrasts.csv``, ``compare.tex``, figures and ``report.html``.

    Raises:
        UserError: the folder holds something that is no comparison.
    """
    claim(folder, "compare.json")
    (folder / "compare.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    (folder / "compare.csv").write_text(compare_table.csv_text(result))
    (folder / "contrasts.csv").write_text(compare_table.contrasts_csv(result))
    (folder / "compare.tex").write_text(compare_table.latex(result))
    from atesd.compare import figures as compare_figures
    from atesd.compare import page as compare_page

    compare_figures.draw(result, folder)
    compare_page.write(result, runs, folder / "report.html")


def command_line(arguments: Sequence[str]) -> CompareConfig:
    """Return the settings of a command line: ``key=value`` for the known keys, paths for the rest.

    A path may hold ``=`` itself, as ``outputs/controller=ucb1/seed=0`` does.
    """
    keys = {each.name for each in fields(CompareConfig)} - {"runs"}
    given = [argument for argument in arguments if argument.partition("=")[0] in keys]
    paths = [argument for argument in arguments if argument not in (*given, FLAG, *HELP)]
    for path in paths:
        if not Path(path).is_dir():
            raise UserError(f"{path} is neither a folder nor a setting; settings: {', '.join(sorted(keys))}, {FLAG}")
    chosen = dotlist(given)
    chosen.merge_with({key: True for key in HELP if key in arguments})
    chosen.merge_with({"runs": paths} | ({"allow_different": True} if FLAG in arguments else {}))
    return settings(CompareConfig, chosen)


def main() -> None:
    """Compare the runs of the command line."""
    config = command_line(sys.argv[1:])
    runs, excluded = collect([Path(run) for run in config.runs])
    result = compare(config, runs, excluded)
    write(result, runs, Path(config.output_dir))
    for line in compare_table.lines(result):
        print(line)
    print(f"written to {config.output_dir}")


if __name__ == "__main__":
    run_main(main)
