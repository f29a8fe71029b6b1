"""The policy gradients: their learning rule, against numbers that no sampling made."""

import numpy as np
import pytest
import torch

from atesd.interfaces import Setting
from controllers.beta_reinforce import BetaReinforceConfig
from controllers.logitnormal_reinforce import LogitNormal, LogitnormalReinforceConfig
from controllers.policy_gradient import PolicyGradient, PolicyGradientConfig

POLICIES = [BetaReinforceConfig, LogitnormalReinforceConfig]
BATCHES, SIZE = 40, 100


def reward(exposures: torch.Tensor) -> torch.Tensor:
    return -((exposures - 0.7) ** 2) + 0.3 * exposures


def built(config: type[PolicyGradientConfig], **settings: float) -> PolicyGradient:
    controller = config(name="policy", **settings).build(Setting(0, 30, 6, 4))
    assert isinstance(controller, PolicyGradient)
    return controller


def last_bias(controller: PolicyGradient) -> torch.Tensor:
    bias: torch.Tensor = controller.policy[-1].bias
    return bias


@pytest.mark.parametrize("config", POLICIES)
def test_monte_carlo_gradient_agrees_with_quadrature(config: type[PolicyGradientConfig]) -> None:
    controller = built(config, entropy_weight=0.0)
    bias = last_bias(controller)
    with torch.no_grad():
        bias += torch.tensor([0.4, -0.3], dtype=torch.float64)
    features = torch.zeros(1, 6, dtype=torch.float64)
    grid = torch.linspace(1e-5, 1 - 1e-5, 20_001, dtype=torch.float64)
    density = controller.density(controller.parameters(features)).log_prob(grid).exp()
    (exact,) = torch.autograd.grad(torch.trapezoid(density * reward(grid), grid), bias)

    parameters, generator = controller.parameters(features)[0].tolist(), np.random.default_rng(0)
    sampled = []
    for _ in range(BATCHES):
        draws = torch.tensor([controller.draw(generator, parameters)[0] for _ in range(SIZE)], dtype=torch.float64)
        rewards = reward(draws)
        (gradient,) = torch.autograd.grad(controller.loss(features.expand(SIZE, -1), draws, rewards), bias)
        # undo the division by the spread, and the batch mean's use of each reward for its own baseline
        sampled.append(-gradient * rewards.std(correction=0) * SIZE / (SIZE - 1))
    estimates = torch.stack(sampled)
    error = estimates.std(dim=0) / BATCHES**0.5
    assert torch.all((estimates.mean(dim=0) - exact).abs() < 3 * error)
    assert torch.all(exact.abs() > 5 * error), "the gradient is too small for the comparison to mean anything"


@pytest.mark.parametrize("config", POLICIES)
def test_learning_moves_the_policy_towards_reward_and_rate_0_does_not(config: type[PolicyGradientConfig]) -> None:
    means = []
    for rate in (0.0, 0.3):
        controller = built(config, learning_rate=rate, entropy_weight=0.0)
        exposures = []
        for decision in range(200):
            exposures.append(controller.act(np.zeros(6, np.float32), decision).exposure)
            controller.learn(decision, exposures[-1])
        means.append(np.mean(exposures[-40:]))
    assert means[0] < 0.6 < 0.8 < means[1]


@pytest.mark.parametrize("config", POLICIES)
def test_only_entropy_above_its_target_is_punished(config: type[PolicyGradientConfig]) -> None:
    features, draws = torch.zeros(2, 6, dtype=torch.float64), torch.tensor([0.3, 0.6], dtype=torch.float64)
    rewards = torch.ones(2, dtype=torch.float64)  # no advantage
    above = built(config, entropy_target=-1.0, entropy_weight=2.0)
    entropy = above.density(above.parameters(features)).entropy()[0]
    assert above.loss(features, draws, rewards).item() == pytest.approx(2 * (entropy.item() + 1) ** 2)
    assert built(config, entropy_target=0.0).loss(features, draws, rewards).item() == 0.0


def test_logitnormal_entropy_and_density_agree_with_integration() -> None:
    mu, sigma = torch.tensor([0.0, 1.5, -3.0]).double(), torch.tensor([1.25, 0.3, 1.41]).double()
    grid = torch.linspace(1e-6, 1 - 1e-6, 400_001, dtype=torch.float64)
    for number in range(3):
        log_prob = LogitNormal(mu[number : number + 1], sigma[number : number + 1]).log_prob(grid)
        assert float(torch.trapezoid(log_prob.exp(), grid)) == pytest.approx(1.0, abs=1e-5)
        entropy = -torch.trapezoid(log_prob.exp() * log_prob, grid)
        assert float(LogitNormal(mu, sigma).entropy()[number]) == pytest.approx(float(entropy), abs=1e-4)


@pytest.mark.parametrize("config", POLICIES)
def test_the_reported_log_density_is_the_one_that_learns(config: type[PolicyGradientConfig]) -> None:
    controller = built(config)
    action = controller.act(np.zeros(6, np.float32), 0)
    density = controller.density(controller.parameters(torch.zeros(1, 6, dtype=torch.float64)))
    assert action.log_prob == pytest.approx(density.log_prob(torch.tensor([action.exposure]).double()).item())
