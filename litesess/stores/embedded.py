"""The sessions' rules over any key-value engine that can run a plan under its lock.

``MemoryStore`` and ``WALStore`` differ in their engine alone, so the rules stand here once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from litesess import codec, ids
from litesess.engine import Change, Clear, Delete, Entry, Lookup, Plan, Touch
from litesess.errors import StoreFull, VersionConflict
from litesess.events import Event
from litesess.stores import ending
from litesess.stores.base import KEEP, Owner, Record, Store
from litesess.stores.keeping import kept
from litesess.stores.stored import (
    Doomed,
    Found,
    Merge,
    Merged,
    check_free,
    deletes,
    doom,
    events_of,
    find_session,
    forwarding,
    owned_sessions,
    put_of,
    raw_key,
    record_of,
    session_in,
    unpack,
)

logger = logging.getLogger("litesess.store")

#: So many deletions make one record, and hold up other writers as long as one.
DELETE_BATCH: Final = 50


class KeyValueEngine(ending.Engine, Protocol):
    """What an embedded store is built on; :class:`litesess.engine.Engine` is one."""

    def find(self, owner: bytes) -> list[tuple[bytes, Entry]]:
        """Return the keys that are stored for *owner*, with what is stored under them."""

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
        self,
        engine: KeyValueEngine,
        *,
        durable: bool,
        max_sessions: int | None = None,
        max_per_owner: int | None = None,
    ) -> None:
        self._engine = engine
        self._durable = durable
        self._max_sessions = max_sessions
        self._max_per_owner = max_per_owner

    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""
        raw = raw_key(key)
        entry = self._engine.get(raw)
        if entry is None or entry.expires_at <= self.clock():
            return None
        packed = unpack(raw, entry)
        if packed is None or packed.moved_to is not None:
            return None
        return record_of(packed, entry.expires_at, entry.version)

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""
        now = self.clock()
        put = put_of(raw_key(key), record, now)
        self._count_first()
        self._thin_out(record.owner)

        def plan(stored: Lookup) -> tuple[Sequence[Change], list[Found] | None]:
            entry = stored.get(put.key)
            if entry is not None and entry.expires_at > now:
                return [], None
            if entry is None:
                self._check_room(record)
            evicted = self._too_many(stored, record.owner, (put.key,), now)
            return [put, *deletes(evicted)], evicted

        evicted, record.version = self._engine.transact(plan, sync=self._durable)
        if evicted is None:
            return False
        self.tell(Event("created", ids.handle_of(key), record), *events_of("evicted", evicted))
        return True

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
        merge = Merge(key, self.clock(), changes, removed, expires_at, cookie, owner)
        self._thin_out(merge.owner)

        def plan(stored: Lookup) -> tuple[Sequence[Change], Merged | None]:
            found = find_session(stored, merge.key, merge.now, to_change=True)
            if found is None:
                return [], None
            if if_version is not None and found.key != merge.key:
                return [], None
            if if_version is not None and found.entry.version != if_version:
                raise VersionConflict(f"version {found.entry.version} is stored, not {if_version}")
            record = merge.into(found)
            record.is_moved = found.key != merge.key
            evicted = self._evicted(stored, record, found, found.key, merge.now)
            return [put_of(found.key, record, merge.now), *deletes(evicted)], Merged(
                record, evicted
            )

        return self._merged(plan)

    def touch(self, key: str, expires_at: float, *, version: int | None = None) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        raw, now = raw_key(key), self.clock()

        def plan(stored: Lookup) -> tuple[Sequence[Change], bool]:
            entry = stored.get(raw)
            if entry is None or entry.expires_at <= now:
                return [], False
            if version is not None and entry.version != version:
                return [], False
            if version is None and codec.is_moved(entry.value):
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
        client: Mapping[str, Any] | None = None,
    ) -> Record | None:
        """Merge changes and move the session to the key *new*; see :meth:`Store.rotate`."""
        now = self.clock()
        merge = Merge(
            old, now, changes, removed, expires_at, cookie, owner, client,
            is_login=owner is not KEEP,
        )  # fmt: skip
        self._thin_out(merge.owner)

        def plan(stored: Lookup) -> tuple[Sequence[Change], Merged | None]:
            found = find_session(stored, merge.key, now)
            # Not on from where another has moved it: whoever came with the old id would be given
            # the one that belongs to a login.
            if found is None or found.key != merge.key:
                return [], None
            record = merge.into(found)
            put = put_of(raw_key(new), record, now)
            check_free(stored.get(put.key), now)
            # A request that started before a login can't change what the login began.
            mark = forwarding(merge.key, new, now, takes_changes=not merge.is_login)
            evicted = self._evicted(stored, record, found, merge.key, now)
            return [mark, put, *deletes(evicted)], Merged(record, evicted)

        record = self._merged(plan)
        if record is not None:
            self.tell(Event("rotated", ids.handle_of(new), record, ids.handle_of(old)))
        return record

    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*, in one step."""
        raw, now = raw_key(old), self.clock()
        put = put_of(raw_key(new), record, now)
        self._count_first()
        self._thin_out(record.owner)

        def plan(stored: Lookup) -> tuple[Sequence[Change], tuple[Doomed, list[Found]]]:
            check_free(stored.get(put.key), now)
            doomed = doom(stored, raw, now)
            if not doomed.deletions:
                self._check_room(record)
            gone = [deletion.key for deletion in doomed.deletions]
            evicted = self._too_many(stored, record.owner, (put.key, *gone), now)
            return [*doomed.forwarded_to(new, now), put, *deletes(evicted)], (doomed, evicted)

        (doomed, evicted), record.version = self._engine.transact(plan, sync=self._durable)
        former = ids.handle_of(old) if doomed.found is not None else None
        self.tell(
            *doomed.events(),
            Event("created", ids.handle_of(new), record, former),
            *events_of("evicted", evicted),
        )

    def delete(self, key: str) -> bool:
        """Delete the session; say whether there was one."""
        return bool(self.delete_all([key]))

    def delete_all(self, keys: Collection[str]) -> int:
        """Delete the sessions under *keys*, in one step; return how many there were."""
        raw, now = [raw_key(key) for key in keys], self.clock()

        def plan(stored: Lookup) -> tuple[Sequence[Change], list[Doomed]]:
            every: list[Doomed] = []
            deletions: dict[bytes, Delete] = {}
            for key in raw:
                doomed = doom(stored, key, now)
                # Two keys may lead to one session: it is deleted, and told of, once.
                if doomed.found is None or doomed.found.key not in deletions:
                    every.append(doomed)
                deletions |= {each.key: each for each in doomed.deletions}
            return [*deletions.values()], every

        every, _ = self._engine.transact(plan, sync=self._durable)
        self.tell(*(event for doomed in every for event in doomed.events()))
        return sum(doomed.found is not None for doomed in every)

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield the sessions that have not expired, one at a time, with their keys."""
        now = self.clock()
        for raw, entry in self._engine.scan():
            if entry.expires_at > now:
                packed = unpack(raw, entry)
                if packed is not None and packed.moved_to is None:
                    yield raw.hex(), record_of(packed, entry.expires_at, entry.version)

    def find(self, owner: str | int) -> list[tuple[str, Record]]:
        """Return the sessions of *owner* that have not expired, with their keys."""
        sessions = owned_sessions(self._engine, ids.owner_of(owner), self.clock())
        return [(found.key.hex(), found.record()) for found in sessions]

    def locate(self, handle: str) -> str | None:
        """Return the key of the session with that handle; None: there is none."""
        if not ids.is_handle(handle):
            return None
        keys = (key.hex() for key in self._engine.keys_like(bytes.fromhex(handle)))
        return next((key for key in keys if self.load(key) is not None), None)

    def delete_owner(self, owner: str | int, *, keep: Collection[Any] = ()) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        deleted = 0
        for doomed in ending.end_owner(
            self._engine,
            ids.owner_of(owner),
            kept(keep),
            self.clock,
            sync=self._durable,
            rest=self._rest,
        ):
            self.tell(*events_of("destroyed", doomed))
            deleted += len(doomed)
        return deleted

    def clear(self) -> None:
        """Delete every session."""
        self._engine.transact(lambda _stored: ([Clear()], None), sync=self._durable)

    def collect(self) -> int:
        """Delete the sessions that have expired; return how many."""
        now, removed = self.clock(), 0
        for count, batch in self._remove_expired(self._engine.expired(now), now):
            removed += count
            self.tell(*events_of("expired", batch))
        return removed

    def _remove_expired(
        self, keys: Iterator[bytes], now: float
    ) -> Iterator[tuple[int, list[Found]]]:
        """Delete those of *keys* that have expired, a batch at a time.

        Yields:
            How many sessions they were and, if a listener hears of that, those.
        """
        while batch := [*islice(keys, DELETE_BATCH)]:

            def plan(
                stored: Lookup, batch: list[bytes] = batch
            ) -> tuple[Sequence[Change], list[tuple[bytes, Entry]]]:
                # Again under the lock: one may have been touched meanwhile.
                doomed = [
                    (key, entry)
                    for key in batch
                    if (entry := stored.get(key)) is not None and entry.expires_at <= now
                ]
                return [Delete(key, expired=True) for key, _ in doomed], doomed

            # Not synced for itself: what comes back after a power cut is expired all the same.
            doomed, _ = self._engine.transact(plan, sync=False)
            found: list[Found] = []
            if self.is_heard("expired"):
                sessions = (session_in(key, entry) for key, entry in doomed)
                found = [session for session in sessions if session is not None]
            yield sum(not codec.is_moved(entry.value) for _, entry in doomed), found

    def close(self) -> None:
        """Let go of everything; later operations raise StoreClosed.  Again is harmless."""
        self._engine.close()

    def _count_first(self) -> None:
        """Have the sessions counted before the lock is taken: the first time that takes long."""
        if self._max_sessions is not None:
            self._engine.count()

    def _thin_out(self, owner: Owner) -> None:
        """Evict the oldest sessions of *owner* in batches, if they are far beyond the limit.

        They may have begun before there was a limit.  A login that deletes them all in one record
        would hold up all other writers.
        """
        limit = self._max_per_owner
        if limit is None or not isinstance(owner, str):
            return
        keys = ending.beyond(self._engine, owner, limit, self.clock())
        for evicted in ending.end(
            self._engine,
            keys,
            lambda steps: steps[-1].packed.owner == owner,
            self.clock,
            sync=self._durable,
            rest=self._rest,
        ):
            self.tell(*events_of("evicted", evicted))

    def _rest(self) -> None:
        """Let others write between two batches of deletions."""

    def _check_room(self, record: Record) -> None:
        """Raise :class:`StoreFull` if *record* may not be stored beside those that are there."""
        limit = self._max_sessions
        if limit is not None and record.owner is None and self._engine.count() >= limit:
            # Nobody is put out for a newcomer: who floods the store must not end logins.
            raise StoreFull(
                f"{self!r} holds max_sessions={limit}, also counting expired ones that were not"
                " collected yet; only sessions with an owner are begun"
            )

    def _merged(self, plan: Plan[Merged | None]) -> Record | None:
        merged, version = self._engine.transact(plan, sync=self._durable)
        if merged is None:
            return None
        merged.record.version = version
        if merged.evicted:
            self.tell(*events_of("evicted", merged.evicted))
        return merged.record

    def _evicted(
        self, stored: Lookup, record: Record, found: Found, key: bytes, now: float
    ) -> list[Found]:
        """Return what has to go as *record* takes the place of *found*, with its owner."""
        if record.owner == found.packed.owner:
            return []
        return self._too_many(stored, record.owner, (key,), now)

    def _too_many(
        self, stored: Lookup, owner: str | None, spared: Collection[bytes], now: float
    ) -> list[Found]:
        """Return the oldest sessions of *owner* that have to go for one that begins now.

        Args:
            stored: what is.
            owner: whose.
            spared: keys that do not count: the new one's, and those that go anyway.
            now: in Unix seconds.
        """
        limit = self._max_per_owner
        if limit is None or owner is None:
            return []
        others = [found for found in owned_sessions(stored, owner, now) if found.key not in spared]
        others.sort(key=lambda found: (found.packed.created_at, found.entry.version))
        return others[: max(len(others) + 1 - limit, 0)]
