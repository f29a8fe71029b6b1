"""What every registered controller must do, whatever it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import controllers  # noqa: F401 (registers them)
from atesd.errors import UserError
from atesd.interfaces import Action, Controller, Observation, Setting
from atesd.observation import NAMES
from atesd.registry import config_of, names
from controllers.sb3 import Sb3Settings
from controllers.sb3_recipes import Algorithm

WINDOWS = 30
# SB3 learns little here: what is tested is that it may be stopped and fed at any time.
SELDOM = {"gradient_steps": 1, "train_freq": 4, "batch_size": 4}
SB3: dict[Algorithm, dict[str, int]] = {
    Algorithm.PPO: {"n_epochs": 1},
    Algorithm.A2C: {},
    Algorithm.SAC: SELDOM,
    Algorithm.TD3: SELDOM,
    Algorithm.DQN: SELDOM,
    Algorithm.RecurrentPPO: {"n_epochs": 1},
    Algorithm.TQC: SELDOM,
}
CONTROLLERS = [name for name in names("controller") if name != "sb3"] + [f"sb3 {algorithm.value}" for algorithm in SB3]

# After window d is chosen, which decisions get their reward?
ARRIVALS: dict[str, Callable[[int], list[int]]] = {
    "at once": lambda d: [d],
    "three windows late": lambda d: [d - 3] if d >= 3 else [],
    "every third one missing": lambda d: [d] if d % 3 != 1 else [],
    "out of order": lambda d: [d, d - 2, d - 1, d - 3] if d % 4 == 3 else [],
    "never": lambda d: [],
    "late, missing and out of order": lambda d: [d - 2, d - 5, d - 3] if d % 5 == 0 and d else [],
}
MESSY = "late, missing and out of order"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the decisions of a run of ``WINDOWS`` windows."""
    folder = tmp_path_factory.mktemp("recorded")
    rows = [{"decision": decision, "exposure": decision / WINDOWS} for decision in range(WINDOWS)]
    (folder / "decisions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(params=CONTROLLERS)
def make(request: pytest.FixtureRequest, recorded: Path) -> Callable[..., Controller]:
    """Build the controller under test: ``make(seed=0, windows=WINDOWS)``."""
    settings: dict[str, dict[str, Any]] = {"replay": {"run": str(recorded)}}
    settings |= {f"sb3 {algo.value}": {"algo": algo, "settings": Sb3Settings(**sizes)} for algo, sizes in SB3.items()}
    name = request.param.partition(" ")[0]
    config = config_of("controller", name)(name=name, **settings.get(request.param, {}))

    def build(seed: int = 0, windows: int = WINDOWS) -> Controller:
        controller: Controller = config.build(Setting(seed, windows, len(NAMES), 4))
        return controller

    return build


def observed(decision: int) -> Observation:
    noise = np.random.default_rng([1, decision]).normal(0, 0.02, len(NAMES))
    steady = np.array([decision / WINDOWS, 0.5, 0.15, 0.1, 0.2, 0.88])
    return np.clip(steady + noise, 0, 1).astype(np.float32)


def earned(decision: int, exposure: float) -> float:
    return 0.01 * (1 - (exposure - 0.6) ** 2) + float(np.random.default_rng([2, decision]).normal(0, 0.002))


def play(controller: Controller, arrival: str, exposures: list[float], windows: int = WINDOWS) -> list[Action]:
    """Play the windows after those in ``exposures``, and note the exposures there."""
    actions = []
    for decision in range(len(exposures), windows):
        actions.append(controller.act(observed(decision), decision))
        exposures.append(actions[-1].exposure)
        for due in ARRIVALS[arrival](decision):
            logged = controller.learn(due, earned(due, exposures[due]))
            assert all(math.isfinite(number) for number in logged.values())
    return actions


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_exposures_are_floats_in_range_however_rewards_arrive(make: Callable[..., Controller], arrival: str) -> None:
    actions = play(make(), arrival, [])
    assert len(actions) == WINDOWS
    for action in actions:
        assert type(action.exposure) is float
        assert 0 <= action.exposure <= 1
        assert action.log_prob is None or (type(action.log_prob) is float and math.isfinite(action.log_prob))
        assert all(type(detail) is float and math.isfinite(detail) for detail in action.details.values())


def test_a_nan_observation_is_refused_by_name_and_window(make: Callable[..., Controller]) -> None:
    controller = make()
    play(controller, "at once", [], windows=7)
    broken = observed(7)
    broken[3] = np.nan
    with pytest.raises(UserError, match=rf"controller {controller.name}, window 7: .*nan.* not finite"):
        controller.act(broken, 7)


def test_one_window_is_enough(make: Callable[..., Controller]) -> None:
    controller = make(windows=1)
    (action,) = play(controller, "at once", [], windows=1)
    assert 0 <= action.exposure <= 1
    again = make(windows=1)
    again.load_state_dict(json.loads(json.dumps(controller.state_dict(), allow_nan=False)))
    assert again.state_dict() == controller.state_dict()


@pytest.mark.parametrize("arrival", [pytest.param("three windows late", marks=pytest.mark.slow), MESSY])
def test_state_goes_on_bit_for_bit_from_every_window(make: Callable[..., Controller], arrival: str) -> None:
    whole, exposures, saved, actions = make(), [], [], []
    for window in range(WINDOWS):
        saved.append(json.dumps(whole.state_dict(), allow_nan=False))
        actions += play(whole, arrival, exposures, window + 1)
    for window, state in enumerate(saved):
        resumed = make()
        resumed.load_state_dict(json.loads(state))
        assert play(resumed, arrival, exposures[:window]) == actions[window:], f"resumed at window {window}"
        assert resumed.state_dict() == whole.state_dict(), f"resumed at window {window}"


def test_a_saved_state_is_a_copy(make: Callable[..., Controller]) -> None:
    controller, exposures = make(), []
    play(controller, MESSY, exposures, windows=11)
    state = controller.state_dict()
    before = json.dumps(state)
    play(controller, MESSY, exposures)
    assert json.dumps(state) == before


def test_same_seed_same_choices(make: Callable[..., Controller]) -> None:
    assert play(make(seed=0), MESSY, []) == play(make(seed=0), MESSY, [])


def test_another_seed_chooses_otherwise_where_chance_is_reported(make: Callable[..., Controller]) -> None:
    runs = [play(make(seed), MESSY, []) for seed in range(6)]  # some only toss a coin for their first choice
    by_chance = any(action.log_prob is not None for action in runs[0])
    assert (len({tuple(action.exposure for action in run) for run in runs}) > 1) == by_chance


def test_global_random_generators_are_left_alone(make: Callable[..., Controller]) -> None:
    import torch

    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index, union-attr]
    play(make(), "at once", [])
    after = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index, union-attr]
    assert after == before
