"""Fixtures for every test, and the settings of hypothesis."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from sayso.models.store import Store

settings.register_profile("sayso", derandomize=True, deadline=None)
settings.load_profile("sayso")


@pytest.fixture(scope="session")
def model_path() -> Callable[[str], Path]:
    """Path of a real model by its name in the store; the test is skipped where that is not here."""
    store = Store()

    def path(name: str) -> Path:
        if not store.has(name):
            pytest.skip(f"the model {name} is not here; fetch it with: sayso models pull {name}")
        return store.path(name)

    return path
