"""What every REINFORCE controller shares: a small MLP gives the two parameters of a density over exposure.

    A = (R - mean) / (std + eps) over a batch of matured decisions
    loss = -mean(A * log pi(exposure | s)) + entropy_weight * max(0, entropy - entropy_target)^2

The form is the paper's (section 3); it publishes neither the constants nor the optimiser, which is plain gradient
descent here. Our deviations: the log-probability is that of the draw before clipping; the MLP sees the observation as
its difference from the run's first one, each entry divided by ``observation_scale``, since raw averages hardly move
over one run.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State

if TYPE_CHECKING:
    import torch

# Draws are kept this far from 0 and 1, where a density may be 0. ours
EDGE = 1e-4
EPSILON = 1e-8


@dataclass
class PolicyGradientConfig(ControllerConfig):
    """Settings; every value is ours, as the paper gives none.

    Attributes:
        low, high: the range exposures are clipped to.
        hidden: width of the MLP's one hidden layer.
        learning_rate: of plain gradient descent; 0 leaves the initial policy, which isolates what learning adds.
        batch: matured decisions per policy update.
        entropy_target: differential entropy in nats above which the policy is penalised; U(0, 1) has 0.
        entropy_weight: weight of the penalty.
        observation_scale: divides the change of each observation entry.
    """

    low: float = 0.0
    high: float = 1.0
    hidden: int = 16
    learning_rate: float = 0.1
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


class Density(Protocol):
    """A density over exposure, one per decision of a batch."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Return the log density [D] of draws [D]."""

    def entropy(self) -> torch.Tensor:
        """Return the differential entropy [D], nats."""


class PolicyGradient(Controller):
    """A policy over exposure, learned by REINFORCE from delayed rewards; a subclass says which density.

    Attributes:
        parameter_names: of the density's two parameters, for the log.
    """

    parameter_names: tuple[str, str]

    def __init__(self, setting: Setting, config: PolicyGradientConfig) -> None:
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
        for parameter in self.policy[-1].parameters():  # neutral start: symmetric, so the mean exposure is 1/2
            torch.nn.init.zeros_(parameter)
        # Not Adam: over a run's seven steps it scales every gradient to one size, noise and faint penalties alike. ours
        self.optimizer = torch.optim.SGD(self.policy.parameters(), lr=config.learning_rate)

    @abstractmethod
    def parameters(self, features_DN: torch.Tensor) -> torch.Tensor:
        """Return the density's parameters [D, 2] for features [D, N]."""

    @abstractmethod
    def density(self, parameters_D2: torch.Tensor) -> Density:
        """Return the densities that the parameters describe."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, parameters: list[float]) -> tuple[float, float]:
        """Return one draw in [EDGE, 1 - EDGE] and its log density."""

    def choose(self, observation: Observation, decision: int) -> Action:
        import torch

        features = self._features(observation)
        with torch.no_grad():
            parameters = self.parameters(torch.tensor([features], dtype=torch.float64))[0].tolist()
        draw, log_prob = self.draw(self.generator(decision), parameters)
        self.waiting[decision] = (features, draw)
        exposure = min(max(draw, self.config.low), self.config.high)
        return Action(exposure, log_prob, dict(zip(self.parameter_names, parameters, strict=True)))

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        self.batch.append((*self.waiting.pop(decision), reward))
        return self._update() if len(self.batch) == self.config.batch else {}

    def loss(self, features_DN: torch.Tensor, draws_D: torch.Tensor, rewards_D: torch.Tensor) -> torch.Tensor:
        """Return the REINFORCE loss of a batch of decisions, with the penalty on entropy above its target."""
        policy = self.density(self.parameters(features_DN))
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
        }

    def load_state_dict(self, state: State) -> None:
        import torch

        self.first = state["first"]
        self.waiting = {int(decision): (choice[0], choice[1]) for decision, choice in state["waiting"].items()}
        self.batch = [(row[0], row[1], row[2]) for row in state["batch"]]
        self.policy.load_state_dict(
            {name: torch.tensor(weights, dtype=torch.float64) for name, weights in state["policy"].items()}
        )
