"""Ending sessions of one owner, however many there are: listed first, then deleted in batches.

The keys are listed without a lock.  Each batch looks at its keys again under the lock, so that a
session which was given another id since is found through its forwarding record.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import inf
from typing import Final, NamedTuple, TypeAlias

from litesess import ids
from litesess.engine import Change, Entry, Lookup
from litesess.errors import Corruption, DecryptError, StoreError
from litesess.stores import packed
from litesess.stores.base import Record
from litesess.stores.keeping import Kept
from litesess.stores.packed import Forward
from litesess.stores.stored import Engine, Found, Getter, deletes

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

    If it meets damaged sessions, it raises the first error at the end: they may not be ended.

    Args:
        engine: the engine that holds them.
        owner: their owner.
        keep: the sessions to spare.
        clock: returns the current time in Unix seconds.
        sync: whether each batch is synced.
        rest: called between two batches, without a lock.
    """
    began_at = clock()
    ending = _Ending(engine, owner)
    keys = deque(ending.listed(began_at))
    # Order: resolve `keep` after the keys were listed, so that a kept session that got another
    # id before is known by the new one.
    spared = Spared(engine, keep)

    def is_due(steps: Sequence[Step], record: Record) -> bool:
        is_moved = len(steps) > 1  # since it was listed as the owner's
        return (is_moved or record.owner == owner) and not spared.has(steps)

    while keys:
        while keys:
            now = clock()
            spared.follow(now)
            yield ending.end(keys, is_due, now, sync=sync)
            rest()
        # If a forwarding record has expired meanwhile, only the index leads to the moved session.
        keys.extend(ending.listed(clock(), began_before=began_at))
    if ending.damage:
        # Order: raise last, because all other sessions must end.  A session with a damaged key
        # could come back.
        raise ending.damage[0]


class _Ending:
    """How far the end of one owner's sessions has come."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        #: The keys that were looked at, but for those of deleted sessions, which are not met again.
        self._seen: set[bytes] = set()
        #: The errors of entries that can't be read.
        self.damage: list[StoreError] = []

    def end(self, keys: deque[bytes], is_due: Judge, now: float, *, sync: bool) -> list[Found]:
        """Delete the sessions that the first of *keys* lead to, in one record; return those.

        Args:
            keys: those that were dealt with are taken out.
            is_due: returns under the lock whether a session is to be deleted.
            now: in Unix seconds.
            sync: whether the record is synced.
        """
        batch = [*islice(keys, BATCH_KEYS)]

        def plan(stored: Lookup) -> tuple[Sequence[Change], tuple[list[Found], int]]:
            doomed: dict[bytes, Found] = {}
            size = count = 0
            for key in batch:
                if size > BATCH_BYTES:
                    break
                count += 1
                steps = steps_from(stored, key, now, self.damage)
                size += sum(len(step.entry.value) for step in steps)
                found = session_at_end(steps)
                if found is not None and is_due(steps, found.record):
                    doomed[found.key] = found
            every = [*doomed.values()]
            return deletes(every), (every, count)

        (doomed, count), _ = self._engine.transact(plan, sync=sync)
        gone = {found.key for found in doomed}
        for _ in range(count):
            key = keys.popleft()  # not all at once at the end, which would hold up other threads
            if key not in gone:
                self._seen.add(key)
        return doomed

    def listed(self, now: float, *, began_before: float = inf) -> Iterator[bytes]:
        """Yield the keys of sessions of the owner that were not seen, and began before a time."""
        owner_hash = ids.owner_hash(self._owner)
        for key in self._engine.candidates(owner_hash):
            if key in self._seen:
                continue
            here, entry = self._at_end(key, now)
            if entry is None or entry.owner != owner_hash or here in self._seen:
                continue
            began_at = packed.began_at(entry.value)
            if began_at is not None and began_at < began_before:
                yield here

    def _at_end(self, key: bytes, now: float) -> tuple[bytes, Entry | None]:
        """Return the key that a session has now, and the entry there, not unpacked."""
        try:
            entry = self._engine.get(key)
        except (Corruption, DecryptError) as error:
            _pass_over(key, error, self.damage)
            return key, None
        if entry is None or entry.expires_at <= now:
            return key, None
        if not packed.is_forward(entry.value):
            return key, entry
        steps = steps_from(self._engine, key, now, self.damage)
        is_there = session_at_end(steps) is not None
        return (steps[-1].key, steps[-1].entry) if is_there else (key, None)


def trail(stored: Getter, key: bytes, now: float) -> Iterator[Step]:
    """Yield the entry under *key* and, after each forwarding record, the entry it leads to."""
    while (entry := stored.get(key)) is not None and entry.expires_at > now:
        content = packed.unpack(key, entry)
        if content is None:
            return
        yield Step(key, entry, content)
        if isinstance(content, Record):
            return
        key = bytes.fromhex(content.key)


def session_at_end(steps: Sequence[Step]) -> Found | None:
    """Return the session at the end of a trail; None: no session is there."""
    if steps and isinstance(steps[-1].content, Record):
        return Found(steps[-1].key, steps[-1].content)
    return None


def steps_from(
    stored: Getter, key: bytes, now: float, damage: list[StoreError] | None = None
) -> list[Step]:
    """Return the trail from *key*; nothing, and it is logged, if an entry is damaged.

    Args:
        stored: where it is.
        key: the first key.
        now: in Unix seconds.
        damage: gets the error of the damaged entry.
    """
    try:
        return [*trail(stored, key, now)]
    except (Corruption, DecryptError) as error:
        _pass_over(key, error, damage)
        return []


def _pass_over(key: bytes, error: StoreError, damage: list[StoreError] | None) -> None:
    """Note that an entry is damaged.

    No request can load it either, and the other sessions must still end.
    """
    logger.error("session %s is damaged, and was passed over: %s", ids.handle_of(key.hex()), error)
    if damage is not None:
        damage.append(error)


class Spared:
    """The sessions to keep, under every key that they have had."""

    def __init__(self, engine: Engine, keep: Kept) -> None:
        self._engine = engine
        self._keys = {bytes.fromhex(key) for key in keep.keys}
        self._prefixes = {bytes.fromhex(handle) for handle in keep.handles}
        for handle in keep.bare_handles:
            self._keys.update(engine.keys_like(bytes.fromhex(handle)))

    def follow(self, now: float) -> None:
        """Add the keys that they were moved to."""
        for key in [*self._keys]:
            self._keys.update(step.key for step in steps_from(self._engine, key, now))

    def has(self, steps: Sequence[Step]) -> bool:
        """Return whether a session with that trail is one of them."""
        return any(step.key in self._keys or step.key[:8] in self._prefixes for step in steps)
