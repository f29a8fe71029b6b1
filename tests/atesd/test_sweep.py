"""Sweeps: a failed run is named and the others go on, in this process and in others."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf

from atesd.errors import UserError
from atesd.sweep import NameFailures

Python = Callable[..., "subprocess.CompletedProcess[str]"]
TINY = ("model=surrogate", "controller=uniform", "tracker=none", "eval.problems=5", "eval.final_problems=5")
TINY += ("train.updates=8", "output_dir=runs/${seed}")


def sweep(python: Python, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "atesd.run", "-m", *TINY, *arguments)


def complete(folder: Path) -> bool:
    return bool(json.loads((folder / "summary.json").read_text())["complete"])


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_others_go_on(python: Python, tmp_path: Path) -> None:
    done = sweep(python, "seed=-1,0")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: runs/-1: seed must be 0 or more, got -1",
        "error: 1 of 2 runs failed: runs/-1; the same command plays them again",
    ]
    assert complete(tmp_path / "runs/0")


@pytest.mark.slow
def test_a_finished_run_is_not_run_again_and_one_of_other_settings_has_failed(python: Python, tmp_path: Path) -> None:
    assert sweep(python, "seed=0").returncode == 0
    before = (tmp_path / "runs/0/summary.json").read_bytes()
    again = sweep(python, "seed=0")
    assert (again.returncode, again.stdout) == (0, "runs/0 is complete: nothing to do\n")
    other = sweep(python, "seed=0", "env.hold_window=2")
    assert other.stderr.splitlines()[-1].startswith("error: 1 of 1 runs failed: runs/0;")
    assert (tmp_path / "runs/0/summary.json").read_bytes() == before


def test_a_damaged_folder_does_not_pass_for_success(python: Python, tmp_path: Path) -> None:
    (tmp_path / "runs/0").mkdir(parents=True)
    (tmp_path / "runs/0/config.yaml").write_text("seed: 0\n")
    (tmp_path / "runs/0/summary.json").write_text('{"comp')
    done = sweep(python, "seed=0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: a folder of the sweep cannot be read: ")


def test_every_process_has_folder_and_command_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "atesd.run"])
    carried = pickle.dumps(NameFailures())
    started = Path.cwd()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", ["python", "worker.py"])
    pickle.loads(carried).on_job_start(OmegaConf.create())
    assert (Path.cwd(), sys.orig_argv) == (started, ["python", "-m", "atesd.run"])


@pytest.mark.parametrize(("error", "lines"), [(UserError("no"), 1), (RuntimeError("no"), 3)])
def test_a_failure_is_said_where_it_happens(error: Exception, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    def end(mode: RunMode) -> JobReturn:
        done = JobReturn(status=JobStatus.FAILED)
        done.return_value = error
        config: Any = OmegaConf.create({"output_dir": "runs/0", "hydra": {"mode": mode}})
        NameFailures().on_job_end(config, done)
        return done

    assert end(RunMode.RUN).status is JobStatus.FAILED
    assert capsys.readouterr().err == ""
    assert end(RunMode.MULTIRUN).return_value is None
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "error: runs/0: no"
    assert len(said) <= lines


@pytest.mark.parametrize(("launch", "plugin"), [("ray", "hydra_ray_launcher"), ("slurm", "hydra_submitit_launcher")])
def test_a_missing_extra_is_named(launch: str, plugin: str, python: Python) -> None:
    if find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{plugin}"):
        pytest.skip(f"the extra {launch} is installed")
    done = sweep(python, f"launch={launch}", "seed=0")
    assert done.returncode == 1
    assert f"'.[{launch}]'" in done.stderr


def played_elsewhere(python: Python, folder: Path, *launch: str) -> None:
    """Play a sweep of three runs, one of which fails, in other processes, and start it again."""
    done = sweep(python, *launch, "seed=0,-1,1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: 1 of 3 runs failed: runs/-1;"), done.stderr
    for seed in ("0", "1"):
        summary = json.loads((folder / "runs" / seed / "summary.json").read_text())
        assert summary["complete"]
        assert summary["command"].startswith("python -m atesd.run -m model=surrogate")
    before = (folder / "runs/0/summary.json").read_bytes()
    assert sweep(python, *launch, "seed=0,1").returncode == 0
    assert (folder / "runs/0/summary.json").read_bytes() == before


@pytest.mark.ray
@pytest.mark.slow
def test_ray_plays_runs_in_its_workers(python: Python, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs the extra ray")
    played_elsewhere(python, tmp_path, "launch=ray")


@pytest.mark.slurm
@pytest.mark.slow
def test_submitit_plays_runs_in_its_jobs(python: Python, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    played_elsewhere(python, tmp_path, "launch=slurm", "hydra/launcher=submitit_local")
    assert list((tmp_path / "outputs/.slurm").iterdir())


@pytest.mark.slurm
def test_a_slurm_job_has_one_core_and_a_limit(python: Python) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    done = python("-m", "atesd.run", "launch=slurm", "--cfg", "hydra")
    launcher = OmegaConf.create(done.stdout).hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.cpus_per_task, launcher.timeout_min) == (1, 240)
