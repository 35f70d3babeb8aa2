"""The facts about a session that commands print; its key and its values are not among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litesess import ids
from litesess.cli.exits import Exit, Failure
from litesess.stores.base import Record, Store


def sessions_of(store: Store, owner: str | None) -> Iterable[tuple[str, Record]]:
    """Return the sessions of *owner*, oldest first; None: all sessions, in the store's order."""
    if owner is None:
        return store.records()
    return sorted(store.find(owner), key=lambda found: found[1].created_at)


def no_such(handle: str) -> Failure:
    """Return the error for a handle that no session has."""
    return Failure(Exit.NOT_THERE, f"no session has the handle {handle}")


def summary(key: str, record: Record) -> dict[str, Any]:
    """Return the facts about a session that commands show."""
    return {
        "handle": ids.handle_of(key),
        "owner": record.owner,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_seen_at": record.last_seen_at,
        "bytes": bytes_of(record),
        "cookie": None if record.cookie is None else dict(record.cookie),
        "client": None if record.client is None else dict(record.client),
    }


def bytes_of(record: Record) -> int:
    """Return the size of a session's values as they are stored, in bytes."""
    return sum(map(len, record.frames.values()))
