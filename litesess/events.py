"""What happens to sessions, told to whoever listens.

==========  =====================================================================================
created     a session was stored for the first time, or anew under another id (``regenerate``)
rotated     it goes on under another id
destroyed   it was deleted: a logout, or an operator
expired     it had expired, and was removed; told once, by whichever process did it
evicted     it had to go for a newer one of its owner's (``max_per_owner``), or, without an
            owner, for another one without (``max_sessions``)
discarded   a request that came too late wanted to write a session that was gone, or that had got
            another id before the request came
missed      a logout found no session: it had ended before, or its id was changed an hour ago
==========  =====================================================================================

Events are told without a lock, in batches of at most 50, and those of a batch are forgotten before
the next one is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, Protocol, TypeAlias

logger = logging.getLogger("litesess.events")

Name: TypeAlias = Literal[
    "created", "rotated", "destroyed", "expired", "evicted", "discarded", "missed"
]
NAMES: Final[tuple[Name, ...]] = (
    "created", "rotated", "destroyed", "expired", "evicted", "discarded", "missed",
)  # fmt: skip


class Owned(Protocol):
    """A stored session, as far as an event tells of it."""

    owner: str | None

    def copy_data(self) -> dict[str, Any]:
        """Return the session's values as new objects."""


class Event:
    """Something that has happened to a session.

    Attributes:
        name: what; one of ``NAMES``.
        handle: the session's public name, now.
        former_handle: that which it had, if it was rotated or regenerated; else None.
        owner: whose it is, or was.
    """

    __slots__ = ("_record", "former_handle", "handle", "name", "owner")

    def __init__(
        self, name: Name, handle: str, record: Owned, former_handle: str | None = None
    ) -> None:
        self.name = name
        self.handle = handle
        self.former_handle = former_handle
        self.owner = record.owner
        self._record = record

    @property
    def data(self) -> dict[str, Any]:
        """A copy of the session's values, new each time."""
        return self._record.copy_data()

    def __repr__(self) -> str:
        # Neither owner nor values: reprs end up in logs.
        return f"<Event {self.name} {self.handle}>"


Listener: TypeAlias = "Callable[[Event], object]"


#: Not of the thread: a greenlet that waits in a muted block must not mute the others.
_is_muted: ContextVar[bool] = ContextVar("litesess.events.is_muted", default=False)


@contextmanager
def muted() -> Iterator[None]:
    """Let nothing be told of what is done here: a session that moves to another store."""
    token = _is_muted.set(True)
    try:
        yield
    finally:
        _is_muted.reset(token)


def is_heard(listeners: Iterable[Listener], name: Name) -> bool:
    """Say whether one of *listeners* hears of events of that name.

    A listener hears of all, unless it has a method ``hears(name)`` that says otherwise.
    """
    return not _is_muted.get() and any(_hears(listener, name) for listener in listeners)


def tell(listeners: Iterable[Listener], events: Iterable[Event]) -> None:
    """Tell each listener of each event; what it raises is logged, and harms nothing."""
    if _is_muted.get():
        return
    for event in events:
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed at %s of session %s", event.name, event.handle)


def _hears(listener: Listener, name: Name) -> bool:
    hears: Callable[[Name], bool] | None = getattr(listener, "hears", None)
    return hears is None or hears(name)
