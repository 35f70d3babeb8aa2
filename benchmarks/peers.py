"""The stores that are measured: their common calls, and the stores of litesess.

Each peer keeps the same session under the same key; its note names its further work and the
features that it lacks.  A dict goes in and comes out: encoding it is part of the work.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from litesess import Record, Store, WALStore
from litesess.engine import Delete, Lookup, Put, Touch
from litesess.engine import format as form
from litesess.ids import key_of
from litesess.stores.stored import put_of, raw_key
from litesess.stores.wal import LARGEST_WAL_LIMIT

Data: TypeAlias = "dict[str, Any]"
Item: TypeAlias = "tuple[str, Data]"

#: How long a session lives, in seconds.
LIFE: Final = 86_400
#: The longest wait for another thread's lock, in seconds.
PATIENCE: Final = 60
KEY: Final = bytes(range(32))
_SESSION: Final[Data] = {
    "user": "ada",
    "theme": "dark",
    "seen": {"news": "2026-01-31", "terms": 7},
    "cart": [{"item": "a" * 50, "count": each} for each in range(4)],
}
#: The number of sessions that one step of our engine stores.
_PUTS: Final = 50


def session(number: int) -> Data:
    """Return the values of a session; two sessions differ in one number."""
    return {**_SESSION, "count": 100_000 + number}


def key(number: int) -> str:
    """Return the key of a session."""
    return key_of(str(number))


def items(count: int) -> Iterator[Item]:
    """Yield so many sessions with their keys."""
    return ((key(number), session(number)) for number in range(count))


def encode(data: Data) -> bytes:
    """Return the JSON of a session, without spaces."""
    return json.dumps(data, separators=(",", ":")).encode()


def decode(value: bytes) -> Data:
    """Return the session of its JSON."""
    data: Data = json.loads(value)
    return data


def batches(items: Iterable[Item], size: int = 1000) -> Iterator[list[Item]]:
    """Yield the items in lists of *size*."""
    iterator = iter(items)
    return iter(lambda: [*islice(iterator, size)], [])


#: Of a session's JSON.
VALUE_BYTES: Final = len(encode(session(0)))
#: Of a record in our log that holds such a value.
RECORD_BYTES: Final = form.RECORD_BYTES + form.KEY_BYTES + 8 + VALUE_BYTES


class Peer(ABC):
    """A store of sessions; any thread can call any method."""

    def create(self, key: str, data: Data) -> None:
        """Store a new session."""
        self.set(key, data)

    @abstractmethod
    def set(self, key: str, data: Data) -> None:
        """Store all values of a session that is there."""

    @abstractmethod
    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""

    def update(self, key: str, changes: Data) -> None:
        """Change some values of a session that is there."""
        self.set(key, {**self.get(key), **changes})

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        self.set(key, self.get(key))

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete a session that is there."""

    def fill(self, new: Iterable[Item]) -> None:
        """Store new sessions, as quickly as it can be done."""
        for key, data in new:
            self.create(key, data)

    def leave(self) -> None:  # noqa: B027  # most have nothing of the kind
        """Release the resources of this thread."""

    def close(self) -> None:  # noqa: B027  # as above
        """Release all resources."""


class OurStore(Peer):
    """One of our stores."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def create(self, key: str, data: Data) -> None:
        """Store a new session."""
        now = time.time()
        assert self.store.create(key, Record(data, now, now + LIFE))

    def set(self, key: str, data: Data) -> None:
        """Merge all values into a session that is there."""
        assert self.store.update(key, data, ()) is not None

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        record = self.store.load(key)
        assert record is not None
        return record.data

    def update(self, key: str, changes: Data) -> None:
        """Merge values into a session that is there."""
        self.set(key, changes)

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        assert self.store.touch(key, time.time() + LIFE)

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        assert self.store.delete(key)

    def fill(self, new: Iterable[Item]) -> None:
        """Store new sessions, many at once."""
        now = time.time()
        for batch in batches(new):
            self.store.create_all({key: Record(data, now, now + LIFE) for key, data in batch})

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class OurDirectory(OurStore):
    """A WALStore."""

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        super().__init__(WALStore(path, **options))
        self._path = path
        self._options = options

    def fill(self, new: Iterable[Item]) -> None:
        """Store new sessions, many at once and without syncing, and put all into one snapshot."""
        # A long wait, because so many sessions can start a compaction.
        options = {
            **self._options,
            "durable": False,
            "wal_limit": LARGEST_WAL_LIMIT,
            "lock_timeout": 600,
        }
        with WALStore(self._path, **options) as store:
            # No public method stores many in one step.
            transact = store._engine.transact  # noqa: SLF001  # the engine alone is measured
            now = time.time()
            for batch in batches(new, _PUTS):
                records = ((key, Record(data, now, now + LIFE)) for key, data in batch)
                puts = [put_of(raw_key(key), record, now) for key, record in records]
                transact(partial(_just, puts), sync=False)
            store.compact()


class OurEngine(OurDirectory):
    """The base of a WALStore: JSON under keys, without the rules of sessions."""

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        super().__init__(path, options)
        self._engine = cast("WALStore", self.store)._engine  # noqa: SLF001  # nothing public is

    def create(self, key: str, data: Data) -> None:
        """Put the JSON of a session."""
        self.set(key, data)

    def set(self, key: str, data: Data) -> None:
        """Put the JSON of a session."""
        put = Put(raw_key(key), encode(data), time.time() + LIFE)
        self._engine.transact(lambda _stored: ([put], None), sync=True)

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        entry = self._engine.get(raw_key(key))
        assert entry is not None
        assert entry.expires_at > time.time()
        return decode(entry.value)

    def update(self, key: str, changes: Data) -> None:
        """Merge values into a session that is there."""
        raw = raw_key(key)

        def plan(stored: Lookup) -> tuple[Sequence[Put], None]:
            entry = stored.get(raw)
            assert entry is not None
            value = encode({**decode(entry.value), **changes})
            return [Put(raw, value, time.time() + LIFE)], None

        self._engine.transact(plan, sync=True)

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        raw = raw_key(key)

        def plan(stored: Lookup) -> tuple[Sequence[Touch], None]:
            entry = stored.get(raw)
            assert entry is not None
            return [Touch(raw, entry.version, time.time() + LIFE)], None

        self._engine.transact(plan, sync=False)

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        self._engine.transact(lambda _stored: ([Delete(raw_key(key))], None), sync=True)

    def fill(self, new: Iterable[Item]) -> None:
        """Put new sessions, many at once, and put all into one snapshot."""
        for batch in batches(new, _PUTS):
            expires_at = time.time() + LIFE
            puts = [Put(raw_key(key), encode(data), expires_at) for key, data in batch]
            self._engine.transact(partial(_just, puts), sync=False)
        self.store.compact()


def _just(puts: Sequence[Put], _stored: Lookup) -> tuple[Sequence[Put], None]:
    return puts, None


class OurRedis(OurStore):
    """A RedisStore."""

    def __init__(self, url: str) -> None:
        # Here, as the client it needs may not be installed.
        make = import_module("litesess.stores.redis").RedisStore
        super().__init__(make(url, timeout=PATIENCE))


#: Opens ours in a directory: durable, not durable, encrypted; without the rules of sessions.
ours = partial(OurDirectory, options={})
ours_not_durable = partial(OurDirectory, options={"durable": False})
ours_encrypted = partial(OurDirectory, options={"encryption_key": KEY})
our_engine = partial(OurEngine, options={"lock_timeout": 600})
