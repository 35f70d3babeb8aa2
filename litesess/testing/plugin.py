"""Fixtures for pytest, there wherever litesess is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# pytest imports this module in every run where litesess is installed, before coverage begins.
# So each fixture imports its modules at its first use.
if TYPE_CHECKING:
    from litesess.stores.memory import MemoryStore
    from litesess.testing.clock import FakeClock


@pytest.fixture
def litesess_clock() -> FakeClock:
    """A clock that a test sets: ``clock=litesess_clock`` for store and middleware."""
    from litesess.testing.clock import FakeClock  # noqa: PLC0415  # pytest loads this plugin in each project; few tests use the clock

    return FakeClock()


@pytest.fixture
def litesess_store(litesess_clock: FakeClock) -> Iterator[MemoryStore]:
    """A store in memory, by that clock."""
    from litesess.stores.memory import MemoryStore  # noqa: PLC0415  # pytest loads this plugin in each project; few tests use the clock

    with MemoryStore(clock=litesess_clock, gc_interval=None) as store:
        yield store
