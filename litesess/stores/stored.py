"""Sessions as they lie in an engine: what is found there, what is made of it, what deletes it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from litesess import codec, ids
from litesess.engine import Change, Delete, Entry, Lookup, Put
from litesess.errors import VersionConflict
from litesess.events import Event, Name
from litesess.stores.base import KEEP, MOVED_FOR, Owner, Record, check_key, owner_or_keep

logger = logging.getLogger("litesess.store")


class Finder(Protocol):
    """What knows whose a session is."""

    def find(self, owner: bytes) -> list[tuple[bytes, Entry]]:
        """Return the keys that are stored for *owner*, with what is stored under them."""


class Getter(Protocol):
    """Knows what is stored, with a lock or without."""

    def get(self, key: bytes) -> Entry | None:
        """Return what is stored under *key*."""


class Merge:
    """One request's changes, ready to be merged into whatever is stored by then."""

    __slots__ = (
        "_client", "_cookie", "_expires_at", "_frames", "_removed", "is_login", "key",
        "now", "owner",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        now: float,
        changes: Mapping[str, Any],
        removed: Collection[str],
        expires_at: float | None,
        cookie: Mapping[str, Any] | None,
        owner: Owner,
        client: Mapping[str, Any] | None = None,
        *,
        is_login: bool = False,
    ) -> None:
        #: The session begins anew, even if its owner stays the same.
        self.is_login = is_login
        self.key = raw_key(key)
        self.now = now
        # Encoded before the lock is taken, and before anything is written.
        self._frames = codec.encode_items(changes)
        self._removed = removed
        self._expires_at = expires_at
        self._cookie = cookie
        self.owner = owner_or_keep(owner)
        self._client = client

    def into(self, found: Found) -> Record:
        """Return what was found, changed."""
        packed = found.packed
        frames = packed.frames
        for name in self._removed:
            frames.pop(name, None)
        frames.update(self._frames)
        owner = packed.owner if self.owner is KEEP else self.owner
        is_anew = self.is_login or owner != packed.owner
        # A life that was counted from what another request has changed since is none.
        is_kept = found.key != self.key
        record = Record(
            codec.Encoded(frames),
            self.now if is_anew else packed.created_at,
            found.entry.expires_at if is_kept or self._expires_at is None else self._expires_at,
            packed.cookie if self._cookie is None else (self._cookie or None),
            owner,
            client=packed.client if self._client is None else self._client,
            last_seen_at=None if self._expires_at is not None else found.last_seen_at,
        )
        record.replaced_version = found.entry.version
        return record


class Merged(NamedTuple):
    """What a plan has made of a session, and what had to go for it."""

    record: Record
    evicted: list[Found]


class Found(NamedTuple):
    """A live session, or a forwarding record, and where it lies."""

    key: bytes
    entry: Entry
    packed: codec.Packed

    @property
    def is_forwarding(self) -> bool:
        """Whether it is no session, but what a rotation has left."""
        return self.packed.moved_to is not None

    @property
    def last_seen_at(self) -> float:
        """When it was last used, in Unix seconds."""
        return last_seen_at(self.packed, self.entry.expires_at)

    def record(self) -> Record:
        """Return it as a store's caller sees it."""
        return record_of(self.packed, self.entry.expires_at, self.entry.version)


class Doomed(NamedTuple):
    """What deletes a session, wherever it is."""

    deletions: list[Delete]
    #: The session, if it lives.
    found: Found | None
    #: What had expired under its key, and was not removed yet.
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
        """Return what is to be told of it."""
        destroyed = [] if self.found is None else [self.found]
        expired = [] if self.expired is None else [self.expired]
        return [*events_of("destroyed", destroyed), *events_of("expired", expired)]


def find_session(
    stored: Lookup, key: bytes, now: float, *, to_change: bool = False
) -> Found | None:
    """Return what is stored under *key* or, if it was moved, under the key it has now.

    Args:
        stored: what is.
        key: of the session, or that it had.
        now: in Unix seconds.
        to_change: not beyond a change of owner.
    """
    for found in trail(stored, key, now):
        if not found.is_forwarding:
            return found
        if to_change and not found.packed.takes_changes:
            return None
    return None


def trail(stored: Getter, key: bytes, now: float) -> Iterator[Found]:
    """Yield what lies under *key* and, as long as that is a forwarding record, where it leads."""
    here: str | None = key.hex()
    while here is not None:
        key = bytes.fromhex(here)
        entry = stored.get(key)
        packed = None if entry is None or entry.expires_at <= now else unpack(key, entry)
        if entry is None or packed is None:
            return
        yield Found(key, entry, packed)
        here = packed.moved_to


def doom(stored: Lookup, key: bytes, now: float) -> Doomed:
    """Return what deletes the session under *key*, wherever it is now."""
    entry = stored.get(key)
    deletions = [Delete(key)] if entry is not None else []
    found = find_session(stored, key, now)
    if found is not None and found.key != key:
        deletions.append(Delete(found.key))
    is_expired = entry is not None and entry.expires_at <= now
    return Doomed(deletions, found, session_in(key, entry) if is_expired else None)


def session_in(key: bytes, entry: Entry | None) -> Found | None:
    """Return the session in an entry; None: there is none in it."""
    packed = None if entry is None else unpack(key, entry)
    if entry is None or packed is None or packed.moved_to is not None:
        return None
    return Found(key, entry, packed)


def owned_sessions(stored: Finder, owner: str, now: float) -> Iterator[Found]:
    """Yield the sessions of *owner* that have not expired."""
    for key, entry in stored.find(ids.owner_hash(owner)):
        found = session_in(key, entry) if entry.expires_at > now else None
        if found is not None and found.packed.owner == owner:
            yield found


def deletes(doomed: list[Found]) -> list[Delete]:
    """Return what deletes *doomed*."""
    return [Delete(found.key) for found in doomed]


def events_of(name: Name, sessions: Iterable[Found]) -> Iterator[Event]:
    """Return what is to be told of *sessions*."""
    return (Event(name, ids.handle_of(found.key.hex()), found.record()) for found in sessions)


def forwarding(old: bytes, new: str, now: float, *, takes_changes: bool) -> Put:
    """Return the change that leaves a forwarding record from the key *old* to *new*.

    Args:
        old: the session's former key.
        new: the key it has from now on.
        now: in Unix seconds.
        takes_changes: whether late changes under *old* are done to the session; deletions are.
    """
    return Put(old, codec.pack_moved(new, takes_changes=takes_changes), now + MOVED_FOR)


def check_free(entry: Entry | None, now: float) -> None:
    """Raise :class:`VersionConflict` if there is something that has not expired."""
    if entry is not None and entry.expires_at > now:
        raise VersionConflict("the new key is taken")


def raw_key(key: str) -> bytes:
    """Return the engine's key for a store's; raises ValueError if it is none."""
    return bytes.fromhex(check_key(key))


def put_of(key: bytes, record: Record, now: float) -> Put:
    """Return what stores *record* under *key*, and note in it that it was used at *now*."""
    if record.last_seen_at is None:
        record.last_seen_at = now
    owner = record.owner
    value = codec.pack(
        record.created_at,
        # A touch moves the end, and so the time that is so long before it.
        record.expires_at - record.last_seen_at,
        owner,
        record.cookie,
        record.client,
        record.frames,
    )
    return Put(key, value, record.expires_at, b"" if owner is None else ids.owner_hash(owner))


def unpack(key: bytes, entry: Entry) -> codec.Packed | None:
    """Return the parts of what is stored under *key*; None, and it is logged, if it has none."""
    try:
        return codec.unpack(entry.value)
    except ValueError:
        # Its checksum is good, so nothing rotted; it must not turn every request into an error.
        handle = ids.handle_of(key.hex())
        logger.exception("session %s can't be decoded, treated as absent", handle)
        return None


def record_of(packed: codec.Packed, expires_at: float, version: int) -> Record:
    """Return a session's parts as a store's caller sees them."""
    return Record(
        codec.Encoded(packed.frames),
        packed.created_at,
        expires_at,
        packed.cookie,
        packed.owner,
        version,
        packed.client,
        last_seen_at(packed, expires_at),
    )


def last_seen_at(packed: codec.Packed, expires_at: float) -> float:
    """Return when a session that expires then was last used, in Unix seconds."""
    return max(expires_at - packed.life, packed.created_at)
