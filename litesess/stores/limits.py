"""The limits of an embedded store: how many sessions it takes, and how many of one owner."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from litesess.engine import Lookup
from litesess.errors import StoreFull
from litesess.stores import ending
from litesess.stores.base import Record
from litesess.stores.stored import Engine, Found, owned_sessions


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
            max_sessions: beyond so many, no session without an owner begins.
            max_per_owner: beyond so many, the oldest session of the owner goes.
        """
        self._engine = engine
        self._store_name = store_name
        self._max_sessions = max_sessions
        self._max_per_owner = max_per_owner

    def count_first(self) -> None:
        """Have the sessions counted before the lock is taken: the first time takes long."""
        if self._max_sessions is not None:
            self._engine.count()

    def check_room(self, record: Record) -> None:
        """Raise :class:`StoreFull` if there is no room for *record*, a new session."""
        limit = self._max_sessions
        if limit is not None and record.owner is None and self._engine.count() >= limit:
            # No session ends for a new one: a client that floods the store must not end logins.
            raise StoreFull(
                f"{self._store_name} holds max_sessions={limit}, also counting expired ones that"
                " were not collected yet; only sessions with an owner are begun"
            )

    def too_many(
        self, stored: Lookup, owner: str | None, spared: Collection[bytes], now: float
    ) -> list[Found]:
        """Return the oldest sessions of *owner* that have to go for one that begins now.

        Args:
            stored: where they are.
            owner: the owner.
            spared: keys that do not count: the new session's, and those that go anyway.
            now: in Unix seconds.
        """
        limit = self._max_per_owner
        if limit is None or owner is None:
            return []
        others = [found for found in owned_sessions(stored, owner, now) if found.key not in spared]
        others.sort(key=lambda found: (found.record.created_at, found.record.version))
        return others[: max(len(others) + 1 - limit, 0)]

    def thin_out(
        self,
        owner: str,
        clock: Callable[[], float],
        *,
        sync: bool,
        rest: Callable[[], object],
    ) -> Iterator[list[Found]]:
        """Delete the oldest sessions of *owner* in batches, if they are far beyond the limit.

        They may have begun before there was a limit.  A login that deletes them all in one record
        would hold up all other writers.  The arguments and results are those of
        :func:`ending.end`.
        """
        limit = self._max_per_owner
        if limit is None:
            return iter(())
        keys = ending.beyond(self._engine, owner, limit, clock())
        return ending.end(
            self._engine,
            keys,
            lambda _steps, record: record.owner == owner,
            clock,
            sync=sync,
            rest=rest,
        )
