"""The paper's learning with another density: a logit-normal policy, to see what the Beta itself contributes.

    (u, v) = MLP(s),  mu = u,  sigma = sqrt(2) * sigmoid(v + 2),  exposure = sigmoid(mu + sigma * N(0, 1))

sigma <= sqrt(2) keeps the density unimodal (Johnson 1949). The start, mu = 0 and sigma = 1.25, is about as wide as the
Beta's. ours: the paper has no such policy. How the MLP learns is in ``controllers/policy_gradient.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atesd.interfaces import Setting
from atesd.registry import register
from controllers.policy_gradient import EDGE, Density, PolicyGradient, PolicyGradientConfig

if TYPE_CHECKING:
    import torch

WIDEST = math.sqrt(2)
# The MLP's second output 0 means sigma = WIDEST * sigmoid(START) = 1.25. ours
START = 2.0
# Points of the Gauss-Hermite rule for the entropy, which has no closed form; more change it by less than 1e-5. ours
NODES = 32


@register("controller", "logitnormal_reinforce")
@dataclass
class LogitnormalReinforceConfig(PolicyGradientConfig):
    """The settings of every policy gradient.

    Attributes:
        learning_rate: mu carries five times the Fisher information of the Beta's outputs at the start (0.64 against
            0.12), so a fifth of the Beta's rate makes steps alike in KL. ours
    """

    learning_rate: float = 0.02

    def controller(self, setting: Setting) -> LogitnormalReinforce:
        return LogitnormalReinforce(setting, self)


class LogitnormalReinforce(PolicyGradient):
    """A logit-normal policy whose two parameters come from a small MLP."""

    parameter_names = ("logitnormal/mu", "logitnormal/sigma")

    def parameters(self, features_DN: torch.Tensor) -> torch.Tensor:
        """Return mu and sigma [D, 2] for features [D, N]."""
        import torch

        mu_D, width_D = self.policy(features_DN).unbind(-1)
        return torch.stack([mu_D, WIDEST * torch.sigmoid(width_D + START)], dim=-1)

    def density(self, parameters_D2: torch.Tensor) -> Density:
        return LogitNormal(*parameters_D2.unbind(-1))

    def draw(self, generator: np.random.Generator, parameters: list[float]) -> tuple[float, float]:
        mu, sigma = parameters
        draw = min(max(1 / (1 + math.exp(-generator.normal(mu, sigma))), EDGE), 1 - EDGE)
        return draw, log_density(draw, mu, sigma)


class LogitNormal:
    """The densities of sigmoid(N(mu, sigma^2)), [D]."""

    def __init__(self, mu_D: torch.Tensor, sigma_D: torch.Tensor) -> None:
        self.mu_D, self.sigma_D = mu_D, sigma_D

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        import torch

        normal = torch.distributions.Normal(self.mu_D, self.sigma_D)
        return normal.log_prob(torch.logit(value)) - torch.log(value * (1 - value))

    def entropy(self) -> torch.Tensor:
        """Return H(normal) + E[log slope of the sigmoid], the expectation by Gauss-Hermite quadrature."""
        import torch

        nodes, weights = (torch.tensor(row, dtype=torch.float64) for row in np.polynomial.hermite_e.hermegauss(NODES))
        z_DJ = self.mu_D[:, None] + self.sigma_D[:, None] * nodes
        log_slope_DJ = torch.nn.functional.logsigmoid(z_DJ) + torch.nn.functional.logsigmoid(-z_DJ)
        normal_D = torch.log(self.sigma_D) + 0.5 * math.log(2 * math.pi * math.e)
        return normal_D + log_slope_DJ @ weights / math.sqrt(2 * math.pi)


def log_density(draw: float, mu: float, sigma: float) -> float:
    """Return the log density of sigmoid(N(mu, sigma^2)).

    >>> round(log_density(0.5, 0.0, 1.0), 6) == round(math.log(4 / math.sqrt(2 * math.pi)), 6)
    True
    """
    z = (math.log(draw) - math.log1p(-draw) - mu) / sigma
    return -z * z / 2 - math.log(sigma * math.sqrt(2 * math.pi) * draw * (1 - draw))
