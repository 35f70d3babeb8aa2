"""The stores' options as type checkers and editors see them; at run time nothing imports this.

The declared options (:mod:`litesess.options`) hold the checked values; these types describe the
values that a caller can write.  A test compares the two, name by name.

Source: PEP 692 (``Unpack`` of a ``TypedDict`` as the type of ``**keywords``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Literal, TypedDict

from litesess.crypto import EncryptionKey


class _SharedKeywords(TypedDict, total=False):
    """The keywords of all stores."""

    ttl: float | timedelta
    anonymous_ttl: float | timedelta | None
    touch_interval: float | timedelta | Literal["auto"]
    max_per_owner: int | None
    clock: Callable[[], float]


class MemoryKeywords(_SharedKeywords, total=False):
    """The keywords of :class:`litesess.MemoryStore`."""

    gc_interval: float | timedelta | None
    max_sessions: int | None


class WALKeywords(MemoryKeywords, total=False):
    """The keywords of :class:`litesess.WALStore`, besides its path."""

    collection: str
    durable: bool
    wal_limit: int
    compact_after_gc: bool
    compact_interval: float | timedelta | None
    encryption_key: str | bytes | EncryptionKey | None
    lock_timeout: float | timedelta
    read_only: bool
    share_anywhere: bool
    debug: bool


class RedisKeywords(_SharedKeywords, total=False):
    """The keywords of :class:`litesess.stores.redis.RedisStore`, besides its server."""

    prefix: str
    encryption_key: str | bytes | EncryptionKey | None
    timeout: float | timedelta
