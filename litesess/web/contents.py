"""A session's values: encoded as they are stored, decoded when they are asked for.

In-place changes at any depth are found by encoding the returned values again and comparing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, KeysView
from typing import Any

from litesess import codec
from litesess.errors import EncodeError

logger = logging.getLogger("litesess.session")


class Contents:
    """A session's stored values, and the app's changes to them."""

    __slots__ = ("_assigned", "_keys", "_limit", "_unreadable", "_values", "frames")

    def __init__(self, frames: codec.Frames, limit: int) -> None:
        """Begin with the stored values; nothing is decoded yet.

        Args:
            frames: the stored values.
            limit: largest session, encoded, in bytes.
        """
        self.frames = frames
        self._limit = limit
        #: The keys there are, in their order.
        self._keys: dict[str, None] = dict.fromkeys(frames)
        #: The values that were decoded or assigned.  A key that was removed may have one, too.
        self._values: dict[str, Any] = {}
        self._assigned: set[str] = set()
        #: The keys of stored values that can't be decoded, as far as the app has asked for them.
        self._unreadable: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys or key in self._unreadable:
            raise KeyError(key)
        values = self._values
        if key in values:
            return values[key]
        try:
            value = codec.decode(self.frames[key])
        except ValueError as error:
            # Its checksum was good, so nothing rotted, and the request must not fail.  The stored
            # value stays: another release may know how to read it.
            logger.exception("a session's value can't be decoded, treated as absent")
            self._unreadable.add(key)
            raise KeyError(key) from error
        # Two threads of a request can decode a value at once.  Both must get the same object, or
        # an in-place change by one of them would be lost.
        return values.setdefault(key, value)

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[codec.check_key(key)] = value
        self._keys[key] = None
        self._assigned.add(key)
        self._unreadable.discard(key)

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        self._values.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        # An app that goes through all keys asks for the values next.
        return iter([key for key in list(self._keys) if self._is_readable(key)])

    def _is_readable(self, key: Any) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(self._is_readable(key) for key in list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys and self._is_readable(key)

    def names(self) -> KeysView[str]:
        """Return the keys, those of values that can't be decoded among them; decodes nothing."""
        return self._keys.keys()

    def clear(self) -> None:
        """Remove all values."""
        self._keys.clear()
        self._values.clear()

    def changes(self) -> tuple[codec.Frames, list[str]]:
        """Return the changed values, encoded, and the removed keys, since it was stored last.

        Raises:
            EncodeError: a value can't be stored, or the changes alone are larger than a session may
                be.  Nothing is encoded beyond that.
        """
        changed: codec.Frames = {}
        frames, limit, left = self.frames, self._limit, self._limit
        for key, value in list(self._values.items()):  # another thread may be at it
            if key not in self._keys:
                continue
            if type(value) in codec.IMMUTABLE and key not in self._assigned:
                continue
            before = frames.get(key)
            # A value that was stored under a larger limit can still be read.
            most = limit if before is None else max(limit, len(before))
            frame = codec.encode(value, key, most)
            # The encoder sorts sets, and the order of a dict is content.
            if before != frame:
                changed[key] = frame
                left -= len(key) + len(frame)
                if left < 0:
                    raise _too_large(changed, limit)
        keys = self._keys
        removed = [] if frames.keys() <= keys.keys() else [key for key in frames if key not in keys]
        return changed, removed

    def stored(self, frames: codec.Frames, changed: codec.Frames) -> None:
        """Note the stored values; values that the app holds stay the same objects.

        Args:
            frames: all stored values, with the changes of other requests.
            changed: the changes made here, as :meth:`changes` gave them.
        """
        mine, own = self._values, self.frames | changed
        self.frames = frames
        self._keys = dict.fromkeys(frames)
        self._unreadable.clear()
        self._values = {
            key: mine[key] for key, frame in frames.items() if key in mine and own[key] == frame
        }
        self._assigned.clear()

    def forget_stored(self) -> None:
        """Count every value as changed, because they are stored as another session's."""
        self._begin({key: self[key] for key in self})

    def revert(self, frames: codec.Frames) -> None:
        """Set the values of a new session back to *frames*."""
        self._begin({key: codec.decode(frame) for key, frame in frames.items()})

    def _begin(self, values: dict[str, Any]) -> None:
        """Hold the values of a session that is not stored."""
        self.frames = {}
        self._keys = dict.fromkeys(values)
        self._unreadable = set()
        self._values = values
        self._assigned = set(values)


def _too_large(changed: codec.Frames, limit: int) -> EncodeError:
    largest = max(changed, key=lambda key: len(changed[key]))
    return EncodeError(
        largest, f"has {len(changed[largest])} of the session's bytes, limit {limit}"
    )
