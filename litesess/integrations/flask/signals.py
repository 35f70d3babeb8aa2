"""Events as signals of blinker's, which Flask apps use: ``blinker.signal("litesess.expired")``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

import blinker

if TYPE_CHECKING:
    from litesess.events import Event, Name
    from litesess.stores.base import Store


class Signals:
    """A listener that sends each event as the signal of its name.

    The sender is the store, and ``event`` the event.
    """

    def __init__(self, store: Store) -> None:
        self._store = ref(store)  # which holds this

    def hears(self, name: Name) -> bool:
        """Return whether that signal has a receiver; without one, no event is made for it."""
        return bool(_signal(name).receivers)

    def __call__(self, event: Event) -> None:
        """Send the signal."""
        _signal(event.name).send(self._store(), event=event)


def send_signals(store: Store) -> None:
    """Send the events of *store* as signals, once, however many apps share it."""
    if not any(isinstance(listener, Signals) for listener in store.listeners):
        store.listeners.append(Signals(store))


def _signal(name: Name) -> blinker.Signal:
    return blinker.signal(f"litesess.{name}")
