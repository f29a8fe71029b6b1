"""Whole runs of the tiny student: what they leave behind, and which of them must be the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atesd.config import RunConfig
from atesd.run import play
from baselines.none import NoneConfig
from baselines.opsd import OpsdConfig
from controllers.fixed import FixedConfig
from controllers.uniform import UniformConfig

Settings = Callable[..., RunConfig]


def rows(folder: Path, log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / log).read_text().splitlines()]


def untimed(folder: Path, log: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows(folder, log)]


def test_opsd_is_the_fixed_controller_at_full_exposure_bit_for_bit(settings: Settings, tmp_path: Path) -> None:
    opsd, fixed = tmp_path / "opsd", tmp_path / "fixed"
    play(settings(output_dir=str(opsd), baseline=OpsdConfig(name="opsd")), "seed: 0\n")
    play(settings(output_dir=str(fixed), controller=FixedConfig(name="fixed", exposure=1.0)), "seed: 0\n")
    for log in ("metrics.jsonl", "decisions.jsonl", "evaluations.jsonl"):
        assert untimed(opsd, log) == untimed(fixed, log)
    assert len(rows(opsd, "metrics.jsonl")) == 4
    students = [(folder / "model" / "model.safetensors").read_bytes() for folder in (opsd, fixed)]
    assert students[0] == students[1] != (tmp_path / "base" / "model.safetensors").read_bytes()


def test_the_files_of_a_run_agree_with_each_other(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = play(settings(output_dir=str(folder), controller=UniformConfig(name="uniform")), "seed: 0\n")
    metrics, decisions = rows(folder, "metrics.jsonl"), rows(folder, "decisions.jsonl")
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["complete"] is True
    assert [row["update"] for row in metrics] == [1, 2, 3, 4]
    assert [(row["decision"], row["update"]) for row in decisions] == [(0, 0), (1, 2)]
    assert [row["exposure/asked"] for row in metrics] == [decisions[n // 2]["exposure"] for n in range(4)]
    assert all(row["exposure/realised"] <= row["exposure/asked"] + 1e-6 for row in metrics)
    signal = [row["probe/progress_signal"] for row in metrics]
    scores = [row["teacher/reference_log_prob_nats_per_token"] for row in metrics]
    late = decisions[1]  # its two updates are the third and the fourth
    progress = max(0.0, signal[1] - signal[2]) + 0.9 * max(0.0, signal[2] - signal[3])
    grounded = (scores[2] + 0.9 * scores[3]) / 1.9
    assert late["reward"] == pytest.approx(progress + 0.1 * grounded, abs=1e-12)
    assert late["matured_at"] == 4
    evaluations = rows(folder, "evaluations.jsonl")
    assert [row["update"] for row in evaluations] == [0, 2, 4]
    assert (summary["accuracy/before"], summary["accuracy/after"]) == (evaluations[0]["mean"], evaluations[-1]["mean"])
    assert summary["total/tokens/generated"] == sum(row["tokens/generated"] for row in metrics)
    assert {path.name for path in (folder / "figures").iterdir()} >= {"progress.png", "exposure.png", "mismatch.png"}


def test_the_base_model_is_evaluated_and_not_trained(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = play(settings(output_dir=str(folder), baseline=NoneConfig(name="none")), "seed: 0\n")
    assert (summary["complete"], summary["updates"]) == (True, 0)
    assert summary["accuracy/before"] == summary["accuracy/after"]
    assert (folder / "model" / "model.safetensors").read_bytes() == (
        tmp_path / "base" / "model.safetensors"
    ).read_bytes()
