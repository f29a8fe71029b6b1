"""The paper's Beta policy, learned with less variance: one least-squares fit to all rewards in place of small batches.

    R_d = level + trend * d + Q(e_d) + noise,   Q(e) = w_a log(e) + w_b log(1 - e)
    (a, b) = start + learning_rate * n * (w_a, w_b), each at least 1,   after n rewards

Q is made of the Beta's sufficient statistics, so the fitted w is the natural gradient of the expected reward (Kakade
2001, "A natural policy gradient"; Peters and Schaal 2008, "Natural actor-critic", the episodic form), and (a, b) is the
exact maximiser of learning_rate * n * E[Q] - KL(policy || start).

Not the paper's algorithm, which is ``beta_reinforce``: only the density and the look-ahead reward are the same. Every
reward counts at every decision; level and trend of the run are a fitted baseline, where a batch of four spends a
quarter of what it knows on its own mean; the luck of which exposures were drawn cancels in the fit; and where rewards
do not agree on a direction the fit, hence the step, is small. There is no MLP: the policy sees no state. ours
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from atesd.registry import register
from controllers.beta_reinforce import log_density
from controllers.history import standardised
from controllers.policy_gradient import EDGE

Values = NDArray[np.float64]

# a and b before any reward: 1 + softplus(0), where ``beta_reinforce`` starts.
START = 1 + math.log(2)
# As many rewards as the fit has unknowns: level, trend, w_a, w_b.
FEWEST = 4


@register("controller", "beta_natural")
@dataclass
class BetaNaturalConfig(ControllerConfig):
    """Settings, all ours.

    Attributes:
        learning_rate: what one reward adds to a and b per unit of the fitted w; 0 leaves the initial policy.
        prior: strength of the belief that exposure has no effect, in decisions of the initial policy.
    """

    learning_rate: float = 0.2
    prior: float = 4.0

    def __post_init__(self) -> None:
        if not (0 <= self.learning_rate < math.inf and 0 < self.prior < math.inf):
            raise UserError(
                "controller.learning_rate must be finite and 0 or more and controller.prior finite and above 0, got "
                f"{self.learning_rate} and {self.prior}"
            )

    def controller(self, setting: Setting) -> BetaNatural:
        return BetaNatural(setting, self)


class BetaNatural(Controller):
    """A Beta policy that is a function of all draws and rewards so far, in whatever order these arrived."""

    def __init__(self, setting: Setting, config: BetaNaturalConfig) -> None:
        super().__init__(setting)
        self.config = config
        self.draws: dict[int, float] = {}
        self.rewards: dict[int, float] = {}

    def choose(self, observation: Observation, decision: int) -> Action:
        a, b = self.parameters()
        draw = float(np.clip(self.generator(decision).beta(a, b), EDGE, 1 - EDGE))
        self.draws[decision] = draw
        return Action(draw, log_density(draw, a, b), {"beta/a": a, "beta/b": b})

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        _ = self.draws[decision]  # a reward for no choice is a fault of the caller
        self.rewards[decision] = reward
        return {}

    def parameters(self) -> tuple[float, float]:
        """Return a and b for the next decision."""
        known = sorted(self.rewards)
        if len(known) < FEWEST:
            return START, START
        draws_D, rewards_D = (np.array([column[d] for d in known]) for column in (self.draws, self.rewards))
        weights_2 = natural_gradient(np.array(known), draws_D, rewards_D, self.config.prior)
        a, b = np.maximum(START + self.config.learning_rate * len(known) * weights_2, 1.0).tolist()
        return a, b

    def state_dict(self) -> State:
        return {
            name: {str(decision): value for decision, value in column.items()}
            for name, column in (("draws", self.draws), ("rewards", self.rewards))
        }

    def load_state_dict(self, state: State) -> None:
        self.draws, self.rewards = (
            {int(decision): value for decision, value in state[name].items()} for name in ("draws", "rewards")
        )


def natural_gradient(decisions_D: NDArray[np.int64], draws_D: Values, rewards_D: Values, prior: float) -> Values:
    """Return (w_a, w_b): the least-squares fit of log(e) and log(1 - e) to the standardised rewards, less their trends.

    The penalty ``prior`` * w' F w, with F the Fisher information of the initial policy, is what ``prior`` further
    decisions of that policy would add had they earned the mean.
    """
    scores_D2 = detrended(np.log(np.column_stack([draws_D, 1 - draws_D])), decisions_D)
    targets_D = standardised(detrended(rewards_D, decisions_D).tolist())
    information_22 = scores_D2.T @ scores_D2 + prior * fisher(START, START)
    return np.asarray(np.linalg.solve(information_22, scores_D2.T @ targets_D))


def detrended(values: Values, decisions_D: NDArray[np.int64]) -> Values:
    """Return what a straight line over the decisions leaves of values [D] or [D, K].

    >>> detrended(np.array([1.0, 0.0, 3.0]), np.array([0, 1, 2])).round(6).tolist()
    [0.666667, -1.333333, 0.666667]
    """
    line_D2 = np.column_stack([np.ones(len(decisions_D)), decisions_D])
    return np.asarray(values - line_D2 @ np.linalg.lstsq(line_D2, values)[0])


def fisher(a: float, b: float) -> Values:
    """Return the Fisher information [2, 2] of Beta(a, b): the covariance of log(e) and log(1 - e).

    >>> fisher(1, 1).round(6).tolist()  # Var[log U] is 1, Cov[log U, log(1 - U)] is 1 - pi^2 / 6
    [[1.0, -0.644934], [-0.644934, 1.0]]
    """
    from scipy.special import polygamma

    of_a, of_b, of_sum = (float(polygamma(1, value)) for value in (a, b, a + b))
    return np.array([[of_a - of_sum, -of_sum], [-of_sum, of_b - of_sum]])
