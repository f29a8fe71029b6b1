"""The paper's controller: a Beta policy over exposure, learned by REINFORCE from delayed rewards (paper, section 3).

    (a, b) = 1 + softplus(MLP(s)),  exposure ~ Beta(a, b), clipped to [low, high]

a, b > 1 keeps the density unimodal. How the MLP learns is in ``controllers/policy_gradient.py``.
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


@register("controller", "beta_reinforce")
@dataclass
class BetaReinforceConfig(PolicyGradientConfig):
    """The settings of every policy gradient."""

    def controller(self, setting: Setting) -> BetaReinforce:
        return BetaReinforce(setting, self)


class BetaReinforce(PolicyGradient):
    """A Beta policy whose two parameters come from a small MLP."""

    parameter_names = ("beta/a", "beta/b")

    def parameters(self, features_DN: torch.Tensor) -> torch.Tensor:
        """Return a and b [D, 2] for features [D, N]."""
        import torch

        return 1 + torch.nn.functional.softplus(self.policy(features_DN))

    def density(self, parameters_D2: torch.Tensor) -> Density:
        import torch

        beta: Density = torch.distributions.Beta(*parameters_D2.unbind(-1))
        return beta

    def draw(self, generator: np.random.Generator, parameters: list[float]) -> tuple[float, float]:
        a, b = parameters
        draw = float(np.clip(generator.beta(a, b), EDGE, 1 - EDGE))
        return draw, log_density(draw, a, b)


def log_density(draw: float, a: float, b: float) -> float:
    """Return the log density of Beta(a, b).

    >>> round(log_density(0.5, 2.0, 2.0), 6) == round(math.log(1.5), 6)
    True
    """
    from scipy.special import betaln

    return (a - 1) * math.log(draw) + (b - 1) * math.log1p(-draw) - float(betaln(a, b))
