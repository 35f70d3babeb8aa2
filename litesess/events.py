"""Events about sessions, passed to the app's listeners.

==========  =====================================================================================
created     a session was stored for the first time, or anew under another id (``regenerate``)
rotated     it goes on under another id
destroyed   it was deleted: a logout, or an operator
expired     it had expired and was removed; the process that removed it reports it, once
evicted     it was deleted to make room for a newer session of its owner (``max_per_owner``) or,
            if it had no owner, for another session without an owner (``max_sessions``)
discarded   a late request tried to write a session that was gone, or that had got another id
            before the request arrived
missed      a logout found no session: it had ended before, or its id was changed an hour ago
==========  =====================================================================================

Listeners are called while no lock is held, for at most 50 events at a time.  The events of a
batch are freed before the next batch is read.
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
    """The part of a stored session that an event shows."""

    owner: str | None

    def copy_data(self) -> dict[str, Any]:
        """Return the session's values as new objects."""


class Event:
    """Something that has happened to a session.

    Attributes:
        name: the kind of the event; one of ``NAMES``.
        handle: the session's public name now.
        former_handle: its former handle if it was rotated or regenerated; else None.
        owner: the name of its owner, or of its last owner; None: it has none.
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


#: A context variable, because a greenlet that waits in a muted block must not mute other ones.
_is_muted: ContextVar[bool] = ContextVar("litesess.events.is_muted", default=False)


@contextmanager
def muted() -> Iterator[None]:
    """Report no events from the block, such as one that moves a session to another store."""
    token = _is_muted.set(True)
    try:
        yield
    finally:
        _is_muted.reset(token)


def is_heard(listeners: Iterable[Listener], name: Name) -> bool:
    """Return whether one of *listeners* takes events called *name*.

    A listener takes all events, unless it has a method ``hears(name)`` that returns False.
    """
    return not _is_muted.get() and any(_hears(listener, name) for listener in listeners)


def tell(listeners: Iterable[Listener], events: Iterable[Event]) -> None:
    """Call each listener with each event; an exception of a listener is logged and ignored."""
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
