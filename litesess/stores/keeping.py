"""The sessions that a deletion spares, given as keys, handles or Sessions."""

from __future__ import annotations

from collections.abc import Collection
from functools import singledispatch
from typing import Any, NamedTuple

from litesess import ids
from litesess.errors import ConfigTypeError


class Kept(NamedTuple):
    """The sessions that a deletion spares."""

    #: Keys that were given, and the keys of Sessions: now, and from the next write on.
    keys: set[str]
    #: Handles that were given, and the handles of the keys.
    handles: set[str]

    @property
    def bare_handles(self) -> set[str]:
        """The handles without a known key."""
        return self.handles - {ids.handle_of(key) for key in self.keys}


@singledispatch
def keys_of(item: object) -> set[str]:
    """Return the keys that *item* names; a Session has its own way.

    Raises:
        ConfigTypeError: it names no key.
    """
    if item.__class__ is not type(item):  # a proxy, such as Flask's
        return keys_of.dispatch(item.__class__)(item)
    # Don't show the value: it can be a session id.
    raise ConfigTypeError(
        f"keep holds a value of type {type(item).__name__} that is neither a key (64 hex digits)"
        " nor a handle (16) nor a Session"
    )


def kept(keep: Collection[Any]) -> Kept:
    """Return the sessions that *keep* names by keys, handles and Sessions.

    A Session that was not read yet is loaded.

    Raises:
        ConfigTypeError: it has another value.
    """
    found = Kept(set(), set())
    # A str would be taken for its letters, a Session for the keys of its data.
    kind = keys_of.dispatch(keep.__class__)
    is_one = isinstance(keep, str) or kind is not keys_of.dispatch(object)
    for item in (keep,) if is_one else keep:
        if isinstance(item, str) and ids.is_handle(item):
            found.handles.add(item)
        elif isinstance(item, str) and ids.is_key(item):
            found.keys.add(item)
        else:
            found.keys.update(keys_of(item))
    found.handles.update(map(ids.handle_of, found.keys))
    return found
