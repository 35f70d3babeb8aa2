"""Session data as bytes: one frame per top-level key, so that merging decodes nothing.

A frame is a value as typed JSON (:mod:`litesess.codec.tagged`), in UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from litesess.codec import proxies, tagged
from litesess.errors import EncodeError

Frames: TypeAlias = "dict[str, bytes]"

MAX_KEY_BYTES = 0xFFFF

#: Values of these types can't change in place, and JSON carries them as they are.
IMMUTABLE = frozenset({str, int, float, bool, type(None)})

_TAGGED = b'{"~'
_scan = json.JSONDecoder().raw_decode


def encode(value: object, key_path: str, limit: int | None = None) -> bytes:
    """Return *value* as a frame.

    The work is linear in the size of the frame, and ends soon after *limit*.

    Args:
        value: anything made of JSON's types, datetime, date, Decimal, UUID, bytes, tuple, set;
            proxies and lazy texts are stored as the values that they stand for.
        key_path: where the value lies, for the error.
        limit: largest frame, in bytes; None: any size.

    Raises:
        EncodeError: the value, or one inside it, can't be read back as it is, or the frame would
            be larger than *limit*.
    """
    try:
        # A counter is an int: skip the encoder, which Python would make anew for each value.
        if type(value) is int:
            return b"%d" % value
        # The quick look has used up some of its room, so the walk gets a new one.
        is_plain = tagged.is_plain(value, 1, tagged.Room(limit))
        frame = tagged.to_json(value if is_plain else tagged.Walk(limit).plain(value, 1))
        if limit is not None and len(frame) > limit:
            raise tagged.Unfit(f"has {len(frame)} bytes, limit {limit}")
        return frame.encode()
    except tagged.Unfit as error:
        reason, path = error.reason, error.path
    except UnicodeEncodeError:
        # Source: RFC 8259 section 8.2: a lone surrogate has no interoperable form.
        reason, path = "has a lone surrogate, which is no Unicode text", ""
    except ValueError:  # an int of more digits than sys.set_int_max_str_digits allows
        reason, path = "can't be encoded: an int has too many digits", ""
    # Raise outside of the handlers: a chained exception can show the value.
    raise EncodeError(f"{key_path}{path}", reason)


def decode(frame: bytes) -> Any:
    """Return the value that *frame* holds, as new objects.

    Raises:
        ValueError: *frame* was not made by :func:`encode`.
    """
    # The scan costs less than an object hook, which Python would call for every object.
    try:
        text = frame.decode()
        value, end = _scan(text)
        if end != len(text):
            raise ValueError("a frame goes on after its value")
        return tagged.restored(value) if _TAGGED in frame else value
    except tagged.UNREADABLE:
        pass
    # Raise outside of the handler: Python's error for a value that it can't parse can show it.
    raise ValueError("a frame is not litesess's JSON, too deep, or has an unknown or malformed tag")


def decode_all(frames: Frames) -> dict[str, Any]:
    """Return the value of each frame, as new objects.

    Raises:
        ValueError: one was not made by :func:`encode`.
    """
    # Decode one list: to start the decoder takes longer than to decode most values.
    values = decode(b"[%b]" % b",".join(frames.values()))
    if len(values) != len(frames):
        raise ValueError("a frame holds several values")
    return dict(zip(frames, values, strict=True))


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
    if type(key) is not str:
        name = proxies.value_of(key)
        if not issubclass(type(name), str):
            raise EncodeError(
                ascii(key)[:80], f"has a key of type {tagged.type_name(key)}, not str"
            )
        key = str.__str__(name)
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise EncodeError(ascii(key)[:80], "has a key with a lone surrogate") from None
    if size > MAX_KEY_BYTES:
        raise EncodeError(ascii(key)[:80], f"has a key of {size} bytes, limit {MAX_KEY_BYTES}")
    return key


class Encoded(Mapping[str, Any]):
    """Session items that are encoded already.

    litesess's own stores take the frames; a store of another project takes the decoded values.
    """

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
