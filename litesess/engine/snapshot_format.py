"""Bytes of a snapshot: its entries and its footer (docs/format.rst, "Snapshot").

Everything here is pure: bytes in, values out.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

from litesess.crypto import OVERHEAD_BYTES, ValueCiphers
from litesess.engine.changes import Entry
from litesess.engine.format import CRC, KEY_BYTES, Head, check_crc, with_crc
from litesess.errors import Corruption, DecryptError

# key, version u64, length u32; then crc u32
_ENTRY: Final = struct.Struct("<32sQII")
ENTRY_BYTES: Final = 32 + 8 + 4 + 4
_ENTRY_CHECKED: Final = ENTRY_BYTES - 4
_VERSION: Final = struct.Struct("<Q")

#: An owner tag stands for an owner in the index.
OWNER_TAG_BYTES: Final = 8
NO_OWNER: Final = bytes(OWNER_TAG_BYTES)

# magic, index offset u64, count u64, owned u64, bits u32, index crc u32, sha256; proof, crc u32
_FOOTER: Final = struct.Struct("<8sQQQII32s")
FOOTER_BYTES: Final = 8 + 8 + 8 + 8 + 4 + 4 + 32 + OVERHEAD_BYTES + 4
_FOOTER_MAGIC: Final = b"LSESSEND"


def encode_entry(store_crc: int, key: bytes, entry: Entry, ciphers: ValueCiphers | None) -> bytes:
    """Return a snapshot's entry; its expiry stands in the index alone."""
    value = entry.owner + entry.value
    length = len(value) if ciphers is None else len(value) + OVERHEAD_BYTES
    head = _ENTRY.pack(key, entry.version, length, 0)[:_ENTRY_CHECKED]
    if ciphers is not None:
        value = ciphers[key[0]].encrypt(value, head)
    return b"%b%b%b" % (head, CRC.pack(crc32(value, crc32(head, store_crc))), value)


def decode_entry(
    data: bytes, store_crc: int, path: str, offset: int, ciphers: ValueCiphers | None
) -> tuple[bytes, int, bytes]:
    """Return the key and version of a snapshot's entry, and its owner and value in one.

    Raises:
        Corruption: its checksum or length is wrong.
        DecryptError: it is whole, yet was not encrypted for this key and version.
    """
    if len(data) < ENTRY_BYTES:
        raise Corruption(path, offset, f"entry has {len(data)} bytes, not {ENTRY_BYTES}")
    key, version, length, crc = _ENTRY.unpack_from(data)
    value, head = data[ENTRY_BYTES:], data[:_ENTRY_CHECKED]
    refusal = None
    if ciphers is not None and length == len(value):
        # The tag alone is enough; the checksum tells rot from tampering.
        try:
            return key, version, ciphers[key[0]].decrypt(value, head)
        except DecryptError as error:
            refusal = error
    actual = crc32(value, crc32(head, store_crc))
    if actual != crc or length != len(value):
        raise Corruption(path, offset, f"entry checksum {actual:#010x}, stored {crc:#010x}")
    if refusal is not None:
        raise refusal
    return key, version, value


def version_of(data: bytes, at: int) -> int:
    """Return the version of the entry at *at*; nothing is checked."""
    version: int = _VERSION.unpack_from(data, at + KEY_BYTES)[0]
    return version


class Footer(NamedTuple):
    """The last bytes of a snapshot."""

    index_offset: int
    entry_count: int
    owned_count: int
    bits: int
    index_crc: int
    sha256: bytes
    #: Vouches for the index and for this, in an encrypted snapshot.
    proof: bytes = bytes(OVERHEAD_BYTES)

    @property
    def vouched(self) -> bytes:
        """The bytes that the proof is for, after the index."""
        return _FOOTER.pack(_FOOTER_MAGIC, *self[:6])

    def encode(self) -> bytes:
        """Return the footer's bytes."""
        return with_crc(self.vouched + self.proof)


def decode_footer(data: bytes, path: str, offset: int) -> Footer:
    """Return the footer of the snapshot at *path*, read from *offset*.

    Raises:
        Corruption: *data* is no footer.
    """
    if len(data) != FOOTER_BYTES:
        raise Corruption(path, offset, f"footer has {len(data)} bytes, not {FOOTER_BYTES}")
    magic, index_offset, count, owned, bits, index_crc, digest = _FOOTER.unpack_from(data)
    if magic != _FOOTER_MAGIC:
        raise Corruption(path, offset, f"ends with {magic!r}, not {_FOOTER_MAGIC!r}")
    check_crc(data, path, offset, "footer")
    proof = data[_FOOTER.size : -CRC.size]
    return Footer(index_offset, count, owned, bits, index_crc, digest, proof)


def values_of(head: Head) -> ValueCiphers | None:
    """Return the ciphers of the values in a snapshot that begins so; None: not encrypted."""
    return None if head.cipher is None else head.cipher.values(head.header.values_context)


def owner_tag(owner: bytes, values: ValueCiphers | None) -> bytes:
    """Return the owner tag of *owner*, never ``NO_OWNER``; blinded if *values* are encrypted."""
    tag = (owner if values is None else values.blinded(owner))[:OWNER_TAG_BYTES]
    return tag if tag != NO_OWNER else NO_OWNER[:-1] + b"\1"
