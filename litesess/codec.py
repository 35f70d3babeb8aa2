"""Session data as bytes: typed JSON, one frame per top-level key, so that merging decodes nothing.

A value is JSON (RFC 8259, UTF-8).  What JSON lacks is an object with one tagged member::

    {"~datetime": "2026-01-31T10:00:00+01:00"}   {"~date": "2026-01-31"}   {"~decimal": "1.50"}
    {"~uuid": "..."}   {"~bytes": "<base64>"}   {"~tuple": [...]}   {"~set": [...]}
    {"~frozenset": [...]}
    {"~dict": [[key, value], ...]}               a dict with keys that are not all str,
                                                 or one that looks like a tagged object

A packed session (little-endian; drawn in docs/format.rst, "Session")::

    created_at f64 | life f64 | owner u16 | cookie u16 | client u16 | owner, cookie, client
    then for each key:  key size u16 | frame size u32 | key | frame
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from litesess.errors import EncodeError

Frames: TypeAlias = "dict[str, bytes]"

MAX_DEPTH = 32
MAX_KEY_BYTES = 0xFFFF

_TAG = "~"
_TAG_BYTES = b'{"~'
_SESSION = struct.Struct("<ddHHH")  # created_at, life f64; sizes u16 of owner, cookie, client
_MOVED, _CLOSED = _MARKS = b">|"
_ITEM = struct.Struct("<HI")  # key size u16, frame size u32

# What contains itself is nested too deeply, which is looked for anyway.
_JSON: dict[str, Any] = {
    "ensure_ascii": False,
    "allow_nan": False,
    "check_circular": False,
    "separators": (",", ":"),
}
_encode = json.JSONEncoder(**_JSON).encode
_encode_sorted = json.JSONEncoder(**_JSON, sort_keys=True).encode
_scan = json.JSONDecoder().raw_decode

#: Values of these types can't change in place, and JSON carries them as they are.
IMMUTABLE = frozenset({str, int, float, bool, type(None)})
_ATOMS = frozenset({str, int, bool, type(None)})
_NAMES = frozenset({str})


def encode(value: object, key_path: str) -> bytes:
    """Return *value* as a frame.

    Args:
        value: anything made of JSON's types, datetime, date, Decimal, UUID, bytes, tuple, set.
        key_path: where the value lies, for the error.

    Raises:
        EncodeError: the value, or one inside it, can't be read back as it is.
    """
    try:
        # What counters are made of, without the encoder that would be made for each.
        if type(value) is int:
            return b"%d" % value
        if type(value) in _ATOMS or _is_plain(value, 1):
            return _encode(value).encode()
        return _encode(_plain(value, key_path, 1)).encode()
    except UnicodeEncodeError:
        # Source: RFC 8259 section 8.2: a lone surrogate has no interoperable form.
        raise EncodeError(key_path, "has a lone surrogate, which is no Unicode text") from None
    except ValueError as error:  # an int of more digits than sys.set_int_max_str_digits allows
        raise EncodeError(key_path, f"can't be encoded: {error}") from error


def decode(frame: bytes) -> Any:
    """Return the value that *frame* holds, as new objects.

    Raises:
        ValueError: *frame* was not made by :func:`encode`.
    """
    try:
        value = _decode(frame.decode())
    except RecursionError as error:
        raise ValueError("a frame is nested too deeply") from error
    # The scan costs less than an object hook, which Python would call for every object.
    return _restore(value) if _TAG_BYTES in frame else value


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
    """Say whether two frames hold equal values; the order in a dict does not count."""
    if first == second:
        return True
    if b"{" not in first:  # only dicts, and what is tagged, have parts in any order
        return False
    # Order alone never changes the length.
    return len(first) == len(second) and _canonical(first) == _canonical(second)


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
        raise EncodeError(repr(key)[:80], f"has a key of type {type(key).__name__}, not str")
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


class Packed(NamedTuple):
    """What a packed session holds."""

    created_at: float
    #: How long it was to live without a request, when it was written, in seconds.
    life: float
    owner: str | None
    cookie: Mapping[str, Any] | None
    client: Mapping[str, Any] | None
    frames: Frames
    #: The key that the session was moved to; what else is here means nothing then.
    moved_to: str | None = None
    #: What is changed under the old key is done to the moved session.
    takes_changes: bool = True


def pack(
    created_at: float,
    life: float,
    owner: str | None,
    cookie: Mapping[str, Any] | None,
    client: Mapping[str, Any] | None,
    frames: Frames,
) -> bytes:
    """Return a session's parts as the bytes a store keeps.

    Raises:
        EncodeError: the owner, the cookie settings or what is known of the client is too long.
    """
    try:
        owner_bytes = b"" if owner is None else b"+" + owner.encode()
    except UnicodeEncodeError:
        raise EncodeError("owner", "has a lone surrogate, which is no Unicode text") from None
    cookie_bytes = encode(dict(cookie), "cookie") if cookie else b""
    client_bytes = encode(dict(client), "client") if client else b""
    for name, part in ("owner", owner_bytes), ("cookie", cookie_bytes), ("client", client_bytes):
        if len(part) > 0xFFFF:
            raise EncodeError(name, f"has {len(part)} bytes, limit {0xFFFF}")
    head = _SESSION.pack(created_at, life, len(owner_bytes), len(cookie_bytes), len(client_bytes))
    parts = [head, owner_bytes, cookie_bytes, client_bytes]
    sizes = _ITEM.pack
    for key, frame in frames.items():
        key_bytes = key.encode()
        parts += (sizes(len(key_bytes), len(frame)), key_bytes, frame)
    return b"".join(parts)


def pack_moved(key: str, *, takes_changes: bool) -> bytes:
    """Return what a store keeps under the old key of a session that was moved to *key*."""
    mark = bytes([_MOVED if takes_changes else _CLOSED]) + key.encode()
    return _SESSION.pack(0.0, 0.0, len(mark), 0, 0) + mark


def is_moved(packed: bytes) -> bool:
    """Say whether it is what :func:`pack_moved` makes."""
    at = _SESSION.size
    return len(packed) > at and packed[at] in _MARKS and _SESSION.unpack_from(packed)[2] > 0


def unpack(packed: bytes) -> Packed:
    """Return the parts of a packed session; its values stay encoded.

    Raises:
        ValueError: *packed* was not made by :func:`pack`.
    """
    owner = moved_to = None
    takes_changes = True
    try:
        created_at, life, owner_size, cookie_size, client_size = _SESSION.unpack_from(packed)
        at = _SESSION.size
        if owner_size:
            text = packed[at + 1 : at + owner_size].decode()
            is_mark = packed[at] in _MARKS
            owner, moved_to = (None, text) if is_mark else (text, None)
            takes_changes = packed[at] != _CLOSED
        at += owner_size
        cookie = _object(packed[at : at + cookie_size]) if cookie_size else None
        at += cookie_size
        client = _object(packed[at : at + client_size]) if client_size else None
        at += client_size
        end = len(packed)
        frames = {}
        sizes_at, sizes_size = _ITEM.unpack_from, _ITEM.size
        while at < end:
            key_size, frame_size = sizes_at(packed, at)
            key_at = at + sizes_size
            frame_at = key_at + key_size
            at = frame_at + frame_size
            frames[packed[key_at:frame_at].decode()] = packed[frame_at:at]
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("a packed session is cut short") from error
    if at != end:
        raise ValueError("a packed session is cut short")
    return Packed(created_at, life, owner, cookie, client, frames, moved_to, takes_changes)


def _object(frame: bytes) -> dict[str, Any]:
    found = decode(frame)
    if type(found) is not dict:
        raise ValueError("a packed session's cookie settings, or its client, are no object")
    return found


def _decode(text: str) -> Any:
    """Return what JSON without spaces says."""
    value, end = _scan(text)
    if end != len(text):
        raise ValueError("a frame goes on behind its value")
    return value


def _is_plain(value: Any, depth: int) -> bool:
    """Say whether JSON carries *value* as it is; False only makes it take longer."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return kind in _ATOMS or (kind is float and isfinite(value))
    if depth > MAX_DEPTH:
        return False
    items = value
    if kind is dict:
        if not _NAMES.issuperset(map(type, value)):
            return False
        if len(value) == 1 and next(iter(value)).startswith(_TAG):
            return False
        items = value.values()
    return _ATOMS.issuperset(map(type, items)) or all(_is_plain(item, depth + 1) for item in items)


def _plain(value: object, path: str, depth: int) -> object:
    """Return *value* in JSON's own types, tagged where those lack one; unchanged if it has none."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if depth > MAX_DEPTH:
        raise EncodeError(path, f"is nested deeper than {MAX_DEPTH} levels")
    if type(value) is dict:
        return _plain_dict(value, path, depth)
    if type(value) is list:
        return _plain_items(value, path, depth)
    for base, convert in _CONVERTERS:
        if isinstance(value, base):
            return convert(value, path, depth)
    raise EncodeError(path, f"has type {kind.__name__}, which can't be stored")


def _plain_dict(value: dict[Any, Any], path: str, depth: int) -> object:
    for key in value:
        if not isinstance(key, str):
            break
    else:
        tagged = len(value) == 1 and next(iter(value)).startswith(_TAG)
        if not tagged:
            return {key: _plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    return {
        "~dict": [
            [_plain(key, f"{path} key", depth + 1), _plain(item, f"{path}[{key!r}]", depth + 1)]
            for key, item in value.items()
        ]
    }


def _plain_float(value: float, path: str, _depth: int) -> float:
    if not isfinite(value):
        raise EncodeError(path, f"is {value}, which JSON lacks")
    return float(value)


def _plain_items(items: Iterable[object], path: str, depth: int) -> list[object]:
    return [_plain(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(items)]


def _sorted_items(items: Iterable[object], path: str, depth: int) -> list[object]:
    # A set's own order differs between processes, and would make equal sets look changed.
    return sorted((_plain(item, f"{path} item", depth + 1) for item in items), key=_encode_sorted)


# Order: datetime before date, whose subclass it is.
_CONVERTERS: tuple[tuple[type | tuple[type, ...], Callable[[Any, str, int], object]], ...] = (
    (float, _plain_float),
    (str, lambda value, _path, _depth: str.__str__(value)),
    (int, lambda value, _path, _depth: int(value)),
    (dict, lambda value, path, depth: _plain_dict(dict(value), path, depth)),
    (list, _plain_items),
    (tuple, lambda value, path, depth: {"~tuple": _plain_items(value, path, depth)}),
    (set, lambda value, path, depth: {"~set": _sorted_items(value, path, depth)}),
    (frozenset, lambda value, path, depth: {"~frozenset": _sorted_items(value, path, depth)}),
    (datetime, lambda value, _path, _depth: {"~datetime": value.isoformat()}),
    (date, lambda value, _path, _depth: {"~date": value.isoformat()}),
    (Decimal, lambda value, _path, _depth: {"~decimal": str(value)}),
    (UUID, lambda value, _path, _depth: {"~uuid": str(value)}),
    ((bytes, bytearray), lambda value, _path, _depth: {"~bytes": b64encode(value).decode()}),
)

_RESTORERS: dict[str, Callable[[Any], Any]] = {
    "~tuple": tuple,
    "~set": set,
    "~frozenset": frozenset,
    "~datetime": datetime.fromisoformat,
    "~date": date.fromisoformat,
    "~decimal": Decimal,
    "~uuid": UUID,
    "~bytes": b64decode,
    "~dict": dict,
}


def _restore(value: Any) -> Any:
    """Return *value* with each tagged object turned into what it stands for."""
    if isinstance(value, list):
        return [_restore(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, content), *_ = value.items()
        if tag.startswith(_TAG):
            try:
                return _RESTORERS[tag](_restore(content))
            except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
                raise ValueError("a frame holds an unknown or malformed tag") from error
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
