"""Session data as bytes: typed JSON, one frame per top-level key, so that merging decodes nothing.

A value is JSON (RFC 8259, UTF-8).  What JSON lacks is an object with one tagged member::

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
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from math import inf, isfinite
from typing import Any, TypeAlias
from uuid import UUID

from litesess.errors import EncodeError

Frames: TypeAlias = "dict[str, bytes]"

MAX_DEPTH = 32
MAX_KEY_BYTES = 0xFFFF

_TAG = "~"
_TAG_BYTES = b'{"~'

# What contains itself is nested too deeply, which is looked for anyway.
_JSON: dict[str, Any] = {
    "ensure_ascii": False, "allow_nan": False, "check_circular": False, "separators": (",", ":"),
}  # fmt: skip
_encode = json.JSONEncoder(**_JSON).encode
_encode_sorted = json.JSONEncoder(**_JSON, sort_keys=True).encode
_scan = json.JSONDecoder().raw_decode

#: Values of these types can't change in place, and JSON carries them as they are.
IMMUTABLE = frozenset({str, int, float, bool, type(None)})
_ATOMS = frozenset({str, int, bool, type(None)})
_NAMES = frozenset({str})


def encode(value: object, key_path: str, limit: int | None = None) -> bytes:
    """Return *value* as a frame.

    The work is linear in the size of the frame, and ends soon after *limit*.

    Args:
        value: anything made of JSON's types, datetime, date, Decimal, UUID, bytes, tuple, set.
        key_path: where the value lies, for the error.
        limit: largest frame, in bytes; None: any size.

    Raises:
        EncodeError: the value, or one inside it, can't be read back as it is, or the frame would
            be larger than *limit*.
    """
    try:
        # What counters are made of, without the encoder that would be made for each.
        if type(value) is int:
            return b"%d" % value
        # The quick look has used up some of its room, so the walk gets a new one.
        is_plain = _is_plain(value, 1, _Room(limit))
        frame = _encode(value if is_plain else _Walk(limit).plain(value, 1))
        if limit is not None and len(frame) > limit:
            raise _Unfit(f"has {len(frame)} bytes, limit {limit}")
        return frame.encode()
    except _Unfit as error:
        reason, path = error.reason, error.path
    except UnicodeEncodeError:
        # Source: RFC 8259 section 8.2: a lone surrogate has no interoperable form.
        reason, path = "has a lone surrogate, which is no Unicode text", ""
    except ValueError:  # an int of more digits than sys.set_int_max_str_digits allows
        reason, path = "can't be encoded: an int has too many digits", ""
    # Outside of the handlers: a chained exception may show the value.
    raise EncodeError(f"{key_path}{path}", reason)


def decode(frame: bytes) -> Any:
    """Return the value that *frame* holds, as new objects.

    Raises:
        ValueError: *frame* was not made by :func:`encode`.
    """
    # The scan costs less than an object hook, which Python would call for every object.
    try:
        value = _decode(frame.decode())
        return _restore(value) if _TAG_BYTES in frame else value
    except _UNREADABLE:
        pass
    # Outside of the handler: Python's error for a value that it can't parse may show the value.
    raise ValueError("a frame is no JSON of ours, too deep, or has an unknown or malformed tag")


def decode_all(frames: Frames) -> dict[str, Any]:
    """Return the value of each frame, as new objects.

    Raises:
        ValueError: one was not made by :func:`encode`.
    """
    # One list: to begin takes the decoder longer than most values.
    values = decode(b"[%b]" % b",".join(frames.values()))
    if len(values) != len(frames):
        raise ValueError("a frame holds several values")
    return dict(zip(frames, values, strict=True))


def same_content(first: bytes, second: bytes) -> bool:
    """Return whether two frames hold equal values; the order in a dict does not count.

    A frame that can't be decoded equals itself alone.
    """
    if first == second:
        return True
    # Only dicts and tagged values have parts in any order, and order never changes the length.
    if b"{" not in first or len(first) != len(second):
        return False
    try:
        return _canonical(first) == _canonical(second)
    except _UNREADABLE:
        return False


def encode_items(items: Mapping[str, Any]) -> Frames:
    """Return each value of *items* as a frame; those of :class:`Encoded` items as they are.

    Raises:
        EncodeError: a key or a value can't be stored.
    """
    if isinstance(items, Encoded):
        return items.frames
    return {check_key(key): encode(value, key) for key, value in items.items()}


def check_key(key: object) -> str:
    """Return *key* if it can name a session value.

    Raises:
        EncodeError: it is not a str, or its UTF-8 form is longer than ``MAX_KEY_BYTES``.
    """
    if not isinstance(key, str):
        raise EncodeError(ascii(key)[:80], f"has a key of type {type(key).__name__}, not str")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise EncodeError(ascii(key)[:80], "has a key with a lone surrogate") from None
    if size > MAX_KEY_BYTES:
        raise EncodeError(ascii(key)[:80], f"has a key of {size} bytes, limit {MAX_KEY_BYTES}")
    return key


class Encoded(Mapping[str, Any]):
    """Session items that are encoded already: stores of ours take the frames, others the values."""

    __slots__ = ("frames",)

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def __getitem__(self, key: str) -> Any:
        return decode(self.frames[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self.frames)} items>"


def _decode(text: str) -> Any:
    """Return the value of JSON that has no spaces around it."""
    value, end = _scan(text)
    if end != len(text):
        raise ValueError("a frame goes on after its value")
    return value


class _Unfit(Exception):
    """A value that can't be stored, and the way to it, which is noted on the way back."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
        self.path = ""  # such as "[2].price"

    def at(self, step: str) -> _Unfit:
        """Note one more step of the way, the innermost first."""
        self.path = step + self.path
        return self


class _Room:
    """How many bytes a frame can still get before it is too large."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._left: float = inf if limit is None else limit

    def take(self, size: int) -> None:
        """Use up *size* bytes."""
        self._left -= size
        if self._left < 0:
            raise _Unfit(f"is too large for a session, limit {self._limit} bytes")


def _is_plain(value: Any, depth: int, room: _Room) -> bool:
    """Return whether JSON carries *value* as it is; False only makes it take longer.

    What is counted against *room* is at most what the frame will have.
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
    return all(_is_plain(item, depth + 1, room) for item in items)


class _Walk(_Room):
    """One walk through a value, which turns it into JSON's own types.

    Nothing is built for an error on the way there: a path for each item would cost as much as the
    longest key, once for each item.
    """

    __slots__ = ()

    def plain(self, value: object, depth: int) -> object:
        """Return *value* in JSON's own types, tagged where those lack one."""
        kind = type(value)
        if kind in _ATOMS:
            _is_plain(value, depth, self)  # uses up its room
            return value
        if depth > MAX_DEPTH:
            raise _Unfit(f"is nested deeper than {MAX_DEPTH} levels")
        for base, convert in _CONVERTERS:
            if isinstance(value, base):
                return convert(self, value, depth)
        if callable(getattr(value, "__html__", None)):
            return self._shown(value)
        raise _Unfit(f"has type {kind.__name__}, which can't be stored")

    def items(self, items: Collection[object], depth: int, step: str = "[{}]") -> list[object]:
        """Return a stand-in for each of *items*; *step* shows an item's position in an error."""
        self.take(2 * len(items))
        made: list[object] = []
        try:
            for item in items:
                made.append(self.plain(item, depth + 1))  # noqa: PERF401  # the error needs it
        except _Unfit as error:
            raise error.at(step.format(len(made))) from None
        return made

    def sorted_items(self, items: Collection[object], depth: int) -> list[object]:
        """Return a stand-in for each of *items*, in an order that depends on nothing else."""
        # A set's own order differs between processes, and would make equal sets look changed.
        return sorted(self.items(items, depth, " item"), key=_encode_sorted)

    def members(self, given: dict[Any, Any], depth: int) -> object:
        """Return the stand-in for a dict."""
        value = given if type(given) is dict else dict(given)
        is_named = all(isinstance(key, str) for key in value)
        if not is_named or (len(value) == 1 and next(iter(value)).startswith(_TAG)):
            return {"~dict": self._pairs(value, depth)}
        self.take(2 * len(value) + sum(map(len, value)))
        made: dict[str, object] = {}
        key = ""
        try:
            for key, item in value.items():
                made[key] = self.plain(item, depth + 1)
        except _Unfit as error:
            raise error.at(f".{key}") from None
        return made

    def _pairs(self, value: dict[Any, Any], depth: int) -> list[object]:
        keys = self.items(value, depth, " key")
        self.take(2 * len(value))
        made: list[object] = []
        key = None
        try:
            for key, plain_key in zip(value, keys, strict=True):
                made.append([plain_key, self.plain(value[key], depth + 1)])
        except _Unfit as error:
            raise error.at(f"[{key!r}]") from None
        return made

    def bytes(self, value: bytes | bytearray, _depth: int) -> object:
        """Return the stand-in for bytes."""
        self.take(len(value))
        return {"~bytes": b64encode(value).decode()}

    def text(self, value: str, _depth: int) -> object:
        """Return the stand-in for an instance of a subclass of str."""
        self.take(len(value))
        plain = str.__str__(value)
        return {"~markup": plain} if hasattr(type(value), "__html__") else plain

    def _shown(self, value: Any) -> str:
        """Return the text of a value that a page shows as such: a lazy translation, for example."""
        text = str(value.__html__())
        self.take(len(text))
        return text

    def float(self, value: float, _depth: int) -> float:
        """Return the stand-in for a float, or an instance of a subclass."""
        if not isfinite(value):
            raise _Unfit(f"is {float(value)}, which JSON lacks")
        return float(value)

    def tagged(self, tag: str, text: str) -> object:
        """Return the stand-in for a value that is written as *text*."""
        self.take(len(text))
        return {tag: text}


# Order: datetime before date, whose subclass it is.
_CONVERTERS: tuple[tuple[type | tuple[type, ...], Callable[[_Walk, Any, int], object]], ...] = (
    (dict, _Walk.members),
    (list, _Walk.items),
    (float, _Walk.float),
    (str, _Walk.text),
    (int, lambda _walk, value, _depth: int(value)),
    (tuple, lambda walk, value, depth: {"~tuple": walk.items(value, depth)}),
    (set, lambda walk, value, depth: {"~set": walk.sorted_items(value, depth)}),
    (frozenset, lambda walk, value, depth: {"~frozenset": walk.sorted_items(value, depth)}),
    (datetime, lambda walk, value, _depth: walk.tagged("~datetime", value.isoformat())),
    (date, lambda walk, value, _depth: walk.tagged("~date", value.isoformat())),
    (Decimal, lambda walk, value, _depth: walk.tagged("~decimal", str(value))),
    (UUID, lambda walk, value, _depth: walk.tagged("~uuid", str(value))),
    ((bytes, bytearray), _Walk.bytes),
)


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
#: What is raised for a frame that :func:`encode` did not make.
_UNREADABLE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


def _restore(value: Any) -> Any:
    """Return *value* with each tagged object turned into what it stands for."""
    if isinstance(value, list):
        return [_restore(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, content), *_ = value.items()
        if tag.startswith(_TAG):
            return _RESTORERS[tag](_restore(content))
    return {key: _restore(item) for key, item in value.items()}


def _canonical(frame: bytes) -> str:
    value = _decode(frame.decode())
    return _encode_sorted(_sort_pairs(value) if b'{"~dict"' in frame else value)


def _sort_pairs(value: Any) -> Any:
    """Return *value* with the pairs of each tagged dict in one order."""
    if isinstance(value, list):
        return [_sort_pairs(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: sorted(_sort_pairs(item), key=_encode_sorted) if key == "~dict" else _sort_pairs(item)
        for key, item in value.items()
    }
