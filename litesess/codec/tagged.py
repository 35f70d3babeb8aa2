"""Typed JSON: a value as JSON's own types, and back.

A value is JSON (RFC 8259, UTF-8).  A type that JSON lacks is an object with one tagged member::

    {"~datetime": "2026-01-31T10:00:00+01:00"}   {"~date": "2026-01-31"}   {"~decimal": "1.50"}
    {"~uuid": "..."}   {"~bytes": "<base64>"}   {"~tuple": [...]}   {"~set": [...]}
    {"~frozenset": [...]}   {"~markup": "<b>"}   text that is HTML already, such as MarkupSafe's
    {"~dict": [[key, value], ...]}               a dict with keys that are not all str,
                                                 or one that looks like a tagged object
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection
from datetime import date, datetime
from decimal import Decimal
from math import inf, isfinite
from typing import Any, cast
from uuid import UUID

from litesess.codec import proxies

MAX_DEPTH = 32

_TAG = "~"
_ATOMS = frozenset({str, int, bool, type(None)})
_NAMES = frozenset({str})
_CONTAINERS = frozenset({dict, list})

# No check for cycles: a value that contains itself exceeds MAX_DEPTH, which is checked anyway.
to_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


class Unfit(Exception):
    """A value that can't be stored, with its path, which is collected on the way back up."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
        self.path = ""  # such as "[2].price"

    def at(self, step: str) -> Unfit:
        """Add a step to the front of the path; the innermost step comes first."""
        self.path = step + self.path
        return self


class Room:
    """How many bytes a frame can still get before it is too large."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._left: float = inf if limit is None else limit

    def take(self, size: int) -> None:
        """Use up *size* bytes."""
        self._left -= size
        if self._left < 0:
            raise Unfit(f"is too large for a session, limit {self._limit} bytes")


def is_plain(value: Any, depth: int, room: Room) -> bool:
    """Return whether JSON carries *value* as it is; False only makes it take longer.

    The bytes counted against *room* are at most as many as the frame will have.
    """
    kind = type(value)
    if kind is not dict and kind is not list:
        if kind is str:
            room.take(len(value))
        elif kind is int:
            room.take(value.bit_length() >> 2)
        return kind in _ATOMS or (kind is float and isfinite(value))
    if depth > MAX_DEPTH:
        return False
    items = value
    if kind is dict:
        if not _NAMES.issuperset(map(type, value)):
            return False
        if len(value) == 1 and next(iter(value)).startswith(_TAG):
            return False
        room.take(sum(map(len, value)))
        items = value.values()
    # Each item has a character at least, and a comma or bracket before it.
    room.take(2 * len(value))
    kinds = set(map(type, items))
    if kinds <= _ATOMS:
        if str in kinds:
            room.take(sum([len(item) for item in items if type(item) is str]))
        if int in kinds:
            # A quarter of its bits is less than its digits.
            room.take(sum([item.bit_length() for item in items if type(item) is int]) >> 2)
        return True
    return all(is_plain(item, depth + 1, room) for item in items)


class Walk(Room):
    """One walk through a value, which turns it into JSON's own types.

    The walk builds no path for an error on its way down: a path for each item would cost as much
    as the longest key, once for each item.
    """

    __slots__ = ()

    def plain(self, value: object, depth: int) -> object:
        """Return *value* in JSON's own types, tagged where those lack one."""
        kind = type(value)
        if kind in _ATOMS:
            is_plain(value, depth, self)  # uses up its room
            return value
        if depth > MAX_DEPTH:
            raise Unfit(f"is nested deeper than {MAX_DEPTH} levels")
        convert = _CONVERTERS.get(kind) or _converter_of(kind)
        if convert is not None:
            return convert(self, value, depth)
        meant = proxies.value_of(value)
        if meant is not value:
            return self.plain(meant, depth)
        if hasattr(kind, "__html__"):  # not of an object that has any attribute
            return self.plain(str(cast("Any", value).__html__()), depth)
        raise _cant_be_stored(value)

    def items(self, items: Collection[object], depth: int, step: str = "[{}]") -> list[object]:
        """Return a stand-in for each of *items*; *step* shows an item's position in an error."""
        self.take(2 * len(items))
        made: list[object] = []
        try:
            for item in items:
                made.append(self.plain(item, depth + 1))  # noqa: PERF401  # the length of the list tells which item raised the error
        except Unfit as error:
            raise error.at(step.format(len(made))) from None
        return made

    def sorted_items(self, items: Collection[object], depth: int) -> list[object]:
        """Return a stand-in for each of *items*, in an order that depends on nothing else."""
        made = self.items(items, depth, " item")
        _check_hashable(made)
        # A set's own order differs between processes, and would make equal sets look changed.
        return sorted(made, key=to_json)

    def members(self, given: dict[Any, Any], depth: int) -> object:
        """Return the stand-in for a dict."""
        if _is_multi_dict(type(given)):
            raise _cant_be_stored(given)
        value = given if type(given) is dict else dict(given)
        is_named = all(isinstance(key, str) for key in value)
        if not is_named or (len(value) == 1 and next(iter(value)).startswith(_TAG)):
            return {"~dict": self._pairs(value, depth)}
        self.take(2 * len(value) + sum(map(len, value)))
        made: dict[str, object] = {}
        key = ""
        try:
            for key, item in value.items():
                name = key if type(key) is str else str.__str__(proxies.value_of(key))
                made[name] = self.plain(item, depth + 1)
        except Unfit as error:
            raise error.at(f".{key}") from None
        if len(made) != len(value):
            raise Unfit("has two keys with the same text")
        return made

    def _pairs(self, value: dict[Any, Any], depth: int) -> list[object]:
        keys = self.items(value, depth, " key")
        _check_hashable(keys)
        self.take(2 * len(value))
        made: list[object] = []
        key = None
        try:
            for key, plain_key in zip(value, keys, strict=True):
                made.append([plain_key, self.plain(value[key], depth + 1)])
        except Unfit as error:
            raise error.at(f"[{key!r}]") from None
        return made

    def bytes(self, value: bytes | bytearray, _depth: int) -> object:
        """Return the stand-in for bytes."""
        self.take(len(value))
        return {"~bytes": b64encode(value).decode()}

    def text(self, value: str, _depth: int) -> object:
        """Return the stand-in for an instance of a subclass of str."""
        self.take(len(value))
        text = str.__str__(value)
        return {"~markup": text} if hasattr(type(value), "__html__") else text

    def float(self, value: float, _depth: int) -> float:
        """Return the stand-in for a float, or an instance of a subclass."""
        if not isfinite(value):
            raise Unfit(f"is {float(value)}, which JSON lacks")
        return float(value)

    def tagged(self, tag: str, write: Callable[[Any], str], value: object) -> object:
        """Return the stand-in for a value that *write* turns into text."""
        try:
            text = write(value)
            self.take(len(text))
            # Python reads back its own types; those of a subclass may be written otherwise.
            is_kept = type(value) in _CONVERTERS or write(_RESTORERS[tag](text)) == text
        except UNREADABLE:
            is_kept = False
        if not is_kept:
            # Such as pandas' NaT, which is a datetime, and instants with nanoseconds.
            raise Unfit(f"has type {type_name(value)}, but can't be read back as it is")
        return {tag: text}


def _is_multi_dict(kind: type) -> bool:
    """Return whether a type's keys can have several values, of which a dict shows one."""
    return hasattr(kind, "getlist") or hasattr(kind, "getall")


def _cant_be_stored(value: object) -> Unfit:
    name = type_name(value)
    if _is_multi_dict(type(value)):
        return Unfit(f"has type {name}: store a dict of its lists")
    return Unfit(f"has type {name}, which can't be stored")


def type_name(value: object) -> str:
    """Return the name of a value's type, with its module: numpy's bool is no bool."""
    kind = value.__class__
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def _check_hashable(members: Collection[object]) -> None:
    """Check stand-ins for the members of a set, or the keys of a dict.

    Raises:
        Unfit: one is read back as a value without a hash, such as that of a frozen dict.
    """
    if _CONTAINERS.isdisjoint(map(type, members)):
        return
    for member in members:
        tag: str = ""
        content: Any = ()
        if isinstance(member, dict) and len(member) == 1:
            ((tag, content),) = member.items()
        if tag == "~tuple":
            _check_hashable(content)
        elif isinstance(member, (dict, list)) and tag not in _HASHABLE:
            raise Unfit("has a member of a set, or a key, that is read back without a hash")


def _iso(value: date) -> str:
    return value.isoformat()


def _number(value: Decimal) -> str:
    if value.is_snan():
        raise ValueError("a signaling NaN raises at each comparison")
    return Decimal.__str__(value)


# Order: datetime before date, because datetime is a subclass of date.
_CONVERTERS: dict[type, Callable[[Walk, Any, int], object]] = {
    dict: Walk.members,
    list: Walk.items,
    float: Walk.float,
    str: Walk.text,
    int: lambda walk, value, depth: walk.plain(int(value), depth),
    tuple: lambda walk, value, depth: {"~tuple": walk.items(value, depth)},
    set: lambda walk, value, depth: {"~set": walk.sorted_items(value, depth)},
    frozenset: lambda walk, value, depth: {"~frozenset": walk.sorted_items(value, depth)},
    datetime: lambda walk, value, _depth: walk.tagged("~datetime", _iso, value),
    date: lambda walk, value, _depth: walk.tagged("~date", _iso, value),
    Decimal: lambda walk, value, _depth: walk.tagged("~decimal", _number, value),
    UUID: lambda walk, value, _depth: walk.tagged("~uuid", UUID.__str__, value),
    bytes: Walk.bytes,
    bytearray: Walk.bytes,
}


def _converter_of(kind: type) -> Callable[[Walk, Any, int], object] | None:
    """Return the function for a subclass of a storable type; None for any other type."""
    for base, convert in _CONVERTERS.items():
        if issubclass(kind, base):
            return convert
    return None


def _markup(text: object) -> str:
    """Return text that is HTML already: as such where MarkupSafe is in use, else as plain text."""
    if not isinstance(text, str):
        raise TypeError("markup is no text")
    module = sys.modules.get("markupsafe")
    return text if module is None else module.Markup(text)


_RESTORERS: dict[str, Callable[[Any], Any]] = {
    "~tuple": tuple,
    "~set": set,
    "~frozenset": frozenset,
    "~datetime": datetime.fromisoformat,
    "~date": date.fromisoformat,
    "~decimal": Decimal,
    "~uuid": UUID,
    "~bytes": b64decode,
    "~markup": _markup,
    "~dict": dict,
}
_HASHABLE = _RESTORERS.keys() - {"~tuple", "~set", "~dict"}
#: The exceptions that a frame raises if :func:`encode` did not make it.
UNREADABLE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


def restored(value: Any) -> Any:
    """Return *value* with the value that each tagged object stands for in its place."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, content), *_ = value.items()
        if tag.startswith(_TAG):
            return _RESTORERS[tag](restored(content))
    return {key: restored(item) for key, item in value.items()}
