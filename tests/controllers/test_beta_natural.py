"""The natural-gradient Beta policy: its fit against exact numbers, and what it gains over its own untrained twin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

import controllers  # noqa: F401 (registers them)
from atesd.errors import UserError
from atesd.interfaces import Setting
from atesd.league.rounds import Block, entry, exposures_and_competence, with_twins
from atesd.rewards import RewardConfig
from atesd.statistics import mean, stratified_bootstrap
from atesd.surrogate.law import FAMILIES, NULL
from controllers.beta_natural import START, BetaNatural, BetaNaturalConfig, Values, fisher, natural_gradient

NOTHING = np.zeros(6, np.float32)
FADED = 1e-9
REPEATS, SIZE = 40, 400


def built(**settings: float) -> BetaNatural:
    controller = BetaNaturalConfig(name="beta_natural", **settings).build(Setting(0, 30, 6, 4))
    assert isinstance(controller, BetaNatural)
    return controller


def reward(exposures: Values) -> Values:
    return np.asarray(-((exposures - 0.7) ** 2) + 0.3 * exposures)


def drawn(generator: np.random.Generator, size: int) -> Values:
    return generator.beta(START, START, size)


def test_the_fit_is_the_natural_gradient_of_the_expected_reward() -> None:
    grid, step = np.linspace(1e-6, 1 - 1e-6, 200_001), 1e-4
    expected = {
        (i, sign): np.trapezoid(beta.pdf(grid, *(START + sign * step * np.eye(2)[i])) * reward(grid), grid)
        for i in (0, 1)
        for sign in (-1, 1)
    }
    gradient = np.array([(expected[i, 1] - expected[i, -1]) / (2 * step) for i in (0, 1)])
    exact = np.linalg.solve(fisher(START, START), gradient)

    generator = np.random.default_rng(0)
    draws = [drawn(generator, SIZE) for _ in range(REPEATS)]
    sampled = [natural_gradient(np.arange(SIZE), d, reward(d), FADED) * reward(d).std() for d in draws]
    error = np.std(sampled, axis=0) / REPEATS**0.5
    assert np.all(np.abs(np.mean(sampled, axis=0) - exact) < 3 * error)
    assert np.all(np.abs(exact) > 5 * error), "the gradient is too small for the comparison to mean anything"


def test_level_trend_and_scale_of_the_rewards_do_not_matter() -> None:
    draws, decisions = drawn(np.random.default_rng(1), 20), np.arange(20)
    critic = 2 * np.log(draws) + np.log(1 - draws)
    plain = natural_gradient(decisions, draws, critic, FADED)
    assert plain[0] / plain[1] == pytest.approx(2)
    assert natural_gradient(decisions, draws, 50 - 3.0 * decisions + 7 * critic, FADED) == pytest.approx(plain)


def test_the_prior_counts_as_decisions_that_earned_the_mean() -> None:
    draws, decisions = drawn(np.random.default_rng(2), 40_000), np.arange(40_000)
    halves = [natural_gradient(decisions, draws, reward(draws), prior) for prior in (FADED, 40_000.0)]
    assert halves[1] == pytest.approx(halves[0] / 2, rel=0.02)


def test_the_luck_of_the_draws_costs_half_of_what_it_costs_small_batches() -> None:
    generator, fits, batches = np.random.default_rng(3), [], []
    inverse = np.linalg.inv(fisher(START, START))
    for _ in range(300):
        draws = drawn(generator, 28)
        rewards = reward(draws) - 0.05 * np.arange(28)  # what is left to learn shrinks
        fits.append(natural_gradient(np.arange(28), draws, rewards, FADED))
        scores = np.log(np.column_stack([draws, 1 - draws]))
        fours = rewards.reshape(7, 4)
        advantages = (fours - fours.mean(axis=1, keepdims=True)) / fours.std(axis=1, keepdims=True)
        batches.append(inverse @ (advantages.ravel() @ scores) / 28)
    ratios = [np.linalg.norm(np.mean(each, axis=0)) / np.linalg.norm(np.std(each, axis=0)) for each in (fits, batches)]
    assert ratios[0] > 2 * ratios[1]


def test_nothing_moves_before_four_rewards_or_while_all_are_equal() -> None:
    controller = built()
    for decision in range(12):
        controller.act(NOTHING, decision)
    for decision, earned in enumerate((1.0, -2.0, 5.0)):
        controller.learn(decision, earned)
    assert controller.parameters() == (START, START)
    for decision in range(12):
        controller.learn(decision, 0.25)
    assert controller.parameters() == pytest.approx((START, START), abs=1e-6)


def test_the_order_of_arrival_does_not_matter_and_the_density_stays_unimodal() -> None:
    forth, back = built(learning_rate=5.0), built(learning_rate=5.0)
    exposures = [forth.act(NOTHING, decision).exposure for decision in range(20)]
    assert [back.act(NOTHING, decision).exposure for decision in range(20)] == exposures
    for decision in range(20):
        forth.learn(decision, exposures[decision])
        back.learn(19 - decision, exposures[19 - decision])
    a, b = forth.parameters()
    assert back.parameters() == (a, b)
    assert a > 5 > b == 1.0


def test_a_reward_for_no_choice_is_refused() -> None:
    with pytest.raises(KeyError):
        built().learn(3, 1.0)


@pytest.mark.parametrize(("key", "value"), [("learning_rate", -0.1), ("prior", 0.0), ("prior", float("nan"))])
def test_settings_out_of_range_are_named(key: str, value: float) -> None:
    with pytest.raises(UserError, match=f"controller.{key}.* got .*{value}"):
        built(**{key: value})


def gain(name: str, noise: float, seeds: int) -> tuple[float, float]:
    """Return the 95 % interval of what learning adds to final competence, where exposure matters."""
    played = []
    for each in with_twins([entry(name)]):
        blocks = [Block(each, f, noise, 0, seeds - 1, 120, 4, RewardConfig().rule(4)) for f in FAMILIES if f != NULL]
        played.append([exposures_and_competence(b, FAMILIES[b.family], np.arange(seeds))[1] for b in blocks])
    return stratified_bootstrap(np.array(played[0]) - np.array(played[1]), mean)


@pytest.mark.parametrize(("name", "noise", "seeds"), [("beta_natural", 0.003, 6), ("beta_reinforce", 0.001, 6)])
def test_learning_beats_the_untrained_twin(name: str, noise: float, seeds: int) -> None:
    assert gain(name, noise, seeds)[0] > 0
