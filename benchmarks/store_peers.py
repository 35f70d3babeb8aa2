"""Peers that are databases, and the disk by hand."""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.disk import by_hand
from benchmarks.peers import (
    LIFE,
    PATIENCE,
    RECORD_BYTES,
    Data,
    Item,
    Peer,
    batches,
    decode,
    encode,
)  # fmt: skip


class Redis(Peer):
    """Redis through its own client."""

    def __init__(self, url: str) -> None:
        self._client: Any = import_module("redis").Redis.from_url(url)

    def set(self, key: str, data: Data) -> None:
        """Store all values of a session."""
        self._client.set(key, encode(data), ex=LIFE)

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        return decode(self._client.get(key))

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        assert self._client.expire(key, LIFE)

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        assert self._client.delete(key)

    def fill(self, new: Iterable[Item]) -> None:
        """Store sessions, many at once."""
        for batch in batches(new):
            with self._client.pipeline(transaction=False) as pipeline:
                for key, data in batch:
                    pipeline.set(key, encode(data), ex=LIFE)
                pipeline.execute()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def used_memory(self) -> int:
        """Return the memory of the server in bytes."""
        return int(self._client.info("memory")["used_memory"])

    def clear(self) -> None:
        """Delete all data of the server."""
        self._client.flushall()


class SQLite(Peer):
    """A table of SQLite's, with a connection for each thread."""

    # Not INSERT OR REPLACE, which deletes the row and inserts another one: that takes longer.
    _SET = (
        "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (key)"
        " DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at"
    )

    def __init__(self, path: Path, synchronous: str) -> None:
        self._path = path
        self._synchronous = synchronous
        self._local = threading.local()
        self._connection().execute(
            "CREATE TABLE IF NOT EXISTS sessions"
            " (key TEXT PRIMARY KEY, data BLOB, expires_at REAL) WITHOUT ROWID"
        )

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, isolation_level=None, timeout=PATIENCE)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute(f"PRAGMA synchronous={self._synchronous}")
            self._local.connection = found
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Take the lock first: the write of a transaction that reads first can be refused."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            yield connection

    def set(self, key: str, data: Data) -> None:
        """Store all values of a session."""
        self._connection().execute(self._SET, (key, encode(data), time.time() + LIFE))

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        found = self._connection().execute(
            "SELECT data FROM sessions WHERE key = ? AND expires_at > ?", (key, time.time())
        )
        (data,) = found.fetchone()
        return decode(data)

    def update(self, key: str, changes: Data) -> None:
        """Merge values into a session that is there, in a transaction."""
        with self._transaction():
            self.set(key, {**self.get(key), **changes})

    def touch(self, key: str) -> None:
        """Let a session that is there live on."""
        self._connection().execute(
            "UPDATE sessions SET expires_at = ? WHERE key = ?", (time.time() + LIFE, key)
        )

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        self._connection().execute("DELETE FROM sessions WHERE key = ?", (key,))

    def fill(self, new: Iterable[Item]) -> None:
        """Store sessions in one transaction."""
        with self._transaction() as connection:
            until = time.time() + LIFE
            rows = ((key, encode(data), until) for key, data in new)
            connection.executemany(self._SET, rows)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def leave(self) -> None:
        """Close this thread's connection."""
        found = self._local.__dict__.pop("connection", None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """Close this thread's connection; the other threads have closed theirs."""
        self.leave()


class LMDB(Peer):
    """A database of LMDB's; a value begins with its expiry."""

    _EXPIRY = struct.Struct("<d")

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._environment: Any = import_module("lmdb").open(
            str(path), map_size=1 << 36, max_readers=512, max_spare_txns=64, sync=sync
        )

    def _value(self, data: Data) -> bytes:
        return self._EXPIRY.pack(time.time() + LIFE) + encode(data)

    def _data(self, value: bytes) -> Data:
        assert self._EXPIRY.unpack_from(value)[0] > time.time()
        return decode(value[self._EXPIRY.size :])

    def set(self, key: str, data: Data) -> None:
        """Store all values of a session."""
        with self._environment.begin(write=True) as transaction:
            transaction.put(key.encode(), self._value(data))

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        with self._environment.begin() as transaction:
            return self._data(transaction.get(key.encode()))

    def update(self, key: str, changes: Data) -> None:
        """Merge values into a session that is there, in a transaction."""
        with self._environment.begin(write=True) as transaction:
            data = self._data(transaction.get(key.encode()))
            transaction.put(key.encode(), self._value({**data, **changes}))

    def touch(self, key: str) -> None:
        """Let a session that is there live on; the whole value is written."""
        with self._environment.begin(write=True) as transaction:
            value = transaction.get(key.encode())
            expiry = self._EXPIRY.pack(time.time() + LIFE)
            transaction.put(key.encode(), expiry + value[self._EXPIRY.size :])

    def delete(self, key: str) -> None:
        """Delete a session that is there."""
        with self._environment.begin(write=True) as transaction:
            assert transaction.delete(key.encode())

    def fill(self, new: Iterable[Item]) -> None:
        """Store sessions in one transaction."""
        with self._environment.begin(write=True) as transaction:
            for key, data in new:
                transaction.put(key.encode(), self._value(data))
        self._environment.sync(True)

    def close(self) -> None:
        """Close the database."""
        self._environment.close()


class WriteOnly(Peer):
    """A peer that only writes, to show the speed of the disk."""

    def get(self, key: str) -> Data:
        """Not here."""
        raise NotImplementedError(key)

    def delete(self, key: str) -> None:
        """Not here."""
        raise NotImplementedError(key)

    def fill(self, new: Iterable[Item]) -> None:
        """Store nothing, because nothing is read."""


class ByHand(WriteOnly):
    """Writes the bytes of one record of litesess over reserved space of a file, and syncs them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = count()
        self._local = threading.local()
        # Files for the next threads: each holds a descriptor until the process ends.
        self._idle: list[Callable[[], None]] = []

    def set(self, key: str, data: Data) -> None:  # noqa: ARG002  # as it is called
        """Write and sync."""
        write: Callable[[], None] | None = getattr(self._local, "write", None)
        if write is None:
            write = self._local.write = self._take()
        write()

    def _take(self) -> Callable[[], None]:
        try:
            return self._idle.pop()
        except IndexError:
            directory = self._path / f"{os.getpid()}-{next(self._numbers)}"
            directory.mkdir(parents=True)
            return by_hand(str(directory), RECORD_BYTES)

    def leave(self) -> None:
        """Keep this thread's file for another thread."""
        write = self._local.__dict__.pop("write", None)
        if write is not None:
            self._idle.append(write)


class Appended(WriteOnly):
    """A file that is opened, appended to, synced and closed for each write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, key: str, data: Data) -> None:
        """Append to the one file of all."""
        with self._path.open("ab", buffering=0) as file:
            file.write(f"{key} ".encode() + encode(data) + b"\n")
            os.fsync(file.fileno())
