"""ALP-GMM: its density, and where it samples."""

import numpy as np
import pytest

from atesd.interfaces import Setting
from controllers.alp_gmm import AlpGmmConfig, Component, fitted

NOTHING = np.zeros(6, np.float32)


@pytest.mark.parametrize("component", [Component(1.0, 0.5, 0.1), Component(1.0, 0.95, 0.2), Component(1.0, 0.0, 0.05)])
def test_a_component_is_a_density_over_the_unit_interval_and_draws_follow_it(component: Component) -> None:
    grid = np.linspace(0, 1, 20_001)
    density = np.array([component.density(exposure) for exposure in grid])
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-4)
    median = component.draw(0.5)
    assert np.trapezoid(density[grid <= median], grid[grid <= median]) == pytest.approx(0.5, abs=2e-3)


def test_fit_gives_the_exposures_that_progress_the_larger_share() -> None:
    generator = np.random.default_rng(0)
    still, moving = generator.normal(0.2, 0.02, 12), generator.normal(0.8, 0.02, 12)
    earned = np.column_stack([np.concatenate([still, moving]), np.concatenate([np.full(12, 0.01), np.full(12, -1.0)])])
    components = fitted(earned, 3, random_state=0)
    assert sum(c.share for c in components) == pytest.approx(1.0)
    assert sum(c.share for c in components if c.mean > 0.5) > 0.95


def test_choices_move_to_where_progress_is() -> None:
    controller = AlpGmmConfig(name="alp_gmm").build(Setting(0, 200, 6, 4))
    exposures = []
    for decision in range(200):
        exposures.append(controller.act(NOTHING, decision).exposure)
        controller.learn(decision, float(np.exp(-(((exposures[-1] - 0.7) / 0.1) ** 2))))
    assert np.mean(np.abs(np.array(exposures[100:]) - 0.7) < 0.2) > 0.65  # uniform choices alone: 0.4


def test_rewards_that_are_all_zero_still_make_a_mixture() -> None:
    components = fitted(np.column_stack([np.linspace(0, 1, 8), np.zeros(8)]), 3, random_state=0)
    assert sum(c.share for c in components) == pytest.approx(1.0)
