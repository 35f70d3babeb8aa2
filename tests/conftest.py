"""Fixtures that several modules share."""

from __future__ import annotations

import pytest

from litesess.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
