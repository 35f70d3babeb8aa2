"""Plain values: the stand-ins for some while a pickle is read, and the copy at the end."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from litesess import codec

#: Values, and characters of text among them: more than the largest session has.
MOST: Final = 1 << 21
#: The largest number of members of a set, or keys of a dict, with one hash.  -1 and -2 share a
#: hash; three values share one only if they were chosen for that.
_MOST_ALIKE: Final = 8
_SHOWN: Final = 80


class NotPlain(Exception):  # it is the file's fault
    """A pickle is damaged, or holds more than plain values; the message shows no value."""


class Named:
    """A name in a pickle; text and nothing more."""

    def __init__(self, module: str, name: str) -> None:
        self.pair = (module, name)

    def __str__(self) -> str:
        return ".".join(self.pair)[:_SHOWN]


class Uuid:
    """A UUID, which a pickle makes first and gives its number later."""

    number: int


class Markup(str):
    """Text that is HTML already, such as MarkupSafe's, which litesess stores as such."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


class Members:
    """A future set or dict: its members, or pairs of key and value, in a list."""

    __slots__ = ("items", "kind")

    def __init__(self, kind: type, items: list[Any]) -> None:
        self.kind = kind
        self.items = items


_PLAIN: Final = frozenset(
    {str, Markup, int, float, bool, type(None), bytes, bytearray, datetime, date, Decimal}
)


class Copy:
    """A copier of a value that can contain the same part many times, even in itself.

    A pickle of a hundred bytes can stand for more values than there are atoms, so the copying stops
    at a limit.
    """

    def __init__(self) -> None:
        self._left = MOST

    def of(self, value: Any, depth: int) -> Any:
        """Return a copy of *value*, which lies *depth* levels deep."""
        kind = type(value)
        self._left -= 1 + size_of(value)
        if self._left < 0:
            raise NotPlain("is larger than any session")
        if kind in _PLAIN:
            return value
        if depth > codec.MAX_DEPTH:
            raise NotPlain(f"is nested deeper than {codec.MAX_DEPTH} levels")
        if kind is Members:
            return self._filled(value, depth + 1)
        if kind in (list, tuple):
            return kind([self.of(item, depth + 1) for item in value])
        if kind is Uuid:
            return UUID(int=value.number)
        raise NotPlain(f"holds {value if kind is Named else kind.__name__}")

    def _filled(self, members: Members, depth: int) -> Any:
        """Return the set or dict with *members*."""
        if members.kind is not dict:
            return members.kind(self._hashable(members.items, depth))
        keys = self._hashable([key for key, _ in members.items], depth)
        return dict(zip(keys, [self.of(item, depth) for _, item in members.items], strict=True))

    def _hashable(self, members: list[Any], depth: int) -> list[Any]:
        """Return copies of the future members of a set, or keys of a dict.

        Raises:
            NotPlain: a member is nested too deeply: a tuple of tuples of one tuple, and so on,
                takes hours to hash, or all of the stack.  Or many members have one hash, so
                that Python would compare each one with all the rest.
        """
        copies, alike = [], Counter[int]()
        for member in members:
            parts = member if type(member) is tuple else (member,)
            self._left -= len(parts)
            if self._left < 0:
                raise NotPlain("is larger than any session")
            if any(type(part) in (tuple, Members) for part in parts):
                raise NotPlain("has a key that is nested deeper than a tuple")
            copy = self.of(member, depth)
            if type(copy) not in (str, bytes):  # no client can foresee their hashes
                number = hash(copy)
                alike[number] += 1
                if alike[number] > _MOST_ALIKE:
                    raise NotPlain("has keys that were made to have one hash")
            copies.append(copy)
        return copies


def size_of(value: Any) -> int:
    """Return an estimate of the work that a plain value takes, beyond a small value."""
    if type(value) in (str, Markup, bytes, bytearray):
        return len(value)
    return sys.getsizeof(value) >> 5 if type(value) in (int, Decimal) else 0
