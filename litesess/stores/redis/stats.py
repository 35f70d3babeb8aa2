"""A store in Redis in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RedisStats:
    """The numbers of a store in Redis.

    Attributes:
        live: sessions that have not expired.
        expired: sessions that have expired by this machine's clock, and that Redis has not removed.
        merges: writes by this process that were merged with another's.
        discarded: writes by this process that came too late: the session was gone.
    """

    live: int
    expired: int
    merges: int
    discarded: int
