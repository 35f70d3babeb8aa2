"""A store in Redis in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RedisStats:
    """The numbers of a store in Redis.

    Attributes:
        live: sessions that have not expired.
        expired: sessions that have expired by this machine's clock, and that Redis has not removed.
        passed_over: keys without a session that can be read, such as a value of another type.
        maxmemory_policy: of Redis, several if nodes differ; None: it does not tell.  Any other than
            ``noeviction`` is a mistake.
        merges: writes by this process that were merged with another's.
        discarded: writes by this process that came too late: the session was gone.
    """

    live: int
    expired: int
    passed_over: int
    maxmemory_policy: str | None
    merges: int
    discarded: int
