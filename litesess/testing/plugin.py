"""Fixtures for pytest, there wherever litesess is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from litesess.stores.memory import MemoryStore
    from litesess.testing.clock import FakeClock


@pytest.fixture
def litesess_clock() -> FakeClock:
    """A clock that a test sets: ``clock=litesess_clock`` for store and middleware."""
    from litesess.testing.clock import FakeClock  # noqa: PLC0415  # not before it is asked for

    return FakeClock()


@pytest.fixture
def litesess_store(litesess_clock: FakeClock) -> Iterator[MemoryStore]:
    """A store in memory, by that clock."""
    from litesess.stores.memory import MemoryStore  # noqa: PLC0415  # not before it is asked for

    with MemoryStore(clock=litesess_clock, gc_interval=None) as store:
        yield store
