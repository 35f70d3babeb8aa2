"""One suite over every store."""

from __future__ import annotations

import tempfile

import pytest

from litesess import MemoryStore, Store, WALStore
from litesess.testing import FakeClock, StoreContract

OPERATIONS = (
    "load", "create", "update", "touch", "rotate", "replace", "delete", "records", "clear",
    "collect", "close",
)  # fmt: skip


@pytest.mark.parametrize("missing", OPERATIONS)
def test_a_store_that_lacks_an_operation_cant_be_made(missing):
    methods = {name: lambda self: None for name in OPERATIONS if name != missing}
    with pytest.raises(TypeError, match=missing):
        type("Partial", (Store,), methods)()
    assert type("Whole", (Store,), {**methods, missing: lambda self: None})()


class TestMemoryStore(StoreContract):
    def make_store(self, clock: FakeClock) -> Store:
        return MemoryStore(clock=clock)


class OnDisk(StoreContract):
    """Adds a directory that goes away with the test."""

    options: dict[str, object] = {}

    def make_store(self, clock: FakeClock) -> Store:
        self.directory = tempfile.TemporaryDirectory()
        return WALStore(self.directory.name, clock=clock, **self.options)

    def teardown_method(self) -> None:
        super().teardown_method()
        self.directory.cleanup()


class TestWALStore(OnDisk):
    pass


class TestWALStoreThatIsNotDurable(OnDisk):
    options = {"durable": False}


class TestWALStoreThatIsEncrypted(OnDisk):
    options = {"encryption_key": bytes(range(32))}


class TestWALStoreThatReopensBeforeEachLook(OnDisk):
    """What a look finds was read from the disk, log or snapshot, by a store just opened."""

    def get(self, key: str = "") -> object:
        self.store.close()
        self.store = WALStore(self.directory.name, clock=self.clock)
        return super().get(key) if key else super().get()


class TestWALStoreThatCompactsBeforeEachLook(OnDisk):
    options = {"encryption_key": bytes(range(32))}

    def get(self, key: str = "") -> object:
        self.store.compact()
        return super().get(key) if key else super().get()
