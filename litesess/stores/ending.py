"""Ending sessions of one owner, however many there are: listed first, then deleted in batches.

The keys are listed without a lock.  Each batch looks at its keys again under the lock, so that a
session which was given another id since is found through its forwarding record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Final, NamedTuple, TypeAlias

from litesess import ids
from litesess.engine import Change, Entry, Lookup
from litesess.errors import Corruption, DecryptError, StoreError
from litesess.stores.base import Record
from litesess.stores.keeping import Kept
from litesess.stores.packed import Forward, is_forward
from litesess.stores.stored import Engine, Found, Getter, deletes, session_in, unpack

logger = logging.getLogger("litesess.store")

#: One record deletes at most so many sessions, and reads about so many bytes of them, which takes
#: some milliseconds: other writers wait for that long.
BATCH_KEYS: Final = 50
BATCH_BYTES: Final = 1 << 18


class Step(NamedTuple):
    """An entry on the trail from a session's former key to the session."""

    key: bytes
    entry: Entry
    content: Record | Forward


#: Returns whether a session is to be deleted: its record, and the trail that ends with it.
Judge: TypeAlias = Callable[[Sequence[Step], Record], bool]


def end_owner(
    engine: Engine,
    owner: str,
    keep: Kept,
    clock: Callable[[], float],
    *,
    sync: bool,
    rest: Callable[[], object],
) -> Iterator[list[Found]]:
    """Delete the sessions of *owner* that began before this; yield them a batch at a time.

    Raises at the end what it has met of damage: those sessions may not be ended.

    Args:
        engine: where they are.
        owner: their owner.
        keep: the sessions to spare.
        clock: returns the current time in Unix seconds.
        sync: whether each batch is synced.
        rest: called between two batches, without a lock.
    """
    began_at = clock()
    damage: list[StoreError] = []
    keys = _listed(engine, owner, began_at, damage)
    seen: set[bytes] = set()
    # Order: after the keys were listed, so that a session to spare which was given another id
    # before is known by that.
    spared = Spared(engine, keep)

    def is_due(steps: Sequence[Step], record: Record) -> bool:
        is_moved = len(steps) > 1  # since it was listed as the owner's
        return (is_moved or record.owner == owner) and not spared.has(steps)

    while keys:
        yield from end(engine, keys, is_due, clock, sync=sync, rest=rest, before=spared.follow)
        seen.update(keys)
        # A rotation whose forwarding record has expired meanwhile leads to these alone.
        keys = _listed(engine, owner, clock(), [], seen, began_before=began_at)
    if damage:
        # Order: last, as the others must end.  One whose key alone is damaged could come back.
        raise damage[0]


def end(
    engine: Engine,
    keys: Sequence[bytes],
    is_due: Judge,
    clock: Callable[[], float],
    *,
    sync: bool,
    rest: Callable[[], object],
    before: Callable[[float], object] = float,
) -> Iterator[list[Found]]:
    """Delete sessions in batches, each in one record; yield them a batch at a time.

    Args:
        engine: where they are.
        keys: their keys when they were listed.
        is_due: returns under the lock whether a session is to be deleted.
        clock: returns the current time in Unix seconds.
        sync: whether each batch is synced.
        rest: called between two batches, without a lock.
        before: called with the time before each batch, without a lock.
    """
    at = 0
    while at < len(keys):
        if at:
            rest()
        now = clock()
        before(now)
        batch = keys[at : at + BATCH_KEYS]

        def plan(
            stored: Lookup, batch: Sequence[bytes] = batch, now: float = now
        ) -> tuple[Sequence[Change], tuple[list[Found], int]]:
            doomed: dict[bytes, Found] = {}
            size = count = 0
            for key in batch:
                if size > BATCH_BYTES:
                    break
                count += 1
                steps = steps_from(stored, key, now)
                size += sum(len(step.entry.value) for step in steps)
                found = session_at_end(steps)
                if found is not None and is_due(steps, found.record):
                    doomed[found.key] = found
            every = [*doomed.values()]
            return deletes(every), (every, count)

        (doomed, count), _ = engine.transact(plan, sync=sync)
        at += count
        yield doomed


def trail(stored: Getter, key: bytes, now: float) -> Iterator[Step]:
    """Yield the entry under *key* and, after each forwarding record, the entry it leads to."""
    while (entry := stored.get(key)) is not None and entry.expires_at > now:
        content = unpack(key, entry)
        if content is None:
            return
        yield Step(key, entry, content)
        if isinstance(content, Record):
            return
        key = bytes.fromhex(content.key)


def session_at_end(steps: Sequence[Step]) -> Found | None:
    """Return the session that a trail leads to; None: it leads to none."""
    if steps and isinstance(steps[-1].content, Record):
        return Found(steps[-1].key, steps[-1].content)
    return None


def steps_from(stored: Getter, key: bytes, now: float) -> list[Step]:
    """Return the trail from *key*; nothing, and it is logged, if an entry is damaged."""
    try:
        return [*trail(stored, key, now)]
    except (Corruption, DecryptError):
        # No request can load it either, and the other sessions must still end.
        logger.exception("session %s is damaged, and was passed over", ids.handle_of(key.hex()))
        return []


class Spared:
    """The sessions to keep, under every key that they had since."""

    def __init__(self, engine: Engine, keep: Kept) -> None:
        self._engine = engine
        self._keys = {bytes.fromhex(key) for key in keep.keys}
        self._prefixes = {bytes.fromhex(handle) for handle in keep.handles}
        for handle in keep.bare_handles:
            self._keys.update(engine.keys_like(bytes.fromhex(handle)))

    def follow(self, now: float) -> None:
        """Take in the keys that they were moved to."""
        for key in [*self._keys]:
            self._keys.update(step.key for step in steps_from(self._engine, key, now))

    def has(self, steps: Sequence[Step]) -> bool:
        """Return whether a session with that trail is one of them."""
        return any(step.key in self._keys or step.key[:8] in self._prefixes for step in steps)


def _listed(
    engine: Engine,
    owner: str,
    now: float,
    damage: list[StoreError],
    seen: Set[bytes] = frozenset(),
    began_before: float | None = None,
) -> list[bytes]:
    """Return the keys of the sessions of *owner*, without unpacking them.

    Args:
        engine: where they are.
        owner: their owner.
        now: in Unix seconds.
        damage: gets the errors of entries that can't be read.
        seen: keys to leave out.
        began_before: leave out those that began then or later; None: none.
    """
    owner_hash = ids.owner_hash(owner)
    found: dict[bytes, None] = {}
    for count, key in enumerate(engine.candidates(owner_hash, damage)):
        if count % BATCH_KEYS == 0:
            time.sleep(0)  # a thread that only computes holds up all others
        if key in seen:
            continue
        here, entry = _at_end(engine, key, now)
        if entry is None or entry.owner != owner_hash or here in seen:
            continue
        if began_before is not None:
            session = session_in(here, entry)
            if session is None or session.record.created_at >= began_before:
                continue
        found[here] = None
    return [*found]


def _at_end(engine: Engine, key: bytes, now: float) -> tuple[bytes, Entry | None]:
    """Return the key that a session has now, and the entry there."""
    entry = _entry(engine, key)
    if entry is not None and is_forward(entry.value):
        steps = steps_from(engine, key, now)
        is_there = session_at_end(steps) is not None
        return (steps[-1].key, steps[-1].entry) if is_there else (key, None)
    return key, None if entry is None or entry.expires_at <= now else entry


def _entry(stored: Getter, key: bytes) -> Entry | None:
    try:
        return stored.get(key)
    except (Corruption, DecryptError):
        logger.exception("session %s is damaged, and was passed over", ids.handle_of(key.hex()))
        return None


def beyond(engine: Engine, owner: str, limit: int, now: float) -> list[bytes]:
    """Return the keys of the oldest sessions of *owner* beyond *limit*, if there are many.

    A few are left to the login that they have to go for.
    """
    candidates = engine.candidates(ids.owner_hash(owner), [])
    if len(candidates) <= limit + BATCH_KEYS:
        return []
    found = [
        (session.record.created_at, session.record.version, session.key)
        for session in readable(engine, owner, now, candidates)
    ]
    return [key for *_, key in sorted(found)[: max(len(found) - limit, 0)]]


def readable(
    stored: Getter, owner: str, now: float, candidates: Iterable[bytes]
) -> Iterator[Found]:
    """Yield those of *candidates* that are sessions of *owner*; a damaged one is passed over.

    No request can load it, and the owner's other sessions must still begin and end.
    """
    for key in candidates:
        entry = _entry(stored, key)
        session = session_in(key, entry) if entry is not None and entry.expires_at > now else None
        if session is not None and session.record.owner == owner:
            yield session
