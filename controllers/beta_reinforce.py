"""The paper's controller: a Beta policy over exposure, learned by REINFORCE from delayed rewards (paper, section 3).

    (a, b) = 1 + softplus(MLP(s)),  exposure ~ Beta(a, b), clipped to [low, high]
    A = (R - mean) / (std + eps) over a batch of matured decisions
    loss = -mean(A * log pi(exposure | s)) + entropy_weight * max(0, entropy - entropy_target)^2

a, b > 1 keeps the density unimodal. The form is the paper's; it publishes none of the constants. Our deviations: the
log-probability is that of the draw before clipping; the MLP sees the observation as its difference from the run's first
one, each entry divided by ``observation_scale``, since raw averages hardly move over one run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaln

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from atesd.registry import register

if TYPE_CHECKING:
    import torch

# Draws are kept this far from 0 and 1, where the Beta density is 0. ours
EDGE = 1e-4
EPSILON = 1e-8


@register("controller", "beta_reinforce")
@dataclass
class BetaReinforceConfig(ControllerConfig):
    """Settings; every value is ours, as the paper gives none.

    Attributes:
        low, high: the range exposures are clipped to.
        hidden: width of the MLP's one hidden layer.
        learning_rate: of Adam; 0 leaves the initial policy, which isolates what learning adds.
        batch: matured decisions per policy update.
        entropy_target: differential entropy in nats above which the policy is penalised; U(0, 1) has 0.
        entropy_weight: weight of the penalty.
        observation_scale: divides the change of each observation entry.
    """

    low: float = 0.0
    high: float = 1.0
    hidden: int = 16
    learning_rate: float = 0.03
    batch: int = 4
    entropy_target: float = -0.5
    entropy_weight: float = 0.1
    observation_scale: float = 0.1

    def __post_init__(self) -> None:
        checked(self.low, "controller.low")
        checked(self.high, "controller.high")
        if self.low >= self.high:
            raise UserError(f"controller.low must be below controller.high, got {self.low} and {self.high}")
        if self.batch < 2:
            raise UserError(f"controller.batch must be at least 2, got {self.batch}; one reward has no mean to beat")
        if self.hidden < 1 or self.observation_scale <= 0 or self.learning_rate < 0:
            raise UserError(
                "controller.hidden and controller.observation_scale must be above 0 and controller.learning_rate "
                f"0 or more, got {self.hidden}, {self.observation_scale} and {self.learning_rate}"
            )

    def controller(self, setting: Setting) -> BetaReinforce:
        return BetaReinforce(setting, self)


class BetaReinforce(Controller):
    """A Beta policy whose two parameters come from a small MLP."""

    def __init__(self, setting: Setting, config: BetaReinforceConfig) -> None:
        import torch

        super().__init__(setting)
        self.config = config
        self.first: list[float] | None = None
        self.waiting: dict[int, tuple[list[float], float]] = {}
        self.batch: list[tuple[list[float], float, float]] = []
        with torch.random.fork_rng():
            torch.manual_seed(setting.seed)
            self.policy = torch.nn.Sequential(
                torch.nn.Linear(setting.observation_size, config.hidden, dtype=torch.float64),
                torch.nn.Tanh(),
                torch.nn.Linear(config.hidden, 2, dtype=torch.float64),
            )
        for parameter in self.policy[-1].parameters():  # neutral start: a = b, so the mean exposure is 1/2
            torch.nn.init.zeros_(parameter)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=config.learning_rate)

    def choose(self, observation: Observation, decision: int) -> Action:
        import torch

        features = self._features(observation)
        with torch.no_grad():
            a, b = self.parameters(torch.tensor([features], dtype=torch.float64))[0].tolist()
        draw = float(np.clip(self.generator(decision).beta(a, b), EDGE, 1 - EDGE))
        self.waiting[decision] = (features, draw)
        exposure = min(max(draw, self.config.low), self.config.high)
        return Action(exposure, log_density(draw, a, b), {"beta/a": a, "beta/b": b})

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        self.batch.append((*self.waiting.pop(decision), reward))
        return self._update() if len(self.batch) == self.config.batch else {}

    def parameters(self, features_DN: torch.Tensor) -> torch.Tensor:
        """Return a and b [D, 2] for features [D, N]."""
        import torch

        return 1 + torch.nn.functional.softplus(self.policy(features_DN))

    def loss(self, features_DN: torch.Tensor, draws_D: torch.Tensor, rewards_D: torch.Tensor) -> torch.Tensor:
        """Return the REINFORCE loss of a batch of decisions, with the penalty on entropy above its target."""
        import torch

        policy = torch.distributions.Beta(*self.parameters(features_DN).unbind(-1))
        advantages_D = (rewards_D - rewards_D.mean()) / (rewards_D.std(correction=0) + EPSILON)
        excess_D = (policy.entropy() - self.config.entropy_target).clamp(min=0)
        return -(advantages_D * policy.log_prob(draws_D)).mean() + self.config.entropy_weight * (excess_D**2).mean()

    def _update(self) -> dict[str, float]:
        import torch

        features, draws, rewards = (
            torch.tensor(column, dtype=torch.float64) for column in zip(*self.batch, strict=True)
        )
        self.batch = []
        loss = self.loss(features, draws, rewards)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"controller/loss": float(loss.detach()), "controller/reward_mean": float(rewards.mean())}

    def _features(self, observation: Observation) -> list[float]:
        entries = observation.astype(np.float64).tolist()
        if self.first is None:
            self.first = entries
        scale = self.config.observation_scale
        return [(entry - start) / scale for entry, start in zip(entries, self.first, strict=True)]

    def state_dict(self) -> State:
        return {
            "first": self.first,
            "waiting": {str(decision): list(choice) for decision, choice in self.waiting.items()},
            "batch": [list(row) for row in self.batch],
            "policy": {name: weights.tolist() for name, weights in self.policy.state_dict().items()},
            "optimizer": [
                {name: moment.tolist() for name, moment in self.optimizer.state[parameter].items()}
                for parameter in self.policy.parameters()
            ],
        }

    def load_state_dict(self, state: State) -> None:
        import torch

        self.first = state["first"]
        self.waiting = {int(decision): (choice[0], choice[1]) for decision, choice in state["waiting"].items()}
        self.batch = [(row[0], row[1], row[2]) for row in state["batch"]]
        self.policy.load_state_dict(
            {name: torch.tensor(weights, dtype=torch.float64) for name, weights in state["policy"].items()}
        )
        for parameter, moments in zip(self.policy.parameters(), state["optimizer"], strict=True):
            if moments:
                self.optimizer.state[parameter] = {
                    name: torch.tensor(moment, dtype=torch.float32 if name == "step" else torch.float64)
                    for name, moment in moments.items()
                }


def log_density(draw: float, a: float, b: float) -> float:
    """Return the log density of Beta(a, b).

    >>> round(log_density(0.5, 2.0, 2.0), 6) == round(math.log(1.5), 6)
    True
    """
    return (a - 1) * math.log(draw) + (b - 1) * math.log1p(-draw) - float(betaln(a, b))
