"""Choose, every window, which of a few controllers chooses: EXP3 over base controllers (Auer et al. 2002; after CORRAL,
Agarwal et al. 2017, arXiv 1612.06246, without its feedback to the bases).

A base sees only the windows it was given and learns only from their rewards. The weights are those of
``controllers/exp3s.py`` with share 0, which is EXP3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from atesd.errors import UserError
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from atesd.registry import register
from controllers.exp3s import exponential_weights
from controllers.history import Choice, History
from controllers.inner import inner_controller


@register("controller", "bandit_over_bandits")
@dataclass
class BanditOverBanditsConfig(ControllerConfig):
    """Attributes:
    bases: names of two to four different controllers, which have their default settings. ours: one that learns a
        density, one that learns a curve, one that cannot be led astray
    exploration: share of uniform choices among them. ours
    rate: of the log weights. ours
    """

    bases: list[str] = field(default_factory=lambda: ["beta_reinforce", "gp_ucb", "fixed"])
    exploration: float = 0.2
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 2 <= len(self.bases) <= 4 or len(set(self.bases)) != len(self.bases):
            raise UserError(f"controller.bases must be two to four different controllers, got {list(self.bases)}")
        if not 0 < self.rate < math.inf:
            raise UserError(f"controller.rate must be a finite number above 0, got {self.rate}")
        if not 0 < self.exploration <= 1:
            raise UserError(f"controller.exploration must lie in (0, 1], got {self.exploration}; 1 is uniform choice")

    def controller(self, setting: Setting) -> BanditOverBandits:
        return BanditOverBandits(setting, self)


class BanditOverBandits(Controller):
    """Delegates each decision to one base, drawn by exponential weights."""

    def __init__(self, setting: Setting, config: BanditOverBanditsConfig) -> None:
        super().__init__(setting)
        self.config = config
        self.bases = [inner_controller("controller.bases", name, setting) for name in config.bases]
        self.history = History()

    def choose(self, observation: Observation, decision: int) -> Action:
        """Return the base's choice; its log probability is the joint one, of the base and of the base's choice."""
        exploration, rate = self.config.exploration, self.config.rate
        weights_B = exponential_weights(self.history.table(), len(self.bases), exploration, rate, share=0.0)
        # A child generator, as the base that is chosen draws from the decision's own.
        base = int(self.generator(decision).spawn(1)[0].choice(len(self.bases), p=weights_B))
        probability = float(weights_B[base])
        self.history.add(decision, Choice(base, probability, []))
        action = self.bases[base].act(observation, decision)
        log_prob = math.log(probability) + (action.log_prob or 0.0)
        return Action(action.exposure, log_prob, action.details | {"bandit/base": float(base)})

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        self.history.reward(decision, reward)
        return self.bases[self.history.choices[decision].arm].learn(decision, reward)

    def state_dict(self) -> State:
        return {"history": self.history.state_dict(), "bases": [base.state_dict() for base in self.bases]}

    def load_state_dict(self, state: State) -> None:
        self.history.load_state_dict(state["history"])
        for base, saved in zip(self.bases, state["bases"], strict=True):
            base.load_state_dict(saved)
