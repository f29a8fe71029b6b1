"""A neutral change leaves these numbers alone: whole runs of a closed-form student under the paper's controller.

A change that means to move them says so in CHANGELOG and prints the new ones with ``python -m tests.test_golden``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import atesd.run
from atesd.config import RunConfig
from atesd.models import SurrogateConfig
from atesd.registry import config_of

GOLDEN = Path(__file__).parent / "golden.json"
CONTROLLERS = ("beta_reinforce", "fixed", "gp_ucb", "ucb1", "uniform")


def trace(name: str, folder: Path) -> list[list[float | None]]:
    """Return exposure, log-probability and reward of every decision, to 9 significant digits."""
    run = RunConfig(
        output_dir=str(folder / name),
        model=SurrogateConfig(name="surrogate", family="rising", noise=0.003),
        data=config_of("data", "arithmetic")(name="arithmetic"),
        controller=config_of("controller", name)(name=name),
        rollout=config_of("rollout", "hf")(name="hf"),
        deepspeed=config_of("deepspeed", "zero0")(name="zero0"),
    )
    atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))
    rows = [json.loads(line) for line in (folder / name / "decisions.jsonl").read_text().splitlines()]
    values = [[row["exposure"], row["log_prob"], row["reward"]] for row in rows]
    return [[None if v is None else float(f"{v:.9g}") for v in row] for row in values]


@pytest.mark.parametrize("name", CONTROLLERS)
def test_runs_are_the_golden_ones(name: str, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    found = trace(name, tmp_path)
    assert len(found) == len(golden) == 30
    for row, expected in zip(found, golden, strict=True):
        assert [value is None for value in row] == [value is None for value in expected]
        assert [value or 0.0 for value in row] == pytest.approx([value or 0.0 for value in expected], rel=1e-7)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        traces = {name: trace(name, Path(scratch)) for name in CONTROLLERS}
    GOLDEN.write_text(json.dumps(traces, indent=0) + "\n")
