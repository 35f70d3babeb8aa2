"""The sessions' rules over any key-value engine that can run a plan under its lock.

``MemoryStore`` and ``WALStore`` differ in their engine alone, so the rules stand here once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

from litesess import codec, ids
from litesess.engine.commit import Lookup, Plan, ResultT
from litesess.engine.format import Change, Clear, Delete, Entry, Put, Touch
from litesess.errors import StoreFull, VersionConflict
from litesess.stores.base import KEEP, MOVED_FOR, Owner, Record, Store, kept, kept_handles

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

    def count(self) -> int:
        """Return how many keys there are, expired or not."""

    def scan(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield every key with what is stored under it."""

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before."""

    def close(self) -> None:
        """Let go of everything."""


class EmbeddedStore(Store):
    """A store on an engine in this process."""

    def __init__(
        self, engine: KeyValueEngine, *, durable: bool, max_sessions: int | None = None
    ) -> None:
        self._engine = engine
        self._durable = durable
        self._max_sessions = max_sessions

    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""
        entry = self._engine.get(_raw(key))
        if entry is None or entry.expires_at <= self.clock():
            return None
        packed = _unpack(key, entry)
        if packed is None or packed.moved_to is not None:
            return None
        return _record(packed, entry.expires_at, entry.version)

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""
        now = self.clock()
        put = _put(_raw(key), record)
        self._count_first()

        def plan(stored: Lookup) -> tuple[Sequence[Change], bool]:
            entry = stored.get(put.key)
            if entry is not None and entry.expires_at > now and not _is_moved(put.key, entry):
                return [], False
            if entry is None:
                self._check_room(record)
            return [put], True

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
            found = _find(stored, merge.key, merge.now, to_change=True)
            if found is None:
                return [], None
            if if_version is not None and found.key != merge.key:
                return [], None
            if if_version is not None and found.entry.version != if_version:
                raise VersionConflict(f"version {found.entry.version} is stored, not {if_version}")
            record = merge.into(found)
            record.is_moved = found.key != merge.key
            return [_put(found.key, record)], record

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
            if version is None and _is_moved(raw, entry):
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
            found = _find(stored, merge.key, now)
            # Not on from where another has moved it: whoever came with the old id would be given
            # the one that belongs to a login.
            if found is None or found.key != merge.key:
                return [], None
            record = merge.into(found)
            put = _put(_raw(new), record)
            _check_free(stored.get(put.key), now)
            # What began before a login has no part in what it began.
            is_same = record.owner == found.packed.owner
            mark = codec.pack_moved(new, takes_changes=is_same)
            return [Put(merge.key, mark, now + MOVED_FOR), put], record

        return self._merged(plan)

    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*, in one step."""
        raw, put, now = _raw(old), _put(_raw(new), record), self.clock()
        self._count_first()

        def plan(stored: Lookup) -> tuple[Sequence[Change], None]:
            _check_free(stored.get(put.key), now)
            deletions, _ = _deletions(stored, raw, now)
            if not deletions:
                self._check_room(record)
            return [*deletions, put], None

        self._engine.transact(plan, sync=self._durable)

    def delete(self, key: str) -> bool:
        """Delete the session; say whether there was one."""
        raw, now = _raw(key), self.clock()

        def plan(stored: Lookup) -> tuple[Sequence[Change], bool]:
            return _deletions(stored, raw, now)

        was_there, _ = self._engine.transact(plan, sync=self._durable)
        return was_there

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield the sessions that have not expired, one at a time, with their keys."""
        now = self.clock()
        for raw, entry in self._engine.scan():
            if entry.expires_at > now:
                key = raw.hex()
                packed = _unpack(key, entry)
                if packed is not None and packed.moved_to is None:
                    yield key, _record(packed, entry.expires_at, entry.version)

    def delete_owner(self, owner: str, *, keep: Collection[Any] = ()) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        spared = kept_handles(keep)
        kept_keys = [bytes.fromhex(key) for key in kept(keep)]
        now = self.clock()

        def doom(stored: Lookup, key: bytes) -> bytes | None:
            # Again under the lock: it may have been rotated, or changed hands, meanwhile.
            found = _find(stored, key, now)
            if found is None or found.packed.owner != owner:
                return None
            kept_now = (_find(stored, one, now) for one in kept_keys)
            is_spared = ids.handle_of(found.key.hex()) in spared or any(
                one is not None and one.key == found.key for one in kept_now
            )
            return None if is_spared else found.key

        deleted = 0
        while True:
            keys = (
                bytes.fromhex(key)
                for key, record in self.records()
                if record.owner == owner and ids.handle_of(key) not in spared
            )
            count = self._delete_where(keys, doom, sync=self._durable, expired=False)
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

        def doom(stored: Lookup, key: bytes) -> bytes | None:
            # Again under the lock: it may have been touched meanwhile.
            entry = stored.get(key)
            return key if entry is not None and entry.expires_at <= now else None

        # Not synced for itself: what comes back after a power cut is expired all the same.
        return self._delete_where(self._engine.expired(now), doom, sync=False, expired=True)

    def close(self) -> None:
        """Let go of everything; later operations raise StoreClosed.  Again is harmless."""
        self._engine.close()

    def _count_first(self) -> None:
        """Have the sessions counted before the lock is taken: the first time that takes long."""
        if self._max_sessions is not None:
            self._engine.count()

    def _check_room(self, record: Record) -> None:
        """Raise :class:`StoreFull` if *record* may not be stored beside those that are there."""
        limit = self._max_sessions
        if limit is not None and record.owner is None and self._engine.count() >= limit:
            # Nobody is put out for a newcomer: who floods the store must not end logins.
            raise StoreFull(
                f"{self!r} holds max_sessions={limit}, also counting expired ones that were not"
                " collected yet; only sessions with an owner are begun"
            )

    def _merged(self, plan: Plan[Record | None]) -> Record | None:
        record, version = self._engine.transact(plan, sync=self._durable)
        if record is not None:
            record.version = version
        return record

    def _delete_where(
        self,
        keys: Iterator[bytes],
        doom: Callable[[Lookup, bytes], bytes | None],
        *,
        sync: bool,
        expired: bool,
    ) -> int:
        deleted = 0
        while batch := [*islice(keys, DELETE_BATCH)]:

            def plan(stored: Lookup, batch: list[bytes] = batch) -> tuple[Sequence[Change], int]:
                found = (doom(stored, key) for key in batch)
                # Once each: two keys may lead to one session.
                doomed = dict.fromkeys(key for key in found if key is not None)
                marks = sum(_is_moved(key, stored.get(key)) for key in doomed)
                return [Delete(key, expired) for key in doomed], len(doomed) - marks

            count, _ = self._engine.transact(plan, sync=sync)
            deleted += count
        return deleted


class _Merge:
    """One request's changes, ready to be merged into whatever is stored by then."""

    __slots__ = ("_cookie", "_expires_at", "_frames", "_owner", "_removed", "key", "now")

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
        self.now = now
        # Encoded before the lock is taken, and before anything is written.
        self._frames = codec.encode_items(changes)
        self._removed = removed
        self._expires_at = expires_at
        self._cookie = cookie
        self._owner = owner

    def into(self, found: _Found) -> Record:
        """Return what was found, changed."""
        packed = found.packed
        frames = packed.frames
        for name in self._removed:
            frames.pop(name, None)
        frames.update(self._frames)
        owner = packed.owner if self._owner is KEEP else self._owner
        # A life that was counted from what another request has changed since is none.
        is_kept = found.key != self.key
        return Record(
            codec.Encoded(frames),
            packed.created_at if owner == packed.owner else self.now,
            found.entry.expires_at if is_kept or self._expires_at is None else self._expires_at,
            packed.cookie if self._cookie is None else (self._cookie or None),
            owner,
        )


class _Found(NamedTuple):
    """A live session and where it lies."""

    key: bytes
    entry: Entry
    packed: codec.Packed


def _find(stored: Lookup, key: bytes, now: float, *, to_change: bool = False) -> _Found | None:
    """Return what is stored under *key* or, if it was moved, under the key it has now.

    Args:
        stored: what is.
        key: of the session, or that it had.
        now: in Unix seconds.
        to_change: not beyond a change of owner.
    """
    while True:
        entry = stored.get(key)
        if entry is None or entry.expires_at <= now:
            return None
        packed = _unpack(key.hex(), entry)
        if packed is None:
            return None
        if packed.moved_to is None:
            return _Found(key, entry, packed)
        if to_change and not packed.takes_changes:
            return None
        key = bytes.fromhex(packed.moved_to)


def _deletions(stored: Lookup, key: bytes, now: float) -> tuple[Sequence[Change], bool]:
    """Return what deletes the session under *key*, wherever it is now; say whether it lives."""
    doomed = [Delete(key)] if stored.get(key) is not None else []
    found = _find(stored, key, now)
    if found is not None and found.key != key:
        doomed.append(Delete(found.key))
    return doomed, found is not None


def _is_moved(key: bytes, entry: Entry | None) -> bool:
    packed = None if entry is None else _unpack(key.hex(), entry)
    return packed is not None and packed.moved_to is not None


def _check_free(entry: Entry | None, now: float) -> None:
    if entry is not None and entry.expires_at > now:
        raise VersionConflict("the new key is taken")


def _raw(key: str) -> bytes:
    if not _KEY.match(key):
        raise ValueError(f"a key is 64 hex digits, the SHA-256 of a session id; got {len(key)}")
    return bytes.fromhex(key)


def _put(key: bytes, record: Record) -> Put:
    value = codec.pack(record.created_at, record.owner, record.cookie, record.frames)
    return Put(key, value, record.expires_at)


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
