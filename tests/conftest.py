"""Fixtures that several modules share."""

from __future__ import annotations

import pytest
from engines import seed_salts

from litesess.testing import FakeClock


@pytest.fixture(autouse=True)
def _same_salts_each_time() -> None:
    seed_salts()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
