"""Fixtures that several modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import engines
import pytest
from apps import WatchedMemoryStore, WatchedWALStore
from engines import seed_salts

from litesess.crypto import EncryptionKey
from litesess.testing import FakeClock


@pytest.fixture(autouse=True)
def _same_salts_each_time() -> None:
    seed_salts()


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every engine of the test be encrypted, by 32 bytes: a passphrase takes 0.15 s."""
    monkeypatch.setattr(engines, "encryption_key", EncryptionKey(bytes(range(32))))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "wal"])
def each_store(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path
) -> Iterator[WatchedMemoryStore | WatchedWALStore]:
    """A store of each kind, that can be watched."""
    if request.param == "memory":
        yield WatchedMemoryStore(clock=clock)
    else:
        with WatchedWALStore(tmp_path / "data", clock=clock) as store:
            yield store
