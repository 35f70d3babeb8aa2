"""Sessions as hashes of Redis, their values encrypted if there is a key."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from litesess import codec, ids
from litesess.crypto import Cipher, ValueCiphers
from litesess.errors import LitesessError
from litesess.stores.base import Record

logger = logging.getLogger("litesess.store")

Hash: TypeAlias = "dict[bytes, bytes]"
Fields: TypeAlias = "list[str | bytes]"

#: The fields of a record's attributes that a session may lack.
SETTINGS: Final = {"owner": "o", "cookie": "k", "client": "a"}
#: Versions begin anywhere: a session that is created again must not look as it did before.
_VERSION_BYTES: Final = 6
#: Digits of the largest one that Redis counts up.
_LONGEST_VERSION: Final = 18


class Records:
    """The converter between hashes and sessions."""

    def __init__(self, ciphers: ValueCiphers | None) -> None:
        """Encrypt with *ciphers*; None: not at all."""
        self._ciphers = ciphers

    def fields(self, key: str, record: Record, now: float, version: int | None = None) -> Fields:
        """Return the fields of a whole session, each before its value.

        Args:
            key: under which it is stored.
            record: the session.
            now: when it was used, unless it says so itself; in Unix seconds.
            version: of it; None: any that no other session has had.

        Raises:
            EncodeError: a value can't be stored.
        """
        if record.last_seen_at is None:
            record.last_seen_at = now
        if version is None:
            version = int.from_bytes(ids.random_bytes(_VERSION_BYTES), "big")
        record.version = version
        fields: Fields = [
            "c", repr(record.created_at), "e", repr(record.expires_at),
            "l", repr(record.expires_at - record.last_seen_at), "v", str(version),
            "h", self.owner_hash(record.owner),
        ]  # fmt: skip
        fields += self.values(key, record.frames)
        return fields + self.settings(key, {name: getattr(record, name) for name in SETTINGS})

    def values(self, key: str, frames: codec.Frames) -> Fields:
        """Return the fields of values."""
        fields: Fields = []
        for name, frame in frames.items():
            field = f"={name}"
            fields += field, self.encrypt(key, field, frame)
        return fields

    def settings(self, key: str, settings: Mapping[str, Any]) -> Fields:
        """Return the fields of settings that are not None, which are named as in ``SETTINGS``.

        Raises:
            EncodeError: a setting can't be stored.
        """
        fields: Fields = []
        for name, value in settings.items():
            if value is not None:
                field = SETTINGS[name]
                plain = codec.encode(dict(value) if isinstance(value, Mapping) else value, name)
                fields += field, self.encrypt(key, field, plain)
        return fields

    def encrypt(self, key: str, field: str, plain: bytes) -> bytes:
        """Return *plain* as it is stored in a session's field."""
        if self._ciphers is None:
            return plain
        return self._cipher(key).encrypt(plain, _head(key, field.encode()))

    def owner_hash(self, owner: str | None) -> str:
        """Return the name of an owner's index, in hex; "" for no owner."""
        if owner is None:
            return ""
        plain = ids.owner_hash(owner)
        return (plain if self._ciphers is None else self._ciphers.blinded(plain)[:16]).hex()

    def record(self, key: str, found: Hash) -> Record | None:
        """Return the session in a hash; None, and it is logged, if it is damaged.

        A value that was tampered with is damaged, too.
        """
        try:
            created_at, expires_at = _time(found, b"c"), _time(found, b"e")
            last_seen_at = expires_at - _time(found, b"l")
            frames = {
                name[1:].decode(): self._decrypt(key, name, value)
                for name, value in found.items()
                if name[:1] == b"="
            }
            owner, cookie, client = (
                codec.decode(self._decrypt(key, name, found[name])) if name in found else None
                for name in (b"o", b"k", b"a")
            )
            if not all(isinstance(each, dict) for each in (cookie, client) if each is not None):
                raise ValueError("no settings in its fields k and a")
            return Record(
                codec.Encoded(frames),
                created_at,
                expires_at,
                cookie,
                owner,
                _version(found, b"v"),
                client,
                # Also if it never ends: the difference is then no number.
                last_seen_at if last_seen_at > created_at else created_at,
            )
        except (ValueError, LitesessError) as error:
            logger.error(  # noqa: TRY400  # a traceback can show the session's values
                "session %s is damaged, treated as absent: %s", ids.handle_of(key), error
            )
            return None

    def _decrypt(self, key: str, field: bytes, stored: bytes) -> bytes:
        if self._ciphers is None:
            return stored
        return self._cipher(key).decrypt(stored, _head(key, field))

    def _cipher(self, key: str) -> Cipher:
        assert self._ciphers is not None
        return self._ciphers[int(key[:2], 16)]


def _head(key: str, field: bytes) -> bytes:
    """Return the context of an encrypted value: it can't be moved to another session or name."""
    return bytes.fromhex(key) + field


def number(text: bytes | None) -> float | None:
    """Return a stored time; None if it is no time, which litesess did not write."""
    try:
        found = float(text or b"")
    except ValueError:
        return None
    # Python reads an underscore between digits, and Lua does not.
    return None if math.isnan(found) or b"_" in (text or b"") else found


def is_sound(found: Hash) -> bool:
    """Return whether a session's times and version can be read."""
    try:
        for field in b"c", b"e", b"l":
            _time(found, field)
        _version(found, b"v")
    except ValueError:
        return False
    return True


def _time(found: Hash, field: bytes) -> float:
    time = number(found.get(field))
    if time is None:
        raise ValueError(f"no time in its field {field.decode()}")
    return time


def _version(found: Hash, field: bytes) -> int:
    text = found.get(field, b"")
    if not text.isdigit() or len(text) > _LONGEST_VERSION:
        raise ValueError(f"no number in its field {field.decode()}")
    return int(text)


def flat(answer: list[bytes]) -> Hash:
    """Return a script's answer as a hash."""
    return dict(zip(answer[::2], answer[1::2], strict=True))
