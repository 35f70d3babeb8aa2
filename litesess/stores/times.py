"""The times of sessions: the valid ones, and the protection against a wrong clock.

A machine can start with a clock that is years off, until it gets the time from a server.  A session
that it deletes then is lost, and a session that it stores would live for years.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from math import isnan
from typing import Final

from litesess.clocks import LARGEST_JUMP, steady_time
from litesess.errors import EncodeError
from litesess.stores.base import Record

logger = logging.getLogger("litesess.clocks")

#: A clock is not believed at once that is further, in seconds, from all sessions' last uses.
LONGEST_SILENCE: Final = 366 * 86_400.0
#: It is believed when it has gone on for so long, in seconds, without a jump.
PROBATION: Final = 3600.0


def check_end(expires_at: float | None) -> None:
    """Raise :class:`EncodeError` if a session can't end at this time, which is NaN."""
    if expires_at is not None and isnan(expires_at):
        raise EncodeError("expires_at", "is nan, which is no time")


def check_times(record: Record) -> None:
    """Raise :class:`EncodeError` if *record* does not say when it began, and when it ends."""
    check_end(record.expires_at)
    if isnan(record.created_at):
        raise EncodeError("created_at", "is nan, which is no time")


def is_ahead(record: Record, now: float) -> bool:
    """Return whether *record* began, or was used, by a clock that was far ahead of *now*.

    A touch that gives a session a longer life, too, looks like a later use.
    """
    seen_at = record.last_seen_at
    return record.created_at > now + LARGEST_JUMP or (
        seen_at is not None and seen_at > now + LONGEST_SILENCE
    )


def shorten(record: Record, now: float) -> Record:
    """Return *record*, which ends at most its life from *now* if it :func:`is_ahead`."""
    seen_at = record.last_seen_at
    # The first comparison alone is made for each request.
    if seen_at is not None and record.expires_at > seen_at > now and is_ahead(record, now):
        record.expires_at = min(record.expires_at, now + record.expires_at - seen_at)
    return record


class Credit:
    """Decides whether the clock is trusted enough to delete expired sessions.

    A store in use has sessions of the last year.  If all are older, either no visitor came for a
    year, or the clock is wrong: then nothing is deleted until an hour has passed.
    """

    def __init__(
        self, clock: Callable[[], float], monotonic: Callable[[], float] = steady_time
    ) -> None:
        """Start watching; call this before anything is stored by that clock.

        Args:
            clock: returns the current time in Unix seconds.
            monotonic: returns seconds that never go back.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._began_at, self._began = self._seen_at, self._seen = clock(), monotonic()
        self._is_given: bool | None = None  # None: not known yet

    def is_given(self, uses: Callable[[], Iterable[float]]) -> bool:
        """Return whether the clock is believed.

        Args:
            uses: returns when each session was used last, in Unix seconds; they are looked at once.
        """
        now, steady = self._clock(), self._monotonic()
        jump = (now - self._seen_at) - (steady - self._seen)
        self._seen_at, self._seen = now, steady
        if self._is_given and abs(jump) > LONGEST_SILENCE:  # it may have been right so far
            self._began_at, self._began, self._is_given = now, steady, None
        if self._is_given is None:
            self._is_given = self._is_vouched_for(now, uses())
        elif not self._is_given and abs(jump) > LARGEST_JUMP:
            self._began_at, self._began = now, steady
        elif not self._is_given:
            self._is_given = steady - self._began >= PROBATION
        return self._is_given

    def give(self) -> None:
        """Believe the clock, until it jumps by a year."""
        self._is_given = True

    def _is_vouched_for(self, now: float, uses: Iterable[float]) -> bool:
        other: float | None = None
        for used_at in uses:
            # By this clock, maybe: that is no witness.  Other processes may have begun before.
            if self._began_at - PROBATION <= used_at <= now + LARGEST_JUMP:
                continue
            if abs(used_at - now) < LONGEST_SILENCE:
                return True
            if other is None or abs(used_at - now) < abs(other - now):
                other = used_at
        if other is None:
            return True
        logger.warning(
            "the clock is %.0f days from the last use of every session that is stored: is it right?"
            "  No expired session is removed until it has gone on for an hour without a jump",
            abs(other - now) / 86_400,
        )
        return False
