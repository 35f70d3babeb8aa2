"""The names of candidates in pictures: they say how durable a write of the candidate is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_DURABLE: Final = "{}, durable"
_UNSYNCED: Final = "{} (not synced)"
_EVERY_SECOND: Final = "{} (synced each second)"

#: The label of each candidate that has one.
_LABELS: Final[dict[str, str]] = {
    "litesess": _DURABLE,
    "litesess, not durable": "{}",
    "litesess, MemoryStore": "{} (in memory)",
    "litesess, Flask": _DURABLE,
    "litesess, encrypted": _DURABLE,
    "litesess, engine alone": _DURABLE,
    "Beaker, files": _UNSYNCED,
    "Flask-Session, cachelib files": _UNSYNCED,
    "Django, files": _UNSYNCED,
    "cachelib, files": _UNSYNCED,
    "Django, SQLite": _DURABLE,
    "Pyramid, signed cookie": "{} (stores nothing)",
    "SQLite, FULL": _DURABLE,
    "SQLite, NORMAL": "{} (synced at checkpoints)",
    "LMDB, sync": _DURABLE,
    "LMDB, no sync": "{}",
    "diskcache": "{} (synced at checkpoints)",
    "Redis, always": _DURABLE,
    "RedisStore, always": "litesess on Redis, durable",
    "Redis, everysec": _EVERY_SECOND,
    "RedisStore, everysec": "litesess on Redis (synced each second)",
}


def label(candidate: str) -> str:
    """Return the label of a candidate; its name, if it has none."""
    return _LABELS.get(candidate, "{}").format(candidate)


def is_durable(candidate: str) -> bool:
    """Return whether the candidate syncs a write before it acknowledges it."""
    return label(candidate).endswith(", durable")


def is_ours(candidate: str) -> bool:
    """Return whether it is litesess, on its own files or on Redis."""
    return label(candidate).startswith("litesess")


def in_words(names: Iterable[str]) -> str:
    """Return the names as a sentence has them: "a, b and c"."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last
