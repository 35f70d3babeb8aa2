"""What happens to sessions, told to whoever listens.

==========  =====================================================================================
created     a session was stored for the first time, or anew under another id (``regenerate``)
rotated     it goes on under another id
destroyed   it was deleted: a logout, or an operator
expired     it had expired, and was removed; told once, by whichever process did it
evicted     it had to go for a newer one of its owner's (``max_per_owner``)
discarded   a request that came too late wanted to write a session that was gone
==========  =====================================================================================

Where ``blinker`` is in use, each is a signal, too: ``blinker.signal("litesess.expired")``, sent by
the store, with the event as ``event``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, Protocol, TypeAlias

logger = logging.getLogger("litesess.events")

Name: TypeAlias = Literal["created", "rotated", "destroyed", "expired", "evicted", "discarded"]
NAMES: Final[tuple[Name, ...]] = (
    "created", "rotated", "destroyed", "expired", "evicted", "discarded",
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


def has_signals() -> bool:
    """Say whether blinker is in use: whoever listens to a signal has imported it."""
    return "blinker" in sys.modules


def has_receivers(name: Name) -> bool:
    """Say whether a signal of blinker's has any."""
    blinker = sys.modules.get("blinker")
    return blinker is not None and bool(blinker.signal(f"litesess.{name}").receivers)


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


def tell(sender: object, listeners: Iterable[Listener], events: Iterable[Event]) -> None:
    """Tell each listener of each event; what it raises is logged, and harms nothing."""
    if _is_muted.get():
        return
    blinker = sys.modules.get("blinker")
    for event in events:
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed at %s of session %s", event.name, event.handle)
        if blinker is not None:
            try:
                blinker.signal(f"litesess.{event.name}").send(sender, event=event)
            except Exception:
                logger.exception("a signal failed at %s of session %s", event.name, event.handle)
