"""Sessions as bytes: how a store that keeps bytes by key writes and reads a session.

A packed session (little-endian; drawn in docs/format.rst, "Session")::

    created_at f64 | life f64 | owner u16 | cookie u16 | client u16 | owner, cookie, client
    then for each key:  key size u16 | frame size u32 | key | frame

A forwarding record, which a rotation leaves under the session's former key, has the same head.  In
place of the owner it has ``>`` and the new key; ``|`` in place of ``>`` if no late changes follow.
It was created when the session was moved.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from litesess import codec, ids
from litesess.errors import EncodeError
from litesess.stores.base import LATE_FOR, Record

if TYPE_CHECKING:
    from litesess.engine import Entry

logger = logging.getLogger("litesess.store")

_HEAD = struct.Struct("<ddHHH")  # created_at, life f64; sizes u16 of owner, cookie, client
_TIMES = struct.Struct("<dd")  # those at its beginning
_ITEM = struct.Struct("<HI")  # key size u16, frame size u32
_OWNER = b"+"
_FOLLOWED, _CLOSED = _FORWARDS = b">|"

#: The bytes that were unpacked last, their values, and the places of those; all three stay as they
#: are.  A request that writes unpacks its session twice: to load it and to merge into it.
_last: tuple[bytes, codec.Frames, dict[str, int]] = b"", {}, {}


class Forward(NamedTuple):
    """A forwarding record.

    Attributes:
        key: the key that the session was moved to.
        takes_changes: whether late changes under the former key are made to the session; late
            deletions always are.
        moved_at: when it was moved, in Unix seconds.
    """

    key: str
    takes_changes: bool
    moved_at: float

    def takes_changes_at(self, now: float) -> bool:
        """Return whether a change that comes at *now*, in Unix seconds, is made to the session."""
        return self.takes_changes and now < self.moved_at + LATE_FOR


def pack(
    created_at: float,
    life: float,
    owner: str | None,
    cookie: Mapping[str, Any] | None,
    client: Mapping[str, Any] | None,
    frames: codec.Frames,
) -> bytes:
    """Return a session's parts as bytes.

    Args:
        created_at: when it began, in Unix seconds.
        life: how long it lives without a request, in seconds.
        owner: the session's owner, if it has one.
        cookie: its own cookie settings, if it has any.
        client: the browser that it belongs to, as far as known.
        frames: its values.

    Raises:
        EncodeError: the owner, the cookie settings or the client needs more than 65 535 bytes.
    """
    try:
        owner_bytes = b"" if owner is None else _OWNER + owner.encode()
    except UnicodeEncodeError:
        raise EncodeError("owner", "has a lone surrogate, which is no Unicode text") from None
    cookie_bytes = codec.encode(dict(cookie), "cookie") if cookie else b""
    client_bytes = codec.encode(dict(client), "client") if client else b""
    for name, part in ("owner", owner_bytes), ("cookie", cookie_bytes), ("client", client_bytes):
        if len(part) > 0xFFFF:
            raise EncodeError(name, f"has {len(part)} bytes, limit {0xFFFF}")
    head = _HEAD.pack(created_at, life, len(owner_bytes), len(cookie_bytes), len(client_bytes))
    parts = [head, owner_bytes, cookie_bytes, client_bytes]
    sizes = _ITEM.pack
    for key, frame in frames.items():
        key_bytes = key.encode()
        parts += (sizes(len(key_bytes), len(frame)), key_bytes, frame)
    return b"".join(parts)


def splice(
    packed: bytes,
    created_at: float,
    life: float,
    frames: codec.Frames,
    removed: Collection[str],
) -> bytes:
    """Return a packed session with some values changed, as :func:`pack` would pack it.

    This costs little for values that stay, however many there are.

    Args:
        packed: the session as it was.
        created_at: see :func:`pack`.
        life: see :func:`pack`.
        frames: the new values.
        removed: the keys to take out, before the new values are put in.
    """
    last, _, places = _last
    if last is not packed:  # another thread has unpacked another one meanwhile
        _, places = _parse(packed, _HEAD.size + sum(_HEAD.unpack_from(packed)[2:]))
    edits = {places[key]: b"" for key in removed if key in places}
    added = []
    for key, frame in frames.items():
        key_bytes = key.encode()
        item = _ITEM.pack(len(key_bytes), len(frame)) + key_bytes + frame
        place = places.get(key)
        if place is None or place in edits:
            added.append(item)
        else:
            edits[place] = item
    parts, kept = [_TIMES.pack(created_at, life)], _TIMES.size
    for place in sorted(edits):
        key_size, frame_size = _ITEM.unpack_from(packed, place)
        parts += (packed[kept:place], edits[place])
        kept = place + _ITEM.size + key_size + frame_size
    return b"".join([*parts, packed[kept:], *added])


def pack_forward(forward: Forward) -> bytes:
    """Return a forwarding record as bytes."""
    text = bytes([_FOLLOWED if forward.takes_changes else _CLOSED]) + forward.key.encode()
    return _HEAD.pack(forward.moved_at, 0.0, len(text), 0, 0) + text


def is_forward(packed: bytes) -> bool:
    """Return whether *packed* is a forwarding record; this costs less than to unpack it."""
    at = _HEAD.size
    return len(packed) > at and packed[at] in _FORWARDS and _HEAD.unpack_from(packed)[2] > 0


def began_at(packed: bytes) -> float | None:
    """Return the creation time of a session, in Unix seconds; None for a forwarding record."""
    if len(packed) < _HEAD.size or is_forward(packed):
        return None
    return float(_HEAD.unpack_from(packed)[0])


def last_use(packed: bytes, expires_at: float) -> float | None:
    """Return the time of a session's last use, in Unix seconds; None for a forwarding record."""
    if len(packed) < _HEAD.size or is_forward(packed):
        return None
    created_at, life, *_ = _HEAD.unpack_from(packed)
    return float(max(created_at, expires_at - life))


def unpack(key: bytes, entry: Entry) -> Record | Forward | None:
    """Return the session, or the forwarding record, in an entry; its values stay encoded.

    Args:
        key: of the entry, for the log.
        entry: one with a value that :func:`pack` or :func:`pack_forward` has made; another one is
            logged, and counts for none.
    """
    packed, expires_at = entry.value, entry.expires_at
    owner = cookie = client = None
    try:
        created_at, life, owner_size, cookie_size, client_size = _HEAD.unpack_from(packed)
        at = _HEAD.size
        if owner_size:
            owner = packed[at + 1 : at + owner_size].decode()
            if packed[at] in _FORWARDS:
                return Forward(owner, packed[at] == _FOLLOWED, created_at)
            at += owner_size
        if cookie_size:
            cookie = _object(packed[at : at + cookie_size])
            at += cookie_size
        if client_size:
            client = _object(packed[at : at + client_size])
            at += client_size
        last, frames, _ = _last
        # By identity, which costs nothing: an engine returns the same bytes again as long as they
        # are what it has read last.
        if last is not packed:
            frames, _ = _parse(packed, at)
    except (struct.error, IndexError, ValueError):
        # Its checksum is good, so nothing rotted; it must not turn every request into an error.
        handle = ids.handle_of(key.hex())
        logger.exception("session %s can't be decoded, treated as absent", handle)
        return None
    # A touch moves the expiry alone, and so the last use, which is *life* before it.
    # Without an end this is nan, and max() drops nan if it comes second.
    last_seen_at = max(created_at, expires_at - life)
    return Record(
        codec.Encoded(frames.copy()),
        created_at,
        expires_at,
        cookie,
        owner,
        entry.version,
        client,
        last_seen_at,
    )


def _parse(packed: bytes, at: int) -> tuple[codec.Frames, dict[str, int]]:
    """Return the values of a session from *at* on, and their places; both stay as they are."""
    global _last  # noqa: PLW0603  # a cache of one session for all threads, replaced in one step
    end = len(packed)
    frames: codec.Frames = {}
    places: dict[str, int] = {}
    sizes_at, sizes_size = _ITEM.unpack_from, _ITEM.size
    while at < end:
        key_size, frame_size = sizes_at(packed, at)
        key_at = at + sizes_size
        frame_at = key_at + key_size
        key = packed[key_at:frame_at].decode()
        places[key] = at
        at = frame_at + frame_size
        frames[key] = packed[frame_at:at]
    if at != end:
        raise ValueError("a packed session is cut short")
    _last = packed, frames, places
    return frames, places


def _object(frame: bytes) -> dict[str, Any]:
    found = codec.decode(frame)
    if type(found) is not dict:
        raise ValueError("a packed session's cookie settings, or its client, are no object")
    return found
