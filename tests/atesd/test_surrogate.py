import json

import numpy as np
import pytest

from atesd.errors import UserError
from atesd.models import SurrogateConfig
from atesd.rewards import ProgressSignal
from atesd.surrogate.law import CHANNELS, FAMILIES, Law, Surrogates, best_fixed, family, optimum
from atesd.training.surrogate_trainer import SurrogateTrainer

SEEDS = np.arange(8)
UPDATES = 120


def final(law: Law, exposures: np.ndarray, seeds: np.ndarray = SEEDS) -> np.ndarray:
    """Teach students with exposures [UPDATES, N or 1] and return their competence."""
    students = Surrogates(law, seeds, len(exposures), noise=0.0)
    for exposure in exposures:
        students.teach(exposure)
    return students.competence


def test_two_updates_by_hand():
    law = Law(start=0.5, rate=0.1, centre=0.5, width=0.2, floor=0.2, inertia=0.5, harm=0.1, memory=0.5)
    students = Surrogates(law, np.array([0]), 10, noise=0.0)
    students.law = law  # without the student's own variation
    students.minds = type(students.minds)(np.array([0.5]), np.zeros(1), np.zeros(1))
    students.teach(0.5)  # fit 1, drive .5, debt .25
    assert students.competence == pytest.approx(1 - 0.5 * 0.95 * np.exp(0.025))
    students.teach(0.5)  # drive .75, debt .375
    assert students.competence == pytest.approx(1 - 0.5 * 0.95 * 0.925 * np.exp(0.0625))


def test_the_fit_by_hand():
    law = Law(centre=0.2, slope=0.5, jump=0.3, width=0.1, band=0.05, floor=0.2)
    assert law.pull(0.4, 0.4, 0.0) == pytest.approx(1.0)
    assert law.pull(0.55, 0.4, 0.0) == pytest.approx(0.2 + 0.8 * np.exp(-0.5))
    assert law.pull(0.7, 0.4, 0.5) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_no_other_policy_passes_the_optimum(name):
    law = FAMILIES[name]
    best = optimum(law.students(SEEDS), UPDATES)
    rng = np.random.default_rng(0)
    for trial in range(25):
        # Constant stretches of random lengths and noise around constants: what a controller might do.
        stretch = int(rng.integers(1, UPDATES))
        exposures = np.repeat(rng.random((UPDATES // stretch + 1, len(SEEDS))), stretch, axis=0)[:UPDATES]
        assert (final(law, exposures) <= best + 1e-4).all(), trial


@pytest.mark.parametrize("name", FAMILIES)
def test_no_local_change_improves_the_best_policy(name):
    from atesd.surrogate.law import base, best_exposure, learn

    law = FAMILIES[name].students(SEEDS)
    minds, chosen = base(law), []
    for update in range(UPDATES):
        chosen.append(best_exposure(law, minds, update, UPDATES))
        minds = learn(law, minds, chosen[-1], update / UPDATES)
    np.testing.assert_allclose(final(FAMILIES[name], np.array(chosen)), optimum(law, UPDATES))
    for update in (0, 59, 60, 90, 119):
        for shift in (-0.1, 0.1):
            changed = np.array(chosen)
            changed[update] = np.clip(changed[update] + shift, 0, 1)
            assert (final(FAMILIES[name], changed) <= 1 - minds.unlearned + 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_best_fixed_exposure_is_the_best_of_a_sweep(name):
    law = FAMILIES[name]
    exposure, competence = best_fixed(law.students(SEEDS), UPDATES)
    sweep = np.array([final(law, np.full((UPDATES, 1), level)) for level in np.linspace(0, 1, 41)])
    np.testing.assert_allclose(final(law, np.tile(exposure, (UPDATES, 1))), competence)
    assert (sweep.max(axis=0) <= competence + 1e-12).all()
    assert (competence <= optimum(law.students(SEEDS), UPDATES) + 1e-12).all()


def test_adapting_pays_where_the_best_exposure_moves_and_nowhere_else():
    gain = {}
    for name, law in FAMILIES.items():
        students = law.students(np.arange(50))
        gain[name] = float(np.mean(optimum(students, UPDATES) - best_fixed(students, UPDATES)[1]))
    assert min(gain[name] for name in ("rising", "falling", "switch")) > 0.01
    assert max(gain[name] for name in ("static", "plateau", "delayed", "noisy", "null")) < 1e-4


def test_null_ignores_exposure():
    law = FAMILIES["null"]
    np.testing.assert_array_equal(final(law, np.zeros((UPDATES, 1))), final(law, np.ones((UPDATES, 1))))


def test_deceptive_pays_at_once_and_costs_later():
    law = FAMILIES["deceptive"]
    start = law.students(SEEDS).start
    once = [final(law, np.full((1, 1), level)) for level in (0.3, 0.9)]
    assert (once[1] > once[0]).all()
    assert (once[1] > start).all()
    long = [final(law, np.full((UPDATES, 1), level)) for level in (0.3, 0.9)]
    assert (long[0] > long[1] + 0.05).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_competence_stays_inside_its_range(name):
    for level in (0.0, 1.0):
        competence = final(FAMILIES[name], np.full((UPDATES, 1), level), np.arange(500))
        assert competence.min() > 0
        assert competence.max() < 1


def test_delayed_gains_come_late():
    steady, late = (final(FAMILIES[name], np.full((4, 1), 0.6)) for name in ("static", "delayed"))
    assert (late < steady).all()


def test_noise_is_the_same_for_every_policy_and_another_for_every_seed_and_update():
    def noise_of(exposure: float) -> np.ndarray:
        noisy, clean = (Surrogates(FAMILIES["null"], SEEDS, UPDATES, noise) for noise in (0.01, 0.0))
        return np.array([noisy.teach(exposure)[0] - clean.teach(exposure)[0] for _ in range(50)])

    np.testing.assert_allclose(noise_of(0.2), noise_of(0.9), atol=1e-15)
    values = noise_of(0.5)
    assert len(np.unique(values.round(12))) == values.size
    assert values.std() == pytest.approx(0.01, rel=0.15)


def test_noise_of_a_student_does_not_depend_on_its_cohort():
    together = Surrogates(FAMILIES["rising"], SEEDS, UPDATES, 0.01)
    alone = Surrogates(FAMILIES["rising"], SEEDS[5:6], UPDATES, 0.01)
    for _ in range(5):
        np.testing.assert_allclose(together.teach(0.4)[:, 5:6], alone.teach(0.4), rtol=1e-13)


def test_mismatch_rises_with_exposure():
    students = Surrogates(FAMILIES["static"], SEEDS, UPDATES, 0.0)
    low, high = (students.read(level)[CHANNELS.index("mismatch")] for level in (0.2, 0.8))
    assert (high > low).all()


def trainer(**changes) -> SurrogateTrainer:
    return SurrogateTrainer(**({"family": "delayed", "noise": 0.01, "seed": 3, "updates": 20} | changes))


def test_trainer_and_students_agree():
    one = trainer()
    students = Surrogates(FAMILIES["delayed"], np.array([3]), 20, 0.01)
    first = one.start(0.5)
    assert (first.probe_nll, first.teacher_log_prob) == tuple(students.read(0.5)[[0, 4], 0])
    assert one.update(0.25).reading.mismatch == students.teach(0.25)[2, 0]


def test_trainer_goes_on_bit_for_bit_after_a_load(tmp_path):
    whole = trainer()
    whole.start(0.5)
    for _ in range(7):
        whole.update(0.3)
    whole.save(tmp_path)
    loaded = trainer()
    loaded.load(tmp_path)
    assert [loaded.update(0.8) for _ in range(5)] == [whole.update(0.8) for _ in range(5)]


def test_start_brings_the_base_student_back():
    one = trainer()
    first = one.start(0.5)
    one.update(1.0)
    assert one.start(0.5) == first
    assert one.updates_done == 0


def test_verdicts_follow_competence():
    one = trainer(updates=400)
    one.start(0.5)
    before = [verdict.correct for verdict in one.evaluate(4000)]
    assert np.mean(before) == pytest.approx(one.competence, abs=0.03)
    for _ in range(300):
        one.update(0.6)
    after = [verdict.correct for verdict in one.evaluate(4000)]
    assert np.mean(after) == pytest.approx(one.competence, abs=0.03)
    assert sum(after) > sum(before)
    assert [verdict.correct for verdict in one.evaluate(10)] == after[:10]


def test_export_is_one_small_file(tmp_path):
    trainer().export(tmp_path / "model")
    (path,) = (tmp_path / "model").iterdir()
    assert json.loads(path.read_text())["settings"]["family"] == "delayed"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SurrogateConfig(family="best"), r"model\.family=best is no surrogate family; known: static, rising"),
        (lambda: SurrogateConfig(noise=-1.0), r"model\.noise must be a finite number of 0 or more, got -1\.0"),
        (lambda: family("x", "families"), r"families=x is no surrogate family"),
        (lambda: trainer(signal=ProgressSignal.answer_nll), r"reward\.signal=answer_nll is nothing a surrogate"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_null_family_can_be_named_on_a_command_line_that_reads_null_as_nothing():
    assert SurrogateConfig(family=None).family == "null"


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["0", "nan"])
def test_the_run_plays_a_surrogate_through_the_entry_point(tmp_path, noise):
    import subprocess
    import sys

    command = [sys.executable, "-m", "atesd.run", "controller=linear", "model=surrogate", "train.updates=12"]
    command += [f"model.noise={noise}", f"output_dir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if noise == "nan":
        assert done.returncode == 1
        assert done.stderr.splitlines() == ["error: model.noise must be a finite number of 0 or more, got nan"]
        return
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows] == list(range(1, 13))
    assert [row["exposure/asked"] for row in rows[::4]] == [0.0, 0.5, 1.0]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["complete"]
