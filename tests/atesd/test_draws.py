import numpy as np
import pytest

from atesd.surrogate import draws


def test_a_draw_depends_on_its_keys_alone():
    alone = [float(draws.uniforms(seed, 7)) for seed in range(5)]
    np.testing.assert_array_equal(draws.uniforms(np.arange(5), 7), alone)
    np.testing.assert_array_equal(draws.uniforms(np.arange(5)[::-1], 7), alone[::-1])


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_keys_are_uncorrelated(axis):
    table = draws.uniforms(np.arange(400)[:, None], np.arange(400))
    first, second = np.moveaxis(table, axis, 0)[:-1].ravel(), np.moveaxis(table, axis, 0)[1:].ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)


def test_uniforms_are_uniform():
    from scipy import stats

    assert stats.kstest(draws.uniforms(np.arange(50_000), 3), "uniform").pvalue > 0.001


def test_normals_are_normal_and_their_pairs_independent():
    from scipy import stats

    first, second = draws.normals(3, np.arange(50_000))
    assert stats.kstest(np.concatenate([first, second]), "norm").pvalue > 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)
