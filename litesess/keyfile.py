"""The bytes of a key file: a store's data keys, each wrapped by the user's encryption key.

Data keys are numbered.  There is more than one only while a new one takes the place of the old.
The store decides where to keep the bytes: in a file of its own, or under a name in Redis.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from litesess.crypto import (
    RAW,
    WRAPPED_BYTES,
    DataKey,
    Derivation,
    EncryptionKey,
    RandomBytes,
)
from litesess.errors import Corruption

DataKeys: TypeAlias = "dict[int, DataKey]"

_VERSION: Final = 1
_MAGIC: Final = b"LSESSKEY"
# magic, version u16, flags u16, store, kind u16, count u16, cost u32, rounds u32, lanes u32, salt
_HEAD: Final = struct.Struct("<8sHH16sHHIII16s")
_NUMBER: Final = struct.Struct("<Q")
_ENTRY_BYTES: Final = 8 + WRAPPED_BYTES  # number u64, wrapped key
_CRC: Final = struct.Struct("<I")
_MOST_KEYS: Final = 1 << 8

#: A reader needs no more bytes than this.
LARGEST_BYTES: Final = _HEAD.size + _MOST_KEYS * _ENTRY_BYTES + _CRC.size


class KeyFile(NamedTuple):
    """The content of a key file.

    Source: docs/format.rst, "Encryption".
    """

    #: 16 random bytes that name the store.
    store: bytes
    #: How the encryption key yields the key that wraps the data keys.
    derivation: Derivation
    #: The wrapped data keys by number, oldest first.
    wrapped: dict[int, bytes]

    @property
    def is_raw(self) -> bool:
        """Whether the encryption key is 32 random bytes, and not a passphrase."""
        return self.derivation.kind == RAW

    @classmethod
    def wrap(
        cls,
        store: bytes,
        derivation: Derivation,
        wrapping_key: bytes,
        data_keys: Mapping[int, DataKey],
        random_bytes: RandomBytes,
    ) -> KeyFile:
        """Return a key file that holds *data_keys*, by number.

        Args:
            store: 16 random bytes that name the store.
            derivation: how *wrapping_key* was derived.
            wrapping_key: encrypts the data keys.
            data_keys: by number, at least one.
            random_bytes: returns the given number of random bytes.
        """
        wrapped = {}
        for number, data_key in sorted(data_keys.items()):
            context = _context(store, derivation, len(data_keys), number)
            wrapped[number] = data_key.wrap(wrapping_key, context, random_bytes)
        return cls(store, derivation, wrapped)

    def unwrap(self, number: int, key: EncryptionKey, path: str) -> DataKey:
        """Return the data key of that *number*.

        Raises:
            DecryptError: *key* is wrong, or the file at *path* was changed.
        """
        wrapping_key = key.derive(self.derivation, path)
        context = _context(self.store, self.derivation, len(self.wrapped), number)
        return DataKey.unwrap(self.wrapped[number], wrapping_key, context, number, path)

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        parts = [_head(self.store, self.derivation, len(self.wrapped))]
        for number, wrapped in self.wrapped.items():
            parts += _NUMBER.pack(number), wrapped
        data = b"".join(parts)
        return data + _CRC.pack(crc32(data))

    @classmethod
    def decode(cls, data: bytes, path: str) -> KeyFile:
        """Return the key file that *data* holds.

        Args:
            data: the bytes of the file.
            path: its name, for the error.

        Raises:
            Corruption: *data* is damaged, or of a version that this litesess can't read.
        """
        if len(data) < _HEAD.size + _CRC.size:
            raise Corruption(path, 0, f"key file has {len(data)} bytes")
        magic, version, flags, store, kind, count, cost, rounds, lanes, salt = _HEAD.unpack_from(
            data
        )
        if magic != _MAGIC:
            raise Corruption(path, 0, f"begins with {magic!r}, not {_MAGIC!r}")
        actual = crc32(data[: -_CRC.size])
        (crc,) = _CRC.unpack_from(data, len(data) - _CRC.size)
        if actual != crc:
            raise Corruption(path, 0, f"key file checksum {actual:#010x}, stored {crc:#010x}")
        if version != _VERSION or flags:
            raise Corruption(
                path,
                8,
                f"format version {version} flags {flags:#x}, this litesess reads {_VERSION} and 0",
            )
        if not count or len(data) != _HEAD.size + count * _ENTRY_BYTES + _CRC.size:
            raise Corruption(path, 30, f"key file of {len(data)} bytes for {count} keys")
        wrapped = {}
        for at in range(_HEAD.size, len(data) - _CRC.size, _ENTRY_BYTES):
            (number,) = _NUMBER.unpack_from(data, at)
            wrapped[number] = data[at + _NUMBER.size : at + _ENTRY_BYTES]
        return cls(store, Derivation(kind, cost, rounds, lanes, salt), wrapped)


def _head(store: bytes, derivation: Derivation, count: int) -> bytes:
    kind, *how, salt = derivation
    return _HEAD.pack(_MAGIC, _VERSION, 0, store, kind, count, *how, salt)


def _context(store: bytes, derivation: Derivation, count: int, number: int) -> bytes:
    """Return the context of a wrapped key: the head of its file, and its number."""
    return _head(store, derivation, count) + _NUMBER.pack(number)
