"""What every bandit shares: exposure levels as arms, a probability for each, and the history of what they earned."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.exposure import checked
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from controllers.history import Choice, History, Table

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class BanditConfig(ControllerConfig):
    """Attributes:
    levels: the exposures to choose from, at least two. The default is the paper's fixed sweep.
    """

    levels: list[float] = field(default_factory=lambda: list(LEVELS))

    def __post_init__(self) -> None:
        self.levels = checked_levels(self.levels)


def checked_levels(levels: list[float]) -> list[float]:
    """Return the exposures to choose from.

    Raises:
        UserError: they are not at least two different exposures.
    """
    levels = [checked(level, "controller.levels") for level in levels]
    if len(set(levels)) != len(levels) or len(levels) < 2:
        raise UserError(
            f"controller.levels must be at least two different exposures, got {levels}; use controller=fixed for one"
        )
    return levels


class Bandit(Controller):
    """Draws an arm from ``policy``; a subclass says how the history makes the policy.

    The choice is on record at once and its reward when it arrives, so that a level is not tried again and again while
    its first reward is still on its way.
    """

    def __init__(self, setting: Setting, levels: list[float]) -> None:
        super().__init__(setting)
        self.levels_K = np.array(levels)
        self.history = History()

    @abstractmethod
    def policy(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        """Return the probability [K] of each arm."""

    def choose(self, observation: Observation, decision: int) -> Action:
        probabilities_K = self.policy(self.history.table(), observation, decision)
        arm = int(self.generator(decision).choice(len(probabilities_K), p=probabilities_K))
        probability = float(probabilities_K[arm])
        self.history.add(decision, Choice(arm, probability, observation.astype(np.float64).tolist()))
        return Action(float(self.levels_K[arm]), math.log(probability), {"bandit/arm": float(arm)})

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        self.history.reward(decision, reward)
        return {}

    def state_dict(self) -> State:
        return {"history": self.history.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self.history.load_state_dict(state["history"])


class IndexBandit(Bandit):
    """Plays the arm with the highest index; equal ones, such as those never tried, are equally likely."""

    @abstractmethod
    def indices(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        """Return the index [K] of each arm, in units of the standardised reward."""

    def policy(self, table: Table, observation: Observation, decision: int) -> NDArray[np.float64]:
        indices_K = self.indices(table, observation, decision)
        best_K = indices_K == indices_K.max()
        return np.asarray(best_K / best_K.sum())


def softmax(scores_K: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return Boltzmann probabilities.

    >>> softmax(np.array([0.0, np.log(3.0)]), 1.0).round(6).tolist()
    [0.25, 0.75]
    """
    weights_K = np.exp((scores_K - scores_K.max()) / temperature)
    return np.asarray(weights_K / weights_K.sum())
