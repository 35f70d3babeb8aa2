"""The base of the suite for stores: an empty store for each test, and sessions to put in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from litesess.ids import key_of
from litesess.stores import Record, Store
from litesess.testing.clock import FakeClock

KEY: Final = key_of("first")
OTHER: Final = key_of("second")
THIRD: Final = key_of("third")


class StoreTests(ABC):
    """Tests of a store, each with an empty one."""

    clock: FakeClock
    store: Store

    @abstractmethod
    def make_store(self, clock: FakeClock) -> Store:
        """Return a new, empty store that reads the time from *clock*."""

    def setup_method(self) -> None:
        """Begin each test with an empty store."""
        self.clock = FakeClock()
        self.store = self.make_store(self.clock)

    def teardown_method(self) -> None:
        """Close the store of the test."""
        self.store.close()

    def record(self, data: dict[str, Any] | None = None, **fields: Any) -> Record:
        """Return a record that lives for 100 seconds."""
        fields = {"created_at": self.clock(), "expires_at": self.clock() + 100, **fields}
        return Record({"user": "ada"} if data is None else data, **fields)

    def put(self, key: str = KEY, data: dict[str, Any] | None = None, **fields: Any) -> Record:
        """Create a session and return it as it is stored."""
        assert self.store.create(key, self.record(data, **fields))
        return self.get(key)

    def get(self, key: str = KEY) -> Record:
        """Return a session that must be there."""
        record = self.store.load(key)
        assert record is not None
        return record
