"""A rank's context on a real student, alone in its process group."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atesd.config import TeacherConfig
from atesd.models import TinyConfig
from atesd.stopwatch import Stopwatch
from atesd.tasks.arithmetic import Arithmetic
from atesd.training import language_model, ranks, teacher
from atesd.training.collector import Collector
from atesd.training.language_model import LanguageModel
from atesd.training.rollout import HfRolloutConfig


@pytest.fixture(scope="session")
def trained() -> LanguageModel:
    """Return the embedded student that is right about half the time; no test may change it."""
    return language_model.load(TinyConfig(name="tiny"))


@pytest.fixture(scope="session")
def context() -> Callable[..., Collector]:
    """Return a function that makes the context of a run's first update."""

    def make(language: LanguageModel, max_new_tokens: int = 64, seed: int = 0) -> Collector:
        rollout = HfRolloutConfig(max_new_tokens=max_new_tokens).build(language)
        frozen = teacher.build(TeacherConfig(), language.model)
        return Collector(
            seed,
            Arithmetic(seed),
            language,
            rollout,
            frozen,
            ranks.join(),
            Stopwatch(),
            size=2,
            groups=1,
            grounded=True,
        )

    return make
