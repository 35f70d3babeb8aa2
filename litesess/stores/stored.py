"""Sessions in an engine: read, found through forwarding records, written and deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from litesess import ids
from litesess.engine import UNCOUNTED, Change, Delete, Entry, Plan, Put, ResultT
from litesess.errors import Corruption, DecryptError, VersionConflict
from litesess.events import Event, Name
from litesess.stores import packed
from litesess.stores.base import MOVED_FOR, Record
from litesess.stores.changes import Changes
from litesess.stores.packed import Forward

logger = logging.getLogger("litesess.store")

_KEY_BYTES: Final = ids.KEY_DIGITS // 2


class Finder(Protocol):
    """An engine, or its draft under the lock, that finds the sessions of an owner."""

    def find(self, owner: bytes) -> Iterable[tuple[bytes, Entry]]:
        """Return the keys that are stored for *owner*, with their entries."""


class Getter(Protocol):
    """An engine, or its draft under the lock, that reads entries."""

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under *key*."""


class Engine(Getter, Finder, Protocol):
    """The engine of an embedded store; :class:`litesess.engine.Engine` is one."""

    def candidates(self, owner: bytes) -> Iterator[bytes]:
        """Yield the keys that were put for *owner*; some may have gone since.

        No entry is read for that.
        """

    def keys_like(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin with eight given bytes."""

    def transact(self, plan: Plan[ResultT], *, sync: bool) -> tuple[ResultT, int]:
        """Run *plan* under the lock and make its changes; return its result and the version."""

    def count(self) -> int:
        """Return the number of entries, expired or not, without those of ``UNCOUNTED``."""

    def sample(self, count: int) -> list[bytes]:
        """Return some keys of entries without an owner, picked at random."""

    def scan(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield every key with its entry."""

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before."""

    def close(self) -> None:
        """Close the files."""


class Found(NamedTuple):
    """A session, and the key that it is stored under."""

    key: bytes
    record: Record
    #: The entry that holds the session, if :func:`find_session` has found it.
    entry: Entry | None = None


class Doomed(NamedTuple):
    """The deletion of a session, wherever it is."""

    deletions: list[Delete]
    #: The session, if it has not expired.
    found: Found | None
    #: An expired session under its key that was not removed yet.
    expired: Found | None

    def forwarded_to(self, new: str, now: float) -> list[Change]:
        """Return the changes that delete it, so that a late deletion of it deletes *new*.

        Args:
            new: the key of the session that takes its place.
            now: in Unix seconds.
        """
        if self.found is None:
            return [*self.deletions]
        return [
            forwarding(deletion.key, new, now, takes_changes=False) for deletion in self.deletions
        ]

    def events(self) -> list[Event]:
        """Return the events of the deletion."""
        destroyed = [] if self.found is None else [self.found]
        expired = [] if self.expired is None else [self.expired]
        return [*events_of("destroyed", destroyed), *events_of("expired", expired)]


def look_up(stored: Getter, key: bytes, now: float) -> Record | Forward | None:
    """Return the session or forwarding record under *key*, unless it has expired."""
    entry = stored.get(key)
    return None if entry is None or entry.expires_at <= now else packed.unpack(key, entry)


def find_session(
    stored: Getter, key: bytes, now: float, *, to_change: bool = False
) -> Found | None:
    """Return the session under *key* or, if it was moved, under the key that it has now.

    Args:
        stored: where it is.
        key: of the session, or a former one.
        now: in Unix seconds.
        to_change: follow only forwarding records that take changes now.
    """
    while True:
        entry = stored.get(key)
        content = None if entry is None or entry.expires_at <= now else packed.unpack(key, entry)
        if entry is None or content is None:
            return None
        if isinstance(content, Record):
            return Found(key, content, entry)
        if to_change and not content.takes_changes_at(now):
            return None
        key = bytes.fromhex(content.key)


def doom(stored: Getter, key: bytes, now: float) -> Doomed:
    """Return the deletion of the session that has, or had, *key*."""
    try:
        entry = stored.get(key)
    except (Corruption, DecryptError):
        # It can't be loaded again, and must not be: a logout with its cookie means this session.
        logger.exception("session %s is damaged; it was deleted", ids.handle_of(key.hex()))
        return Doomed([Delete(key)], None, None)
    deletions = [Delete(key)] if entry is not None else []
    found = find_session(stored, key, now)
    if found is not None and found.key != key:
        deletions.append(Delete(found.key))
    is_expired = entry is not None and entry.expires_at <= now
    return Doomed(deletions, found, session_in(key, entry) if is_expired else None)


def session_in(key: bytes, entry: Entry | None) -> Found | None:
    """Return the session in an entry; None: the entry holds no session."""
    content = None if entry is None else packed.unpack(key, entry)
    return Found(key, content) if isinstance(content, Record) else None


def owned_sessions(stored: Finder, owner: str, now: float) -> Iterator[Found]:
    """Yield the sessions of *owner* that have not expired."""
    for key, entry in stored.find(ids.owner_hash(owner)):
        found = session_in(key, entry) if entry.expires_at > now else None
        if found is not None and found.record.owner == owner:
            yield found


def deletes(doomed: list[Found]) -> list[Delete]:
    """Return the deletions of *doomed*."""
    return [Delete(found.key) for found in doomed]


def events_of(name: Name, sessions: Iterable[Found]) -> Iterator[Event]:
    """Return an event of that name for each of *sessions*."""
    return (Event(name, ids.handle_of(found.key.hex()), found.record) for found in sessions)


def evictions(sessions: Iterable[Found], now: float) -> Iterator[Event]:
    """Return the event of each evicted session; some had expired."""
    for found in sessions:
        name: Name = "evicted" if found.record.expires_at > now else "expired"
        yield from events_of(name, [found])


def forwarding(old: bytes, new: str, now: float, *, takes_changes: bool) -> Put:
    """Return the change that leaves a forwarding record from the key *old* to *new*.

    Args:
        old: the session's former key.
        new: the key it has from now on.
        now: in Unix seconds.
        takes_changes: whether late changes under *old* are done to the session; deletions are.
    """
    forward = packed.pack_forward(Forward(new, takes_changes, now))
    return Put(old, forward, now + MOVED_FOR, UNCOUNTED)


def check_free(entry: Entry | None, now: float) -> None:
    """Raise :class:`VersionConflict` if there is something that has not expired."""
    if entry is not None and entry.expires_at > now:
        raise VersionConflict("the new key is taken")


def raw_key(key: str) -> bytes:
    """Return the engine's key for a store's; raises ValueError if *key* has no such form."""
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        raw = b""
    # As fast again as a pattern.  The way back tells capitals and spaces, which are none.
    if len(raw) != _KEY_BYTES or raw.hex() != key:
        raise ids.no_key(key)
    return raw


def put_of(key: bytes, record: Record, now: float) -> Put:
    """Return the change that stores *record* under *key*, used at *now* unless it says when."""
    if record.last_seen_at is None:
        record.last_seen_at = now
    owner = record.owner
    value = packed.pack(
        record.created_at,
        # A touch moves the expiry, and so the last use, which is this long before it.
        record.expires_at - record.last_seen_at,
        owner,
        record.cookie,
        record.client,
        record.frames,
    )
    return Put(key, value, record.expires_at, b"" if owner is None else ids.owner_hash(owner))


def changed(found: Found, changes: Changes, now: float, *, is_moved: bool) -> Put:
    """Merge *changes* into the session that was found; return the change that stores it again.

    Args:
        found: the session.
        changes: those of the request.
        now: in Unix seconds.
        is_moved: see :meth:`Changes.merge_into`.
    """
    key, record, entry = found
    changes.merge_into(record, is_moved=is_moved)
    if entry is None or changes.settings:
        return put_of(key, record, now)
    # The last use is known of each session that was unpacked.
    life = record.expires_at - (record.last_seen_at or 0.0)
    value = packed.splice(entry.value, record.created_at, life, changes.frames, changes.removed)
    return Put(key, value, record.expires_at, entry.owner)
