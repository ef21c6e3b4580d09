"""What the tests of integrations share."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pytest

from bbopt import registry
from tests.integrations.studies import Recording


@pytest.fixture
def quiet() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> type[Recording]:
    monkeypatch.setitem(registry._optimizers, "recording", Recording)
    monkeypatch.setattr(Recording, "repeats", 1)
    return Recording
