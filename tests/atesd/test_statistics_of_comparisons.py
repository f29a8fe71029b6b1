import numpy as np
import pytest

from atesd.statistics import (
    holm,
    iqm,
    mean,
    paired_p_values,
    probability_of_improvement,
    rliable_picks,
    stratified_bootstrap,
)


def test_iqm_drops_whole_values_at_both_ends():
    from scipy import stats

    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 4, 7, 8, 50):
        values = rng.standard_normal((3, size))
        np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25, axis=-1))
    assert float(iqm([1.0, 2.0, 3.0])) == 2.0


def test_iqm_leaves_its_argument_alone():
    values = np.array([3.0, 1.0, 2.0, 9.0])
    iqm(values)
    assert values.tolist() == [3.0, 1.0, 2.0, 9.0]


def test_ties_count_half():
    assert float(probability_of_improvement([0.0, 0.0])) == 0.5
    assert probability_of_improvement([[1.0, 2.0], [-1.0, 3.0]]).tolist() == [1.0, 0.5]


def test_bootstrap_keeps_to_its_strata():
    # Between the strata all the variance, within them none: only a bootstrap that mixes strata has a width.
    assert stratified_bootstrap([[0.0] * 9, [10.0] * 9], mean) == (5.0, 5.0)


def test_bootstrap_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(1).standard_normal((4, 100))
    low, high = stratified_bootstrap(values, mean)
    spread = 1.96 * np.sqrt(values.var(axis=1).mean() / 400)
    assert low == pytest.approx(values.mean() - spread, abs=0.012)
    assert high == pytest.approx(values.mean() + spread, abs=0.012)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    intervals = [stratified_bootstrap(rng.standard_normal((2, 30)), mean, resamples=300) for _ in range(300)]
    assert 0.90 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.98


def test_bootstrap_is_a_function_of_its_seed():
    values = np.random.default_rng(3).standard_normal((2, 10))
    assert stratified_bootstrap(values, iqm) == stratified_bootstrap(values, iqm)
    assert stratified_bootstrap(values, iqm) != stratified_bootstrap(values, iqm, seed=1)


def test_paired_test_holds_its_level():
    differences = np.random.default_rng(4).standard_normal((4000, 20))
    assert np.mean(paired_p_values(differences) <= 0.05) == pytest.approx(0.05, abs=0.012)


def test_paired_test_finds_a_shift_and_equals_scipy():
    from scipy import stats

    differences = np.random.default_rng(5).standard_normal((3, 30)) + np.arange(3.0)[:, None]
    found = paired_p_values(differences)
    np.testing.assert_allclose(found, [stats.wilcoxon(row).pvalue for row in differences])
    assert found[0] > 0.05 > found[1]


def test_five_pairs_cannot_be_significant_and_six_can():
    assert paired_p_values([[1.0, 2.0, 3.0, 4.0, 5.0]]).item() == 0.0625
    assert paired_p_values([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]).item() == 0.03125


def test_holm_by_hand():
    assert holm([0.02, 0.5, 0.01]).tolist() == [0.04, 0.5, 0.03]
    assert holm([0.9, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@pytest.mark.rliable
@pytest.mark.parametrize(("runs", "tasks"), [(5, 1), (7, 1), (10, 3)])
def test_interquartile_mean_and_interval_are_those_of_rliable(runs: int, tasks: int):
    library = pytest.importorskip("rliable.library")
    from rliable import metrics

    scores = np.random.default_rng(runs).random((runs, tasks))
    np.random.seed(0)  # rliable draws from the global generator
    points, intervals = library.get_interval_estimates(
        {"ours": scores}, lambda values: np.array([metrics.aggregate_iqm(values)]), reps=2000
    )
    assert float(iqm(scores.ravel())) == pytest.approx(points["ours"][0], abs=1e-6)
    found = stratified_bootstrap(scores.T, iqm, draw=rliable_picks)
    assert found == pytest.approx(intervals["ours"][:, 0].tolist(), abs=1e-6)


def test_the_picks_are_rliables():
    """What rliable 1.2 draws, one resample after the other: ``numpy.random.choice(runs, (runs, tasks))``."""
    np.random.seed(3)
    drawn = [np.random.choice(5, (5, 2), replace=True) for _ in range(4)]
    assert rliable_picks(3, 4, 2, 5).tolist() == [each.T.tolist() for each in drawn]
