"""What a controller that learns from delayed rewards has to remember: every choice, and the rewards that have arrived.

Learners compute their scores from the whole history at each decision. Over tens of hold windows that costs next to
nothing, and it makes late, missing and out-of-order rewards harmless: only what has arrived counts, not when or how.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.interfaces import State

# Keeps the scores of equal rewards at 0 in spite of rounding. ours
EPSILON = 1e-8


@dataclass(frozen=True)
class Choice:
    """One past choice.

    Attributes:
        arm: index of what was chosen.
        probability: of the arm when it was chosen.
        observation: what the choice was made on.
    """

    arm: int
    probability: float
    observation: list[float]


@dataclass(frozen=True)
class Table:
    """The N choices of a history in the order of their decisions.

    Attributes:
        decisions, arms, probabilities: [N].
        observations: [N, O]; [0] before the first choice.
        known: [N], whether the reward has arrived.
        scores: [N], standardised rewards; 0, the mean, where none has arrived.
    """

    decisions: NDArray[np.int64]
    arms: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    observations: NDArray[np.float64]
    known: NDArray[np.bool_]
    scores: NDArray[np.float64]


class History:
    """Choices and rewards by decision. Pending and lost rewards look the same: they have not arrived."""

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self.rewards: dict[int, float] = {}

    def add(self, decision: int, choice: Choice) -> None:
        """Note a choice."""
        self.choices[decision] = choice

    def reward(self, decision: int, reward: float) -> None:
        """Note the reward of an earlier choice.

        Raises:
            KeyError: no such choice.
        """
        _ = self.choices[decision]
        self.rewards[decision] = reward

    def table(self) -> Table:
        """Return the choices with their standardised rewards.

        >>> history = History()
        >>> for decision, reward in enumerate([3.0, None, 5.0]):
        ...     history.add(decision, Choice(arm=0, probability=1.0, observation=[]))
        ...     if reward is not None:
        ...         history.reward(decision, reward)
        >>> history.table().scores.round(6).tolist()
        [-1.0, 0.0, 1.0]
        """
        decisions = sorted(self.choices)
        choices = [self.choices[decision] for decision in decisions]
        known_N = np.array([decision in self.rewards for decision in decisions], dtype=bool)
        scores_N = np.zeros(len(decisions))
        scores_N[known_N] = standardised([self.rewards[decision] for decision in decisions if decision in self.rewards])
        return Table(
            np.array(decisions, dtype=np.int64),
            np.array([choice.arm for choice in choices], dtype=np.int64),
            np.array([choice.probability for choice in choices], dtype=np.float64),
            np.array([choice.observation for choice in choices], dtype=np.float64),
            known_N,
            scores_N,
        )

    def state_dict(self) -> State:
        return {
            "choices": {str(decision): asdict(choice) for decision, choice in sorted(self.choices.items())},
            "rewards": {str(decision): reward for decision, reward in sorted(self.rewards.items())},
        }

    def load_state_dict(self, state: State) -> None:
        self.choices = {int(decision): Choice(**choice) for decision, choice in state["choices"].items()}
        self.rewards = {int(decision): reward for decision, reward in state["rewards"].items()}


def standardised(rewards: list[float]) -> NDArray[np.float64]:
    """Return rewards less their mean, divided by their standard deviation; their scale is unknown beforehand.

    Every reward is judged by all that have arrived, so an early one is not stuck with an early guess of the scale.

    >>> standardised([1.0, 1.0]).tolist(), standardised([]).tolist()
    ([0.0, 0.0], [])
    """
    values = np.array(rewards, dtype=np.float64)
    return (values - values.mean()) / (values.std() + EPSILON) if len(values) else values
