"""SB3's own ``learn()`` in a helper thread, and the environment in which it meets the run.

``learn()`` wants to call the environment; a run wants to call the controller. Each side waits for the other, so only
one of the two threads ever runs. The environment's one reset and its steps only hand over what the run reports: the
real run is never reset, and asks for exactly as many actions as it executes.

SB3 wants a step's reward with the next observation; ATESD's matures later, or never. A step is paid with what its own
decision has earned: the standardised reward if it has matured by the next observation, else 0, the mean of the matured
ones. When it does mature, or the scale of the rewards changes, it is corrected where SB3 keeps it: in the replay buffer
at any time, in a rollout until that has been used. Nothing is credited to another decision, or twice.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from atesd.errors import UserError
from controllers.randomness import PrivateRandomness
from controllers.sb3_recipe import Draw, Recipe, Sizes

# Features are changes of at most 2, divided by ``FEATURE_SCALE``: raw averages hardly move over one run. ours
FEATURE_SCALE = 0.1
FEATURE_BOUND = 2 / FEATURE_SCALE

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Moment:
    """What a run tells the learner at a decision.

    Attributes:
        features: of the observation [N].
        scores: standardised rewards of earlier steps, of all that have matured, by step.
    """

    features: Features
    scores: dict[int, float]


class Closed(Exception):
    """Nobody will ask for another action."""


class Meeting:
    """Where the two threads wait for each other."""

    def __init__(self) -> None:
        self.moments: SimpleQueue[Moment | None] = SimpleQueue()
        self.actions: SimpleQueue[float | BaseException] = SimpleQueue()

    def next_moment(self) -> Moment:
        """Wait for the run's next decision.

        Raises:
            Closed: there will be none.
        """
        moment = self.moments.get()
        if moment is None:
            raise Closed
        return moment

    def close(self) -> None:
        """Let the helper thread end."""
        self.moments.put(None)


class MeetingEnv(gymnasium.Env[Features, Any]):
    """The run as SB3 sees it: one endless episode of the run's windows."""

    def __init__(self, meeting: Meeting, observation_size: int, levels: int | None) -> None:
        self.meeting = meeting
        self.observation_space, self.action_space = spaces(observation_size, levels)
        self.steps = 0
        self.scores: dict[int, float] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        return self.meeting.next_moment().features, {}

    def step(self, action: Any) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        self.meeting.actions.put(float(np.asarray(action).item()))
        moment = self.meeting.next_moment()
        self.scores = moment.scores
        self.steps += 1
        return moment.features, self.scores.get(self.steps - 1, 0.0), False, False, {}


class LateRewards(BaseCallback):
    """Writes rewards that matured after their step into the buffer SB3 learns from."""

    def __init__(self, env: MeetingEnv) -> None:
        super().__init__()
        self.env = env

    def _on_step(self) -> bool:
        model: Any = self.model
        newest = self.env.steps - 1
        if hasattr(model, "replay_buffer"):  # a ring, in which the newest step will take the oldest one's place
            buffer = model.replay_buffer
            oldest = newest - buffer.buffer_size + 1
        else:  # emptied once it is full
            buffer = model.rollout_buffer
            oldest = newest - newest % buffer.buffer_size
        for step, score in self.env.scores.items():
            if oldest <= step < newest:
                buffer.rewards[step % buffer.buffer_size, 0] = score
        return True


class Exploration(NormalActionNoise):
    """Gaussian noise around TD3's action; none on top of the uniform actions of the first ``quiet`` calls."""

    def __init__(self, sigma: float, quiet: int) -> None:
        super().__init__(np.zeros(1), np.full(1, sigma))
        self.sigma = sigma
        self.quiet = quiet
        self.calls = 0
        self.newest = np.zeros(1, np.float32)

    def __call__(self) -> NDArray[Any]:
        self.calls += 1
        self.newest = super().__call__()
        return self.newest if self.calls > self.quiet else np.zeros_like(self.newest)

    def log_density(self) -> float:
        """Return the log density of the newest draw."""
        return float(-0.5 * (self.newest[0] / self.sigma) ** 2 - np.log(self.sigma * np.sqrt(2 * np.pi)))


class Learner:
    """A model that learns while it acts.

    Args:
        recipe: of the algorithm.
        sizes: its settings.
        seed: of all its randomness, at most 2^32 - 1.
        windows: actions it will be asked for.
        observation_size: entries of an observation.
        levels: number of discrete actions; None for a continuous one.
    """

    def __init__(
        self, recipe: Recipe, sizes: Sizes, seed: int, windows: int, observation_size: int, levels: int | None
    ) -> None:
        self.recipe = recipe
        self.randomness = PrivateRandomness()
        self.meeting = Meeting()
        env = MeetingEnv(self.meeting, observation_size, levels)
        with torch.random.fork_rng(), self.randomness:  # the former for accelerators, which SB3 seeds too
            self.model = recipe.model(DummyVecEnv([lambda: env]), sizes, seed)
        self.thread = threading.Thread(target=_learn, args=(self.model, env, windows), daemon=True, name="sb3")
        self.close = weakref.finalize(self, _end, self.meeting, self.thread)

    def act(self, moment: Moment) -> Draw:
        """Hand over a moment, let SB3 learn, and return its next action.

        Raises:
            UserError: the run asks for more actions than it has windows.
        """
        with self.randomness, torch.no_grad():
            if not self.thread.ident:
                self.thread.start()
            self.meeting.moments.put(moment)
            action = self.meeting.actions.get()
            if isinstance(action, BaseException):
                raise action
            return Draw(action, self.recipe.log_prob(self.model))


def _learn(model: Any, env: MeetingEnv, windows: int) -> None:
    """Run SB3's loop; knows the model and the environment alone, so that a forgotten ``Learner`` can be collected."""
    try:
        model.learn(windows, callback=LateRewards(env), log_interval=None)
        raise UserError(f"controller=sb3 was made for a run of {windows} windows, which are over; ask for no more")
    except Closed:
        pass
    except BaseException as error:
        env.meeting.actions.put(error)


def _end(meeting: Meeting, thread: threading.Thread) -> None:
    """Let the helper thread end, and wait for it: one that the interpreter's own end meets within torch aborts it."""
    meeting.close()
    if thread.ident and thread is not threading.current_thread():
        thread.join()


def spaces(observation_size: int, levels: int | None) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """Return SB3's observation and action space: features, and one action in [-1, 1] or one of ``levels``."""
    features = gymnasium.spaces.Box(-FEATURE_BOUND, FEATURE_BOUND, (observation_size,), np.float32)
    if levels is not None:
        return features, gymnasium.spaces.Discrete(levels)
    return features, gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)


def features(first: Sequence[float], observation: Sequence[float]) -> Features:
    """Return the change of each entry since the run's first observation, scaled.

    >>> features([0.5, 0.25], [0.75, 0.25]).tolist()
    [2.5, 0.0]
    """
    change: NDArray[np.float64] = np.asarray(observation) - np.asarray(first)
    return np.asarray(change / FEATURE_SCALE, np.float32)
