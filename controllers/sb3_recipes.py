"""The recipe of each algorithm that ``controller.algo`` offers."""

from __future__ import annotations

from enum import Enum

from controllers.sb3_off_policy import Greedy, Noisy, Squashed
from controllers.sb3_on_policy import OnPolicy, Proximal, Recurrent
from controllers.sb3_recipe import Recipe


class Algorithm(Enum):
    """The algorithms of Stable-Baselines3 and sb3-contrib that ``controller.algo`` offers."""

    PPO = "PPO"
    A2C = "A2C"
    SAC = "SAC"
    TD3 = "TD3"
    DQN = "DQN"
    RecurrentPPO = "RecurrentPPO"
    TQC = "TQC"


RECIPES: dict[Algorithm, Recipe] = {
    Algorithm.PPO: Proximal("PPO"),
    Algorithm.A2C: OnPolicy("A2C"),
    Algorithm.SAC: Squashed("SAC"),
    Algorithm.TD3: Noisy("TD3"),
    Algorithm.DQN: Greedy("DQN"),
    Algorithm.RecurrentPPO: Recurrent("RecurrentPPO", "sb3_contrib", "MlpLstmPolicy"),
    Algorithm.TQC: Squashed("TQC", "sb3_contrib"),
}
