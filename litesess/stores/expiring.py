"""Deleting the sessions that have expired, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from litesess.engine import Change, Delete, Entry, Lookup
from litesess.errors import Corruption, DecryptError
from litesess.stores import packed
from litesess.stores.stored import Engine, Found, session_in

#: The deletions of one record; other writers wait while it is written.
DELETE_BATCH: Final = 50


def last_uses(engine: Engine, pause: Callable[[float], object]) -> Iterator[float]:
    """Yield when each session was used last, in Unix seconds, up to the first damaged one.

    Args:
        engine: where they are.
        pause: called often with 0, to let other threads run.
    """
    with suppress(Corruption, DecryptError):
        for count, (_, entry) in enumerate(engine.scan()):
            if count % DELETE_BATCH == 0:
                pause(0)
            used_at = packed.last_use(entry.value, entry.expires_at)
            if used_at is not None:
                yield used_at


def remove_expired(
    engine: Engine, keys: Iterator[bytes], now: float, *, is_heard: bool
) -> Iterator[tuple[int, list[Found]]]:
    """Delete those of *keys* that have expired, a batch at a time.

    Args:
        engine: where they are.
        keys: of sessions and forwarding records that may have expired.
        now: in Unix seconds.
        is_heard: a listener hears of expired sessions, so they are worth decoding.

    Yields:
        How many sessions they were and, if a listener hears of that, those.
    """
    while batch := [*islice(keys, DELETE_BATCH)]:

        def plan(
            stored: Lookup, batch: list[bytes] = batch
        ) -> tuple[Sequence[Change], list[tuple[bytes, Entry]]]:
            # Check again under the lock, because a session may have been touched meanwhile.
            doomed = [
                (key, entry)
                for key in batch
                if (entry := stored.get(key)) is not None and entry.expires_at <= now
            ]
            return [Delete(key, expired=True) for key, _ in doomed], doomed

        # Not synced: a session that comes back after a power cut has still expired.
        doomed, _ = engine.transact(plan, sync=False)
        found: list[Found] = []
        if is_heard:
            sessions = (session_in(key, entry) for key, entry in doomed)
            found = [session for session in sessions if session is not None]
        yield sum(not packed.is_forward(entry.value) for _, entry in doomed), found
