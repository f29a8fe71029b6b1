"""ALP-GMM: sample exposures where learning progress has been large (Portelas et al. 2019, arXiv 1910.07224).

Every few rewards, fit Gaussian mixtures to (exposure, |reward| / largest |reward|) and keep the one of lowest AIC. A
component is drawn in proportion to its mean absolute progress, an exposure from the component, cut off at 0 and 1; a
fifth of the choices is uniform. Our reward is learning progress already, where the paper takes a difference of returns.
Absolute means that harm attracts as much as help does: the paper wants regress noticed.

The paper refits every 250 episodes, with 2 to 10 components; ours fit tens of windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atesd.errors import UserError
from atesd.interfaces import Action, Controller, ControllerConfig, Observation, Setting, State
from atesd.registry import register

# Added to the variances of the mixture: its components stay wider than 0.03 in exposure. ours
REGULARISATION = 1e-3


@register("controller", "alp_gmm")
@dataclass
class AlpGmmConfig(ControllerConfig):
    """Settings.

    Attributes:
        refit: rewards between fits, and before the first, at least 2. ours
        memory: newest rewards in a fit. ours
        components: most components of a mixture. ours
        uniform: share of uniform choices. 0.2 is the paper's.
    """

    refit: int = 5
    memory: int = 25
    components: int = 3
    uniform: float = 0.2

    def __post_init__(self) -> None:
        if self.refit < 2 or self.memory < self.refit or self.components < 1:
            raise UserError(
                "controller.refit must be at least 2, controller.memory at least controller.refit and "
                f"controller.components at least 1, got {self.refit}, {self.memory} and {self.components}"
            )
        if not 0 < self.uniform <= 1:
            raise UserError(f"controller.uniform must lie in (0, 1], got {self.uniform}; 1 is controller=uniform")

    def controller(self, setting: Setting) -> AlpGmm:
        return AlpGmm(setting, self)


@dataclass(frozen=True)
class Component:
    """A normal over exposure, cut off at 0 and 1, and the share of choices it gets."""

    share: float
    mean: float
    sd: float

    def edges(self) -> tuple[float, float]:
        """Return the normal's distribution function at 0 and at 1."""
        from scipy.special import ndtr

        return float(ndtr(-self.mean / self.sd)), float(ndtr((1 - self.mean) / self.sd))

    def draw(self, uniform: float) -> float:
        """Return the exposure at which the distribution function is ``uniform``."""
        low, high = self.edges()
        from scipy.special import ndtri

        return min(max(self.mean + self.sd * float(ndtri(low + uniform * (high - low))), 0.0), 1.0)

    def density(self, exposure: float) -> float:
        """Return the density at an exposure in [0, 1].

        >>> round(Component(1.0, 0.5, 100.0).density(0.3), 4)  # so wide that it is uniform
        1.0
        """
        low, high = self.edges()
        z = (exposure - self.mean) / self.sd
        return math.exp(-z * z / 2) / (self.sd * math.sqrt(2 * math.pi) * (high - low))


class AlpGmm(Controller):
    """Draws from the newest mixture, and uniformly before there is one."""

    def __init__(self, setting: Setting, config: AlpGmmConfig) -> None:
        import sklearn.mixture  # noqa: F401 (slow to import: now, and not in the middle of a run)

        super().__init__(setting)
        self.config = config
        self.waiting: dict[int, float] = {}
        self.earned: list[list[float]] = []
        self.unused = 0
        self.components: list[Component] = []

    def choose(self, observation: Observation, decision: int) -> Action:
        generator = self.generator(decision)
        random_state = int(generator.integers(2**31))
        if self.unused >= self.config.refit:
            self.components = fitted(np.array(self.earned), self.config.components, random_state)
            self.unused = 0
        exposure = self._draw(generator)
        self.waiting[decision] = exposure
        return Action(exposure, math.log(self._density(exposure)), {"alp_gmm/components": float(len(self.components))})

    def learn(self, decision: int, reward: float) -> dict[str, float]:
        self.earned = [*self.earned, [self.waiting.pop(decision), reward]][-self.config.memory :]
        self.unused += 1
        return {}

    def _draw(self, generator: np.random.Generator) -> float:
        if not self.components or generator.random() < self.config.uniform:
            return float(generator.random())
        shares = [component.share for component in self.components]
        return self.components[int(generator.choice(len(shares), p=shares))].draw(generator.random())

    def _density(self, exposure: float) -> float:
        if not self.components:
            return 1.0
        mixture = sum(component.share * component.density(exposure) for component in self.components)
        return self.config.uniform + (1 - self.config.uniform) * mixture

    def state_dict(self) -> State:
        return {
            "waiting": {str(decision): exposure for decision, exposure in self.waiting.items()},
            "earned": self.earned,
            "unused": self.unused,
            "components": [[component.share, component.mean, component.sd] for component in self.components],
        }

    def load_state_dict(self, state: State) -> None:
        self.waiting = {int(decision): exposure for decision, exposure in state["waiting"].items()}
        self.earned = state["earned"]
        self.unused = state["unused"]
        self.components = [Component(*component) for component in state["components"]]


def fitted(earned_N2: NDArray[np.float64], most: int, random_state: int) -> list[Component]:
    """Return the components of the mixture with the lowest AIC for (exposure, reward) pairs [N, 2].

    No more components than half the pairs are tried. Where all rewards are 0, the components are equally likely.
    """
    from sklearn.mixture import GaussianMixture

    exposures_N, progress_N = earned_N2[:, 0], np.abs(earned_N2[:, 1])
    points_N2 = np.column_stack([exposures_N, progress_N / (progress_N.max() or 1.0)])
    mixtures = [
        GaussianMixture(count, reg_covar=REGULARISATION, init_params="k-means++", random_state=random_state).fit(
            points_N2
        )
        for count in range(1, min(most, len(points_N2) // 2) + 1)
    ]
    best = min(mixtures, key=lambda mixture: float(mixture.aic(points_N2)))
    progress_C = best.means_[:, 1] if progress_N.any() else np.ones(len(best.means_))
    shares_C = np.maximum(progress_C, 0) / np.maximum(progress_C, 0).sum()
    sds_C = np.sqrt(best.covariances_[:, 0, 0])
    return [Component(*row) for row in np.column_stack([shares_C, best.means_[:, 0], sds_C]).tolist()]
