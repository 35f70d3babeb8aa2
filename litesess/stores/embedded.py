"""The sessions' rules over any key-value engine that can run a plan under its lock.

``MemoryStore`` and ``WALStore`` differ in their engine alone, so the rules stand here once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from litesess import codec, ids
from litesess.engine.commit import Lookup, Plan, ResultT
from litesess.engine.format import Change, Clear, Delete, Entry, Put, Touch
from litesess.errors import VersionConflict
from litesess.stores.base import KEEP, Owner, Record, Store, kept_handles

logger = logging.getLogger("litesess.store")

#: So many deletions make one record, and hold up other writers as long as one.
DELETE_BATCH: Final = 50

_KEY: Final = re.compile(r"[0-9a-f]{64}\Z")


class KeyValueEngine(Protocol):
    """What an embedded store is built on; :class:`litesess.engine.db.Engine` is one."""

    def get(self, key: bytes) -> Entry | None:
        """Return what is stored under *key*."""

    def transact(self, plan: Plan[ResultT], *, sync: bool) -> tuple[ResultT, int]:
        """Run *plan* under the lock and make its changes; return its result and the version."""

    def scan(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield every key with what is stored under it."""

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before."""

    def close(self) -> None:
        """Let go of everything."""


class EmbeddedStore(Store):
    """A store on an engine in this process."""

    def __init__(self, engine: KeyValueEngine, *, durable: bool) -> None:
        self._engine = engine
        self._durable = durable

    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""
        entry = self._engine.get(_raw(key))
        if entry is None or entry.expires_at <= self.clock():
            return None
        packed = _unpack(key, entry)
        return None if packed is None else _record(packed, entry.expires_at, entry.version)

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""
        now = self.clock()
        put = _put(key, record)

        def plan(stored: Lookup) -> tuple[Sequence[Change], bool]:
            entry = stored.get(put.key)
            is_taken = entry is not None and entry.expires_at > now
            return ([], False) if is_taken else ([put], True)

        is_created, _ = self._engine.transact(plan, sync=self._durable)
        return is_created

    def update(
        self,
        key: str,
        changes: Mapping[str, Any],
        removed: Collection[str],
        *,
        expires_at: float | None = None,
        cookie: Mapping[str, Any] | None = None,
        owner: Owner = KEEP,
        if_version: int | None = None,
    ) -> Record | None:
        """Merge changes into what is stored now; see :meth:`Store.update`."""
        merge = _Merge(key, self.clock(), changes, removed, expires_at, cookie, owner)

        def plan(stored: Lookup) -> tuple[Sequence[Change], Record | None]:
            entry = stored.get(merge.key)
            record = merge.into(entry)
            if record is None:
                return [], None
            if if_version is not None and entry is not None and entry.version != if_version:
                raise VersionConflict(f"version {entry.version} is stored, not {if_version}")
            return [_put(key, record)], record

        return self._merged(plan)

    def touch(self, key: str, expires_at: float, *, version: int | None = None) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        raw, now = _raw(key), self.clock()

        def plan(stored: Lookup) -> tuple[Sequence[Change], bool]:
            entry = stored.get(raw)
            if entry is None or entry.expires_at <= now:
                return [], False
            if version is not None and entry.version != version:
                return [], False
            return [Touch(raw, entry.version, expires_at)], True

        is_touched, _ = self._engine.transact(plan, sync=False)
        return is_touched

    def rotate(
        self,
        old: str,
        new: str,
        changes: Mapping[str, Any],
        removed: Collection[str],
        *,
        expires_at: float | None = None,
        cookie: Mapping[str, Any] | None = None,
        owner: Owner = KEEP,
    ) -> Record | None:
        """Merge changes and move the session to the key *new*; see :meth:`Store.rotate`."""
        now = self.clock()
        merge = _Merge(old, now, changes, removed, expires_at, cookie, owner)

        def plan(stored: Lookup) -> tuple[Sequence[Change], Record | None]:
            record = merge.into(stored.get(merge.key))
            if record is None:
                return [], None
            put = _put(new, record)
            _check_free(stored.get(put.key), now)
            return [Delete(merge.key), put], record

        return self._merged(plan)

    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*, in one step."""
        raw, put, now = _raw(old), _put(new, record), self.clock()

        def plan(stored: Lookup) -> tuple[Sequence[Change], None]:
            _check_free(stored.get(put.key), now)
            return ([put] if stored.get(raw) is None else [Delete(raw), put]), None

        self._engine.transact(plan, sync=self._durable)

    def delete(self, key: str) -> bool:
        """Delete the session; say whether there was one."""
        raw, now = _raw(key), self.clock()

        def plan(stored: Lookup) -> tuple[Sequence[Change], bool]:
            entry = stored.get(raw)
            if entry is None:
                return [], False
            return [Delete(raw)], entry.expires_at > now

        was_there, _ = self._engine.transact(plan, sync=self._durable)
        return was_there

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield the sessions that have not expired, one at a time, with their keys."""
        now = self.clock()
        for raw, entry in self._engine.scan():
            if entry.expires_at > now:
                key = raw.hex()
                packed = _unpack(key, entry)
                if packed is not None:
                    yield key, _record(packed, entry.expires_at, entry.version)

    def delete_owner(self, owner: str, *, keep: Collection[Any] = ()) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        spared = kept_handles(keep)

        def is_owned(key: bytes, entry: Entry) -> bool:
            # Again under the lock: it may have changed hands meanwhile.
            packed = _unpack(key.hex(), entry)
            return packed is not None and packed.owner == owner

        deleted = 0
        while True:
            keys = (
                bytes.fromhex(key)
                for key, record in self.records()
                if record.owner == owner and ids.handle_of(key) not in spared
            )
            count = self._delete_where(keys, is_owned, sync=self._durable, expired=False)
            if not count:
                return deleted
            # Once more: one of them may have been rotated past the search.
            deleted += count

    def clear(self) -> None:
        """Delete every session."""
        self._engine.transact(lambda _stored: ([Clear()], None), sync=self._durable)

    def collect(self) -> int:
        """Delete the sessions that have expired; return how many."""
        now = self.clock()

        def is_expired(_key: bytes, entry: Entry) -> bool:
            # Again under the lock: it may have been touched meanwhile.
            return entry.expires_at <= now

        # Not synced for itself: what comes back after a power cut is expired all the same.
        return self._delete_where(self._engine.expired(now), is_expired, sync=False, expired=True)

    def close(self) -> None:
        """Let go of everything; later operations raise StoreClosed.  Again is harmless."""
        self._engine.close()

    def _merged(self, plan: Plan[Record | None]) -> Record | None:
        record, version = self._engine.transact(plan, sync=self._durable)
        if record is not None:
            record.version = version
        return record

    def _delete_where(
        self, keys: Iterator[bytes], is_doomed: _Condition, *, sync: bool, expired: bool
    ) -> int:
        deleted = 0
        while batch := [*islice(keys, DELETE_BATCH)]:

            def plan(stored: Lookup, batch: list[bytes] = batch) -> tuple[Sequence[Change], int]:
                doomed = [
                    Delete(key, expired)
                    for key in batch
                    if (entry := stored.get(key)) is not None and is_doomed(key, entry)
                ]
                return doomed, len(doomed)

            count, _ = self._engine.transact(plan, sync=sync)
            deleted += count
        return deleted


class _Condition(Protocol):
    def __call__(self, key: bytes, entry: Entry, /) -> bool: ...


class _Merge:
    """One request's changes, ready to be merged into whatever is stored by then."""

    __slots__ = ("_cookie", "_expires_at", "_frames", "_now", "_owner", "_removed", "key")

    def __init__(
        self,
        key: str,
        now: float,
        changes: Mapping[str, Any],
        removed: Collection[str],
        expires_at: float | None,
        cookie: Mapping[str, Any] | None,
        owner: Owner,
    ) -> None:
        self.key = _raw(key)
        self._now = now
        # Encoded before the lock is taken, and before anything is written.
        self._frames = codec.encode_items(changes)
        self._removed = removed
        self._expires_at = expires_at
        self._cookie = cookie
        self._owner = owner

    def into(self, entry: Entry | None) -> Record | None:
        """Return what is stored under the key, changed; None if nothing live is."""
        if entry is None or entry.expires_at <= self._now:
            return None
        packed = _unpack(self.key.hex(), entry)
        if packed is None:
            return None
        frames = packed.frames
        for name in self._removed:
            frames.pop(name, None)
        frames.update(self._frames)
        return Record(
            codec.Encoded(frames),
            packed.created_at,
            entry.expires_at if self._expires_at is None else self._expires_at,
            packed.cookie if self._cookie is None else (self._cookie or None),
            packed.owner if self._owner is KEEP else self._owner,
        )


def _check_free(entry: Entry | None, now: float) -> None:
    if entry is not None and entry.expires_at > now:
        raise VersionConflict("the new key is taken")


def _raw(key: str) -> bytes:
    if not _KEY.match(key):
        raise ValueError(f"a key is 64 hex digits, the SHA-256 of a session id; got {len(key)}")
    return bytes.fromhex(key)


def _put(key: str, record: Record) -> Put:
    value = codec.pack(record.created_at, record.owner, record.cookie, record.frames)
    return Put(_raw(key), value, record.expires_at)


def _unpack(key: str, entry: Entry) -> codec.Packed | None:
    try:
        return codec.unpack(entry.value)
    except ValueError:
        # Its checksum is good, so nothing rotted; it must not turn every request into an error.
        logger.exception("session %s can't be decoded, treated as absent", ids.handle_of(key))
        return None


def _record(packed: codec.Packed, expires_at: float, version: int) -> Record:
    return Record(
        codec.Encoded(packed.frames),
        packed.created_at,
        expires_at,
        packed.cookie,
        packed.owner,
        version,
    )
