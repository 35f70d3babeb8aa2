"""Sessions as hashes of Redis, their values encrypted if there is a key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
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
#: The fields of a record's attributes that a session may lack.
SETTINGS: Final = {"owner": "o", "cookie": "k", "client": "a"}
#: Versions begin anywhere: a session that is created again must not look as it did before.
_VERSION_BYTES: Final = 6


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
        """Return the session in a hash; None, and it is logged, if there is none in it.

        Raises:
            DecryptError: it was tampered with.
        """
        try:
            created_at, expires_at = float(found[b"c"]), float(found[b"e"])
            frames = {
                name[1:].decode(): self._decrypt(key, name, value)
                for name, value in found.items()
                if name[:1] == b"="
            }
            owner, cookie, client = (
                codec.decode(self._decrypt(key, name, found[name])) if name in found else None
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


def flat(answer: list[bytes]) -> Hash:
    """Return a script's answer as a hash."""
    return dict(zip(answer[::2], answer[1::2], strict=True))


def records_of(
    encryption_key: EncryptionKey | None,
    store_name: str,
    read: Callable[[], bytes | None],
    write: Callable[[bytes], object],
    is_empty: Callable[[], bool],
) -> Records:
    """Return the converter of a store, by its key file, which is made if the store is new.

    Args:
        encryption_key: the user's, or None.
        store_name: the name of the store, for errors.
        read: returns the key file.
        write: stores a key file, unless there is one.
        is_empty: returns whether the store holds no session.

    Raises:
        DecryptError: the key is wrong, or missing, or is given for an unencrypted store.
    """
    stored = read()
    if stored is None:
        if encryption_key is not None and not is_empty():
            raise DecryptError(f"{store_name} holds sessions, but its key file is missing")
        write(IN_THE_CLEAR if encryption_key is None else _new_key_file(encryption_key))
        stored = read()  # another process may have been first
    if stored is None or (stored == IN_THE_CLEAR) != (encryption_key is None):
        raise DecryptError(
            f"{store_name} is encrypted, and no encryption_key was given"
            if encryption_key is None
            else f"{store_name} is not encrypted, but an encryption_key was given; leave that out,"
            " or begin anew under another prefix"
        )
    if encryption_key is None:
        return Records(None)
    try:
        file = KeyFile.decode(stored, store_name)
    except Corruption as error:
        raise DecryptError(f"{store_name}: its key file is damaged ({error.reason})") from None
    data_key = file.unwrap(max(file.wrapped), encryption_key, store_name)
    return Records(ValueCiphers(data_key, b"redis" + file.store, store_name, ids.random_bytes))


def _new_key_file(encryption_key: EncryptionKey) -> bytes:
    derivation = encryption_key.derivation(ids.random_bytes)
    return KeyFile.wrap(
        ids.random_bytes(16),
        derivation,
        encryption_key.derive(derivation, "(new)"),
        {1: DataKey(ids.random_bytes(KEY_BYTES), 1)},
        ids.random_bytes,
    ).encode()
