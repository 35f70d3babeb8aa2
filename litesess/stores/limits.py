"""The limits of an embedded store: how many sessions it takes, and how many of one owner."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Collection
from itertools import chain, islice
from math import inf
from typing import Final

from litesess import ids
from litesess.engine import Entry, Lookup
from litesess.errors import Corruption, DecryptError, LimitReached
from litesess.stores import ending, packed
from litesess.stores.base import Record
from litesess.stores.stored import Engine, Found, session_in

logger = logging.getLogger("litesess.store")

#: A new session replaces the one that ends first among this many sessions without an owner.
_COMPARED: Final = 8
#: At most this many are read for that under the lock.
_LOOKED_AT: Final = 64
#: This many are picked at random at once, outside of the lock.
_PICKED: Final = 1024
#: At most so many go for one login, and hold up other writers for some milliseconds; the rest goes
#: for the next ones.
_EVICTED: Final = 200
#: After a session was refused, no sessions are picked for this long, in seconds.
_HOPELESS: Final = 1.0
#: Seconds between two log messages about the limit.
_QUIET: Final = 60.0


class Limits:
    """The limits of one store; None: no limit."""

    def __init__(
        self,
        engine: Engine,
        store_name: str,
        *,
        max_sessions: int | None,
        max_per_owner: int | None,
    ) -> None:
        """Take the limits.

        Args:
            engine: where the sessions are.
            store_name: the name of the store, for errors.
            max_sessions: beyond so many, a session without an owner begins in the place of another.
            max_per_owner: beyond so many, the oldest session of the owner goes.
        """
        self._engine = engine
        self._store_name = store_name
        self._max_sessions = max_sessions
        self._max_per_owner = max_per_owner
        #: The keys of sessions that can be evicted for another one.
        self._picked: deque[bytes] = deque()
        self._refused_at = self._logged_at = float("-inf")

    def prepare(self, record: Record, *, is_anew: bool) -> bool:
        """Pick sessions to evict for *record*, a new session, before the lock is taken.

        Args:
            record: the session.
            is_anew: pick other sessions than before.

        Returns:
            Whether an attempt to store it is worthwhile.
        """
        if self._max_sessions is None or not self._is_full(record):
            return True
        if not is_anew and len(self._picked) > min(_LOOKED_AT, self._max_sessions // 4):
            return True
        if time.monotonic() < self._refused_at + _HOPELESS:
            return bool(self._picked) and not is_anew
        picked = self._engine.sample(_PICKED)
        random.shuffle(picked)
        self._picked = deque(picked)
        return True

    def _is_full(self, record: Record) -> bool:
        """Return whether *record*, a new session, can only take the place of another one."""
        limit = self._max_sessions
        return limit is not None and record.owner is None and self._engine.count() >= limit

    def make_room(self, stored: Lookup, record: Record) -> list[Found]:
        """Return the session to evict for *record*, a new session, if there are too many.

        A session with an owner is never evicted: a client that floods the store must not end
        logins.

        Args:
            stored: the stored sessions.
            record: the new session.

        Raises:
            LimitReached: there are too many, and no session was found that can be evicted.

        Source: Redis documentation, "Key eviction", "Approximated LRU algorithm", for the pool.
        """
        if self._max_sessions is None or not self._is_full(record):
            return []
        found: list[Found] = []
        picked = self._picked
        for _ in range(min(len(picked), _LOOKED_AT)):
            session = _unowned(stored, picked.popleft())
            if session is not None:
                found.append(session)
            if len(found) == _COMPARED:
                break
        if not found:
            raise LimitReached  # the caller picks other sessions, or gives the reason
        found.sort(key=lambda session: session.record.expires_at)
        picked.extend(session.key for session in found[1:])
        return found[:1]

    def refusal(self, count: int, now: float) -> LimitReached:
        """Return the error for a session that was not stored; it is logged once a minute.

        Args:
            count: how many were not so far.
            now: in Unix seconds.
        """
        self._refused_at = time.monotonic()
        if not self._logged_at <= now < self._logged_at + _QUIET:
            self._logged_at = now
            logger.warning(
                "%s holds max_sessions=%s, and none without an owner was found that could end: %d"
                " new ones were not stored since the start; raise max_sessions",
                self._store_name,
                self._max_sessions,
                count,
            )
        return LimitReached(
            f"{self._store_name} holds max_sessions={self._max_sessions}, also counting expired"
            " ones that were not collected yet, and none without an owner was found that could end"
        )

    def too_many(
        self, stored: Lookup, owner: str | None, spared: Collection[bytes], now: float
    ) -> list[Found]:
        """Return sessions of *owner* that have to go for one that begins now: the oldest.

        If they are far beyond the limit, as they may have begun before there was one: any that are
        older than as many as may stay.  So a login costs what the limit is, and a batch, however
        many there are.

        Args:
            stored: where they are.
            owner: the owner.
            spared: keys that do not count: the new session's, and those that go anyway.
            now: in Unix seconds.
        """
        limit = self._max_per_owner
        if limit is None or owner is None:
            return []
        owner_hash = ids.owner_hash(owner)
        keys = (key for key in stored.candidates(owner_hash) if key not in spared)
        first = [*islice(keys, limit)]
        if len(first) < limit:
            return []  # nothing was read for that
        began: list[tuple[float, int, bytes]] = []
        size = 0
        for key in chain(first, keys):
            entry = _read(stored, key)
            began_at = None if entry is None else packed.began_at(entry.value)
            if entry is None or began_at is None or entry.owner != owner_hash:
                continue
            # One that has expired goes first, and so keeps none from its place.
            began.append((began_at if entry.expires_at > now else -inf, entry.version, key))
            size += len(entry.value)
            # Invariant: of any of the owner's sessions, those beyond the limit have to go.
            spare = len(began) + 1 - limit
            if spare >= _EVICTED or (spare > 0 and size > ending.BATCH_BYTES):
                break
        began.sort()
        doomed = (session_in(key, _read(stored, key)) for *_, key in began)
        return [
            session
            for session in islice(doomed, max(len(began) + 1 - limit, 0))
            if session is not None
        ]


def _unowned(stored: Lookup, key: bytes) -> Found | None:
    """Return the session under *key*; None: it is gone, has an owner or is damaged."""
    entry = _read(stored, key)
    return None if entry is None or entry.owner else session_in(key, entry)


def _read(stored: Lookup, key: bytes) -> Entry | None:
    """Return the entry under *key*; None: it is gone or damaged.

    No request can load a damaged one, which is told; others must still begin and end.
    """
    try:
        return stored.get(key)
    except (Corruption, DecryptError):
        return None
