"""A student that is right about half the time."""

from __future__ import annotations

import pytest

from atesd.models import TinyConfig
from atesd.training import language_model
from atesd.training.language_model import LanguageModel


@pytest.fixture(scope="session")
def trained() -> LanguageModel:
    """Return the embedded student that is right about half the time; no test may change it."""
    return language_model.load(TinyConfig(name="tiny"))
