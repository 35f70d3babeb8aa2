"""Sessions as hashes of Redis, their values sealed if there is a key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

from litesess import codec, ids
from litesess.crypto import (
    KEY_BYTES,
    Cipher,
    DataKey,
    EncryptionKey,
    ValueCiphers,
)
from litesess.errors import Corruption, DecryptError
from litesess.keyfile import KeyFile
from litesess.stores.base import Record

logger = logging.getLogger("litesess.store")

Hash: TypeAlias = "dict[bytes, bytes]"
Fields: TypeAlias = "list[str | bytes]"

#: Stored under ``<prefix>keys`` by a store that has no encryption key.
IN_THE_CLEAR: Final = b"in the clear"
#: Versions begin anywhere: a session that is created again must not look as it did before.
_VERSION_BYTES: Final = 6


class Records:
    """Makes hashes of sessions, and sessions of hashes."""

    def __init__(self, sealers: ValueCiphers | None) -> None:
        """Seal with *sealers*; None: not at all."""
        self._sealers = sealers

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
        for name, value in (("o", record.owner), ("k", record.cookie), ("a", record.client)):
            if value is not None:
                fields += name, self.seal(key, name, codec.encode(value, name))
        return fields

    def values(self, key: str, frames: codec.Frames) -> Fields:
        """Return the fields of values."""
        fields: Fields = []
        for name, frame in frames.items():
            field = f"={name}"
            fields += field, self.seal(key, field, frame)
        return fields

    def seal(self, key: str, field: str, plain: bytes) -> bytes:
        """Return *plain* as it is stored in a session's field."""
        if self._sealers is None:
            return plain
        return self._sealer(key).encrypt(plain, _head(key, field.encode()))

    def owner_hash(self, owner: str | None) -> str:
        """Return what an owner's index is called, in hex; "" for no owner."""
        if owner is None:
            return ""
        plain = ids.owner_hash(owner)
        return (plain if self._sealers is None else self._sealers.blinded(plain)[:16]).hex()

    def record(self, key: str, found: Hash) -> Record | None:
        """Return the session in a hash; None, and it is logged, if there is none in it.

        Raises:
            DecryptError: it was tampered with.
        """
        try:
            created_at, expires_at = float(found[b"c"]), float(found[b"e"])
            frames = {
                name[1:].decode(): self._open(key, name, value)
                for name, value in found.items()
                if name[:1] == b"="
            }
            owner, cookie, client = (
                codec.decode(self._open(key, name, found[name])) if name in found else None
                for name in (b"o", b"k", b"a")
            )
            return Record(
                codec.Encoded(frames),
                created_at,
                expires_at,
                cookie,
                owner,
                int(found[b"v"]),
                client,
                max(expires_at - float(found[b"l"]), created_at),
            )
        except (KeyError, ValueError):
            logger.exception("session %s can't be decoded, treated as absent", ids.handle_of(key))
            return None

    def _open(self, key: str, field: bytes, stored: bytes) -> bytes:
        if self._sealers is None:
            return stored
        return self._sealer(key).decrypt(stored, _head(key, field))

    def _sealer(self, key: str) -> Cipher:
        assert self._sealers is not None
        return self._sealers[int(key[:2], 16)]


def _head(key: str, field: bytes) -> bytes:
    """Return what a sealed value is bound to: nobody can move it to another session or name."""
    return bytes.fromhex(key) + field


def flat(answer: list[bytes]) -> Hash:
    """Return the hash that a script has answered."""
    return dict(zip(answer[::2], answer[1::2], strict=True))


def records_of(
    encryption_key: EncryptionKey | None,
    place: str,
    read: Callable[[], bytes | None],
    write: Callable[[bytes], object],
    is_empty: Callable[[], bool],
) -> Records:
    """Return what makes hashes in a store, by the key file that it holds; made, if it is new.

    Args:
        encryption_key: what the user gave, or None.
        place: the name of the store, for errors.
        read: returns what is stored as key file.
        write: stores one, unless there is one.
        is_empty: says whether the store holds no session.

    Raises:
        DecryptError: the key is not the one, or one is given for what is in the clear, or none for
            what is not.
    """
    stored = read()
    if stored is None:
        if encryption_key is not None and not is_empty():
            raise DecryptError(f"{place} holds sessions, but its key file is missing")
        write(IN_THE_CLEAR if encryption_key is None else _new_key_file(encryption_key))
        stored = read()  # another process may have been first
    if stored is None or (stored == IN_THE_CLEAR) != (encryption_key is None):
        raise DecryptError(
            f"{place} is encrypted, and no encryption_key was given"
            if encryption_key is None
            else f"{place} is not encrypted, but an encryption_key was given; leave that out, or"
            " begin anew under another prefix"
        )
    if encryption_key is None:
        return Records(None)
    try:
        file = KeyFile.decode(stored, place)
    except Corruption as error:
        raise DecryptError(f"{place}: its key file is damaged ({error.reason})") from None
    data_key = file.unwrap(max(file.wrapped), encryption_key, place)
    return Records(ValueCiphers(data_key, b"redis" + file.store, place, ids.random_bytes))


def _new_key_file(encryption_key: EncryptionKey) -> bytes:
    derivation = encryption_key.derivation(ids.random_bytes)
    return KeyFile.wrap(
        ids.random_bytes(16),
        derivation,
        encryption_key.derive(derivation, "(new)"),
        {1: DataKey(ids.random_bytes(KEY_BYTES), 1)},
        ids.random_bytes,
    ).encode()


def merged(
    record: Record, changes: codec.Frames, removed: Collection[str], **settings: Any
) -> Record:
    """Return a session with changes: new values, and attributes of the record's by name."""
    frames = {name: frame for name, frame in record.frames.items() if name not in {*removed}}
    kept: Mapping[str, Any] = {
        name: getattr(record, name)
        for name in ("created_at", "expires_at", "cookie", "owner", "client")
    }
    return Record(codec.Encoded(frames | changes), **{**kept, **settings})
