"""Folders of finished runs, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

PROBLEMS = [f"p{number}" for number in range(10)]
UPDATES = 4


def write_run(
    folder: Path,
    right: list[list[int]],
    seed: int = 0,
    method: str = "fixed",
    exposure: float = 0.5,
    nll: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1),
    settings: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
) -> Path:
    """Write a complete run of 4 updates, evaluated on 4 problems after update 2 and on 10 before and after training.

    Args:
        right: numbers of the problems answered right in each of the three evaluations.
        nll: probe NLL after each update.
        settings, summary: changes to either file; a dotted key reaches into a section.
    """
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"seed": seed, "output_dir": str(folder), "model": {"name": "tiny"}, "baseline": None}
    config |= {"data": {"name": "arithmetic"}, "controller": {"name": method, "exposure": exposure}}
    config |= {"train": {"updates": UPDATES, "learning_rate": 0.001}, "eval": {"every": 2}, "tracker": {"name": "none"}}
    config |= {"env": {"hold_window": 4, "groups": 1}}
    for key, value in (settings or {}).items():
        section, _, name = key.partition(".")
        config[section] = config.get(section, {}) | {name: value} if name else value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = [{"update": number, "probe/nll_nats_per_token": value} for number, value in enumerate(nll, 1)]
    write_rows(folder / "metrics.jsonl", rows)
    write_rows(
        folder / "decisions.jsonl", [{"decision": 0, "update": 0, "group": 0, "exposure": exposure, "reward": None}]
    )
    evaluations = [evaluation(update, numbers) for update, numbers in zip((0, 2, 4), right, strict=True)]
    write_rows(folder / "evaluations.jsonl", [found for found, _ in evaluations])
    write_rows(folder / "verdicts.jsonl", [verdicts for _, verdicts in evaluations])
    made: dict[str, Any] = {"complete": True, "updates": UPDATES, "method": method, "seed": seed, "commit": "abc"}
    made |= {
        "seconds": {"rollout": 8.0, "total": 8.0},
        "versions": {},
        "hardware": {},
        "command": "python -m atesd.run",
    }
    made |= {"total/tokens/generated": 1000, "total/tokens/scored": 2000, "total/seconds": 8.0, "total/flops": 10**9}
    (folder / "summary.json").write_text(json.dumps(made | (summary or {})))
    return folder


def evaluation(update: int, right: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = PROBLEMS[:4] if update == 2 else PROBLEMS
    correct = [PROBLEMS[number] for number in right]
    mean = len(correct) / len(asked)
    found = {"update": update, "mean": mean, "low": 0.0, "high": 1.0, "problems": len(asked)}
    found["by_difficulty"] = {"1": {"mean": mean, "low": 0.0, "high": 1.0, "problems": len(asked)}}
    return found, {"update": update, "right": correct, "wrong": [name for name in asked if name not in correct]}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
