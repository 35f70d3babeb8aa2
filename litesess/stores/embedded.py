"""The store contract over an engine that keeps bytes by key and runs plans under its lock.

``MemoryStore`` and ``WALStore`` differ in their engine alone.  A plan is a function of the sessions
that are stored: it returns the changes to make, and the engine makes them in one step.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from litesess import ids
from litesess.engine import Change, Clear, Delete, Lookup, Plan, ResultT, Touch
from litesess.errors import LimitReached
from litesess.events import Event
from litesess.stores import ending, packed
from litesess.stores.base import KEEP, Owner, Record, Store
from litesess.stores.changes import Changes
from litesess.stores.expiring import remove_expired
from litesess.stores.keeping import kept
from litesess.stores.limits import Limits
from litesess.stores.stored import (
    Doomed,
    Engine,
    Found,
    changed,
    check_free,
    deletes,
    doom,
    events_of,
    evictions,
    find_session,
    forwarding,
    look_up,
    owned_sessions,
    put_of,
    raw_key,
    session_in,
)
from litesess.stores.times import check_end, check_times, shorten

logger = logging.getLogger("litesess.store")

#: The session that a plan has changed, and the sessions evicted for it; None: there is none.
Merged: TypeAlias = "tuple[Record, Sequence[Found]] | None"


class EmbeddedStore(Store):
    """A store on an engine in this process."""

    def __init__(
        self,
        engine: Engine,
        *,
        durable: bool,
        max_sessions: int | None = None,
        max_per_owner: int | None = None,
    ) -> None:
        self._engine = engine
        self._durable = durable
        self._limits = Limits(
            engine, repr(self), max_sessions=max_sessions, max_per_owner=max_per_owner
        )

    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""
        now = self.clock()
        content = look_up(self._engine, raw_key(key), now)
        return shorten(content, now) if isinstance(content, Record) else None

    def moved_at(self, key: str) -> float | None:
        """Return when a session was given another key than *key*; see :meth:`Store.moved_at`."""
        content = look_up(self._engine, raw_key(key), self.clock())
        return content.moved_at if isinstance(content, packed.Forward) else None

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""
        now = self.clock()
        check_times(record)
        put = put_of(raw_key(key), record, now)

        def plan(stored: Lookup) -> tuple[Sequence[Change], list[Found] | None]:
            entry = stored.get(put.key)
            if entry is not None and entry.expires_at > now:
                return [], None
            room = self._limits.make_room(stored, record) if entry is None else []
            evicted = self._limits.too_many(stored, record.owner, (put.key,), now)
            return [put, *deletes(room + evicted)], room + evicted

        evicted, record.version = self._begun(record, plan)
        if evicted is None:
            return False
        self.tell(Event("created", ids.handle_of(key), record), *evictions(evicted, now))
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
        """Merge changes into the stored session; see :meth:`Store.update`."""
        raw, now = raw_key(key), self.clock()
        ours = Changes(
            now, changes, removed,
            expires_at=expires_at, cookie=cookie, owner=owner, if_version=if_version,
        )  # fmt: skip

        def plan(stored: Lookup) -> tuple[Sequence[Change], Merged]:
            found = find_session(stored, raw, now, to_change=True)
            if found is None:
                return [], None
            here, record, _ = found
            if here != raw and not ours.follows:
                return [], None
            if ours.if_version is not None:
                ours.check_version(record.version)
            former = record.owner
            put = changed(found, ours, now, is_moved=here != raw)
            if record.owner == former:
                return [put], (record, ())
            evicted = self._limits.too_many(stored, record.owner, (here,), now)
            return [put, *deletes(evicted)], (record, evicted)

        return self._merged(plan)

    def touch(self, key: str, expires_at: float, *, version: int | None = None) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        raw, now = raw_key(key), self.clock()
        check_end(expires_at)

        def plan(stored: Lookup) -> tuple[Sequence[Change], bool]:
            entry = stored.get(raw)
            if entry is None or entry.expires_at <= now:
                return [], False
            if version is not None and entry.version != version:
                return [], False
            if version is None and packed.is_forward(entry.value):
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
        raw, raw_new, now = raw_key(old), raw_key(new), self.clock()
        ours = Changes(
            now, changes, removed,
            expires_at=expires_at, cookie=cookie, owner=owner, client=client, is_rotation=True,
        )  # fmt: skip

        def plan(stored: Lookup) -> tuple[Sequence[Change], Merged]:
            record = look_up(stored, raw, now)
            # No forwarding record is followed: a client that comes with a former id must not get
            # the new one, which can belong to a login.
            if not isinstance(record, Record):
                return [], None
            check_free(stored.get(raw_new), now)
            former = record.owner
            ours.merge_into(record)
            # A request that started before a login can't change the session of the login.
            forward = forwarding(raw, new, now, takes_changes=not ours.is_login)
            is_other = record.owner != former
            evicted = self._limits.too_many(stored, record.owner, (raw,), now) if is_other else []
            made: list[Change] = [forward, put_of(raw_new, record, now), *deletes(evicted)]
            return made, (record, evicted)

        record = self._merged(plan)
        if record is not None:
            self.tell(Event("rotated", ids.handle_of(new), record, ids.handle_of(old)))
        return record

    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*, in one step."""
        raw, now = raw_key(old), self.clock()
        check_times(record)
        put = put_of(raw_key(new), record, now)

        def plan(stored: Lookup) -> tuple[Sequence[Change], tuple[Doomed, list[Found]]]:
            check_free(stored.get(put.key), now)
            doomed = doom(stored, raw, now)
            is_there = doomed.found is not None or doomed.expired is not None
            room = [] if is_there else self._limits.make_room(stored, record)
            gone = [deletion.key for deletion in doomed.deletions]
            evicted = room + self._limits.too_many(stored, record.owner, (put.key, *gone), now)
            return [*doomed.forwarded_to(new, now), put, *deletes(evicted)], (doomed, evicted)

        (doomed, evicted), record.version = self._begun(record, plan)
        former = ids.handle_of(old) if doomed.found is not None else None
        self.tell(
            *doomed.events(),
            Event("created", ids.handle_of(new), record, former),
            *evictions(evicted, now),
        )

    def delete(self, key: str) -> bool:
        """Delete the session; return whether there was one."""
        return bool(self.delete_all([key]))

    def delete_all(self, keys: Collection[str]) -> int:
        """Delete the sessions under *keys*, in one step; return how many there were."""
        raw, now = [raw_key(key) for key in keys], self.clock()

        def plan(stored: Lookup) -> tuple[Sequence[Change], list[Doomed]]:
            every: list[Doomed] = []
            deletions: dict[bytes, Delete] = {}
            for key in raw:
                doomed = doom(stored, key, now)
                # Two keys can lead to one session: it is deleted once and reported once.
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
            found = session_in(raw, entry) if entry.expires_at > now else None
            if found is not None:
                yield raw.hex(), shorten(found.record, now)

    def find(self, owner: ids.OwnerName) -> list[tuple[str, Record]]:
        """Return the sessions of *owner* that have not expired, with their keys."""
        now = self.clock()
        sessions = owned_sessions(self._engine, ids.owner_of(owner), now)
        return [(found.key.hex(), shorten(found.record, now)) for found in sessions]

    def locate(self, handle: str) -> str | None:
        """Return the key of the session with that handle; None: no session has it."""
        if not ids.is_handle(handle):
            return None
        keys = (key.hex() for key in self._engine.keys_like(bytes.fromhex(handle)))
        return next((key for key in keys if self.load(key) is not None), None)

    def delete_owner(self, owner: ids.OwnerName, *, keep: Collection[Any] = ()) -> int:
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
        keys, is_heard = self._engine.expired(now), self.is_heard("expired")
        for count, batch in remove_expired(self._engine, keys, now, is_heard=is_heard):
            removed += count
            self.tell(*events_of("expired", batch))
        return removed

    def close(self) -> None:
        """Close the store; later operations raise StoreClosed.  Again is harmless."""
        self._engine.close()

    def _begun(self, record: Record, plan: Plan[ResultT]) -> tuple[ResultT, int]:
        """Run a plan that stores *record*, a new session; raises LimitReached as the plan does."""
        for is_anew in False, True:
            try:
                if self._limits.prepare(record, is_anew=is_anew):
                    return self._engine.transact(plan, sync=self._durable)
            except LimitReached:  # the sessions that were picked before have ended
                continue
        self.tally.add_refused()
        raise self._limits.refusal(self.tally.refused, self.clock())

    def _rest(self) -> None:
        """Let other processes write between two batches of deletions."""

    def _merged(self, plan: Plan[Merged]) -> Record | None:
        merged, version = self._engine.transact(plan, sync=self._durable)
        if merged is None:
            return None
        record, evicted = merged
        record.version = version
        if evicted:
            self.tell(*evictions(evicted, self.clock()))
        return record
