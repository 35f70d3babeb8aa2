"""Stores: where sessions are kept.

``FallbackStore`` and ``RedisStore`` are in modules of their own, ``fallback`` and ``redis``: few
sites need them, and the package ``redis`` is optional.
"""

from litesess.stores.base import KEEP, LATE_FOR, MOVED_FOR, Owner, Record, Store
from litesess.stores.memory import MemoryStore
from litesess.stores.stats import Stats
from litesess.stores.wal import WALStore

__all__ = [
    "KEEP",
    "LATE_FOR",
    "MOVED_FOR",
    "MemoryStore",
    "Owner",
    "Record",
    "Stats",
    "Store",
    "WALStore",
]
