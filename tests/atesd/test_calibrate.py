from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

import atesd.run
from atesd.calibrate import __main__ as calibrate
from atesd.calibrate import candidates, recordings
from atesd.calibrate.calibration import Sweep, calibrated
from atesd.calibrate.fit import Target, competence, fit
from atesd.calibrate.probe_noise import jitter, probe_noise
from atesd.calibrate.recordings import Recording
from atesd.config import EvalConfig, RunConfig, TrainConfig
from atesd.errors import UserError
from atesd.models import SurrogateConfig
from atesd.registry import config_of
from atesd.surrogate.law import Law, family

# Students that do not differ, so that a fit can be held against the constants.
TRUTH = Law(start=0.4, rate=0.02, centre=0.55, width=0.2, floor=0.2, spread=0.0)
NOISE = 0.02
EXPOSURES = (0.0, 0.25, 0.5, 0.75, 1.0)
FLAT = {"reward.lookahead": 8}


def record(folder: Path, truth: Path, controller: str, seed: int, **settings: Any) -> Path:
    """Play a run of the surrogate whose law stands in a file, and return its folder."""
    run = RunConfig(
        seed=seed,
        output_dir=str(folder),
        model=SurrogateConfig(name="surrogate", family=str(truth), noise=NOISE),
        controller=config_of("controller", controller)(name=controller, **settings),
        data=config_of("data", "arithmetic")(name="arithmetic"),
        rollout=config_of("rollout", "hf")(name="hf"),
        deepspeed=config_of("deepspeed", "zero0")(name="zero0"),
        train=TrainConfig(updates=80),
        eval=EvalConfig(every=10, problems=4000, final_problems=4000),
    )
    atesd.run.play(run, OmegaConf.to_yaml(OmegaConf.structured(run)))
    return folder


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("truth") / "calibration.json"
    path.write_text(json.dumps({"law": asdict(TRUTH)}))
    return path


@pytest.fixture(scope="module")
def runs(truth: Path) -> list[Path]:
    """Return a sweep of five exposures, recorded as any user would."""
    return [
        record(truth.parent / f"exposure={exposure:g}" / "seed=0", truth, "fixed", 0, exposure=exposure)
        for exposure in EXPOSURES
    ]


@pytest.fixture(scope="module")
def moved(truth: Path) -> Path:
    return record(truth.parent / "moved", truth, "linear", 0)


def exact(law: Law, policies: dict[str, np.ndarray], seeds: int = 1) -> list[Recording]:
    """Return recordings without any error of students under a law; the probe is .01 + .2 of what is left to learn."""
    found = []
    for policy, exposures in policies.items():
        curve = competence(law, exposures[:, None])[:, 0]
        updates = np.arange(0, len(curve), 10)
        for seed in range(seeds):
            where, counts = Path(policy, str(seed)), np.full(len(updates), 2000.0)
            probe = 0.01 + 0.2 * (1 - curve[1:])
            found.append(Recording(where, policy, seed, exposures, updates, curve[updates], counts, probe, FLAT, "-"))
    return found


def held(*exposures: float) -> dict[str, np.ndarray]:
    return {f"{exposure:g}": np.full(80, exposure) for exposure in exposures}


def test_a_recorded_sweep_gives_its_constants_back(runs: list[Path], tmp_path: Path) -> None:
    config = calibrate.CalibrateConfig(str(tmp_path / "out"), families=["static"])
    result = calibrate.calibrate(config, runs)
    assert result["family"] == "static"
    tolerance = {"start": 0.02, "rate": 0.002, "centre": 0.02, "width": 0.03, "floor": 0.06}
    for name, error in tolerance.items():
        found = result["constants"][name]
        assert found["value"] == pytest.approx(getattr(TRUTH, name), abs=error), name
        assert (found["low"], found["bound"]) == (None, None)
    # All runs of a seed share their draws, so this is the noise of 80 readings.
    assert result["probe"]["noise"] == pytest.approx(NOISE, rel=0.2)
    assert result["probe"]["noise_adjacent"] == pytest.approx(NOISE, rel=0.2)
    assert result["probe"]["scale"] == pytest.approx(1.0, abs=0.05)
    assert result["rank_correlation"]["fitted"]["value"] == pytest.approx(1.0)
    assert result["best_exposure"]["sweep"] == "0.5"
    assert result["best_exposure"]["law"]["value"] == pytest.approx(0.55, abs=0.02)
    assert [row["policy"] for row in result["policies"]] == ["0", "0.25", "0.5", "0.75", "1"]
    assert all(row["fitted"] == pytest.approx(row["measured"], abs=0.02) for row in result["policies"])
    assert (tmp_path / "out" / "calibration.png").stat().st_size > 10_000
    assert asdict(family(str(tmp_path / "out" / "calibration.json"))) == result["law"]
    with pytest.raises(UserError, match=r"holds a calibration\.json; choose another or remove it"):
        calibrate.CalibrateConfig(str(tmp_path / "out"))


def test_a_run_of_a_controller_joins_the_fit_as_a_policy_of_its_own(runs: list[Path], moved: Path) -> None:
    found = recordings.sweep([moved, *runs])
    assert [one.policy for one in found][-1] == "linear"
    assert found[-1].exposures[0] == 0.0
    assert found[-1].exposures[-1] == 1.0
    over = Sweep(found)
    assert over.predicted(fit("static", over.target))[-1] == pytest.approx(over.measured()[-1], abs=0.02)


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("null", Law(start=0.3, rate=0.01, floor=1.0)),
        ("rising", Law(centre=0.2, slope=0.8)),
        ("switch", Law(centre=0.25, jump=0.5)),
        ("plateau", Law(centre=0.5, band=0.15, width=0.15)),
        ("deceptive", Law(start=0.45, rate=0.006, centre=0.9, width=0.4, harm=0.0004, memory=0.9)),
        ("delayed", Law(inertia=0.9)),
    ],
)
def test_every_family_is_found_in_its_own_data(name: str, law: Law) -> None:
    policies = held(*np.linspace(0, 1, 9)) | {"linear": np.linspace(0, 1, 80)}
    truth = exact(replace(law, spread=0.0), policies)
    found = fit(name, Target(truth))
    predicted = competence(found.law, np.stack([one.exposures for one in truth], axis=1))[-1]
    np.testing.assert_allclose(predicted, [one.accuracies[-1] for one in truth], atol=2e-3)
    for constant in candidates.FREE[name]:
        assert getattr(found.law, constant) == pytest.approx(getattr(law, constant), abs=0.02), constant


@pytest.mark.slow
def test_the_family_that_made_the_data_predicts_what_it_has_not_seen() -> None:
    over = Sweep(exact(Law(start=0.5, rate=0.006, centre=0.7, width=0.4, harm=0.004, spread=0.0), held(*EXPOSURES)))
    errors = {name: calibrated(name, over).held_out_error() for name in ("null", "deceptive")}
    assert min(errors, key=lambda name: errors[name]) == "deceptive"
    assert errors["deceptive"] < 1 < errors["null"]


def test_held_out_predictions_come_from_fits_without_the_policy() -> None:
    truth = exact(replace(TRUTH, spread=0.0), held(0.0, 0.5, 1.0))
    odd = truth[1]
    truth[1] = replace(odd, accuracies=odd.accuracies * 0.5)
    found = calibrated("null", Sweep(truth))
    assert found.held_out_predictions()[1] == pytest.approx(truth[0].accuracies[-1], abs=0.03)
    assert found.held_out_predictions()[0] < truth[0].accuracies[-1] - 0.03


def test_a_weight_counts_a_run_as_often_as_repeating_it() -> None:
    one, two = exact(TRUTH, held(0.2, 0.8))
    twice, repeated = Target([one, two], [2, 1]), Target([one, one, two])
    law = Law(start=0.45, spread=0.0)
    assert np.square(twice.residuals(law)).sum() == pytest.approx(np.square(repeated.residuals(law)).sum())


def test_a_batch_of_laws_is_its_laws_one_by_one() -> None:
    exposures = np.tile([0.1, 0.9], (20, 1))
    values = np.array([[0.3, 0.01, 0.4, 0.3, 0.2, 0.001, 0.5], [0.4, 0.02, 0.6, 0.2, 0.1, 0.0, 0.0]])
    batch = competence(candidates.law("deceptive", values), exposures)
    for row, each in zip(batch, values, strict=True):
        np.testing.assert_allclose(row, competence(candidates.law("deceptive", each), exposures), rtol=1e-12)


def test_white_noise_is_found_at_any_distance_and_a_slope_is_none() -> None:
    curve = np.linspace(0, 5, 4000)
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    assert jitter(curve + noise) == pytest.approx(0.1, rel=0.05)
    assert jitter(curve + noise, 8) == pytest.approx(0.1, rel=0.05)
    assert jitter(curve, 8) == pytest.approx(0, abs=1e-12)


def test_a_probe_that_says_the_opposite_has_no_noise_in_shares() -> None:
    left = np.linspace(0.6, 0.3, 20)[:, None]
    found = probe_noise(1 - left, left, np.ones(1, np.int64), 2)
    assert found["scale"] == pytest.approx(-1)
    assert (found["noise"], found["misfit"]) == (None, None)
    still = probe_noise(np.ones((20, 1)), left, np.ones(1, np.int64), 2)
    assert still["scale"] is None


def test_intervals_are_as_wide_as_runs_of_a_policy_differ(tmp_path: Path) -> None:
    def start(worse: float) -> dict[str, Any]:
        runs = exact(replace(TRUTH, floor=1.0), held(0.0, 0.5, 1.0), seeds=2)
        runs[1::2] = [replace(run, accuracies=run.accuracies - worse) for run in runs[1::2]]
        best = calibrated("null", Sweep(runs))
        config = calibrate.CalibrateConfig(str(tmp_path), resamples=20)
        return calibrate.constants(best, calibrate.resamples(config, best))["start"]

    alike, apart = start(0.0), start(0.1)
    assert alike["high"] - alike["low"] < 1e-4
    assert apart["low"] < apart["value"] - 0.01 < apart["high"] - 0.02


def test_one_run_per_policy_has_no_interval(tmp_path: Path) -> None:
    best = calibrated("null", Sweep(exact(TRUTH, held(0.0, 0.5, 1.0))))
    assert calibrate.resamples(calibrate.CalibrateConfig(str(tmp_path)), best) == []


def damaged(run: Path, folder: Path, file: str, change: Callable[[str], str]) -> Path:
    """Return a copy of a run with one file changed."""
    shutil.copytree(run, folder)
    (folder / file).write_text(change((folder / file).read_text()))
    return folder


def test_runs_that_make_no_sweep_are_refused(runs: list[Path], tmp_path: Path) -> None:
    def refused(*folders: Path) -> str:
        with pytest.raises(UserError) as error:
            recordings.sweep(folders)
        assert "\n" not in str(error.value)
        return str(error.value)

    going = damaged(runs[0], tmp_path / "going", "summary.json", lambda text: '{"complete": false}')
    assert "going holds no complete run" in refused(going)
    assert "nowhere holds no complete run" in refused(tmp_path / "nowhere")
    batch = ("batch_size: 32\n  micro", "batch_size: 31\n  micro")
    other = damaged(runs[1], tmp_path / "other", "config.yaml", lambda text: text.replace(*batch))
    assert "other has train.batch_size=31, but" in refused(*runs, other)
    baseline = damaged(
        runs[0], tmp_path / "baseline", "config.yaml", lambda t: t.replace("baseline: null", "baseline: {name: opsd}")
    )
    assert "played baseline=opsd" in refused(baseline)
    copy = damaged(runs[0], tmp_path / "copy", "config.yaml", lambda text: text)
    assert "copy has the policy 0 and seed 0, as has" in refused(*runs, copy)
    assert "the runs hold 2 exposures (0, 0.25), and a fit needs at least 3" in refused(*runs[:2])
    broken = damaged(
        runs[0], tmp_path / "nan", "metrics.jsonl", lambda text: text.replace('ken": 0.', 'ken": NaN, "x": 0.')
    )
    assert "lacks a finite probe reading" in refused(broken)
    early = damaged(runs[0], tmp_path / "early", "evaluations.jsonl", lambda text: text.partition("\n")[0] + "\n")
    assert "or an evaluation before or after training" in refused(early)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["families=[best]"], r"families=\['best'\] must name some of null, static"),
        (["resamples=5"], "resamples must be at least 20, got 5"),
        (["resample=50"], "resample"),
        ([], "no runs given; add folders"),
        (["exposure=0/seed=0"], "exposure is no setting; settings: output_dir"),
    ],
)
def test_settings_that_are_refused(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["calibrate", f"output_dir={tmp_path / 'new'}", *words])
    with pytest.raises(UserError, match=message):
        calibrate.main()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no law with numbers for start, rate"),
        ("{}", "holds no law"),
        ('{"law": {"start": 0.3}}', "holds no law"),
        ("no json", "holds no law"),
        (json.dumps({"law": asdict(TRUTH) | {"rate": float("nan")}}), "constants that are not finite"),
    ],
)
def test_a_file_that_holds_no_law_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        SurrogateConfig(family=str(path))


@pytest.mark.slow
def test_the_command_fits_and_the_run_and_the_league_play_on_it(
    runs: list[Path], python: Callable[..., Any], tmp_path: Path
) -> None:
    words = [str(run) for run in runs]
    # One run twice, once by the folder that holds its seeds: a run counts once.
    done = python("-m", "atesd.calibrate", *words, str(runs[0].parent), "families=[null]", "output_dir=fit")
    assert done.returncode == 0, done.stderr
    assert "null" in done.stdout
    assert "rank correlation with the sweep, fitted" in done.stdout
    assert json.loads((tmp_path / "fit" / "calibration.json").read_text())["policies"][0]["runs"] == 1
    mixed = python("-m", "atesd.calibrate", words[0], "output_dir=other")
    assert mixed.returncode == 1
    assert mixed.stderr.splitlines()[-1].startswith("error: the runs hold 1 exposures")
    model = ["model=surrogate", "model.family=fit/calibration.json", "train.updates=12"]
    played = python("-m", "atesd.run", "controller=ucb1", *model, "output_dir=run")
    assert played.returncode == 0, played.stderr
    league = ["controllers=[full]", "families=[fit/calibration.json]", "noise=[0.01]", "seeds=6", "updates=12"]
    tabled = python("-m", "atesd.league", *league, "workers=1", "output_dir=league")
    assert tabled.returncode == 0, tabled.stderr
    rows = json.loads((tmp_path / "league" / "league.json").read_text())["rows"]
    assert {row["family"] for row in rows} == {"fit/calibration.json"}
    assert len({row["best_fixed"] for row in rows}) == 1  # one task, one student
