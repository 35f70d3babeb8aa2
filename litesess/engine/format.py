"""Bytes of the engine's files: headers, records, slot (docs/format.rst).

Everything here is pure: bytes in, values out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from litesess.crypto import OVERHEAD_BYTES, TAG_BYTES, Cipher
from litesess.engine.changes import Change, Delete, Entry, Put, Touch
from litesess.errors import Corruption, EncodeError, StoreFailed

VERSION: Final = 1

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
STORE_BYTES: Final = 16
MAX_VALUE_BYTES: Final = 1 << 20
MAX_PAYLOAD_BYTES: Final = 1 << 22
ENCRYPTED: Final = 1  # flag of headers and slots
IN_USE: Final = 2  # flag of slots

# magic, version u16, flags u16, store, generation u64, salt, link u64; then tag, crc u32
_HEADER: Final = struct.Struct("<8sHH16sQ16sQ")
HEADER_BYTES: Final = 8 + 2 + 2 + 16 + 8 + 16 + 8 + TAG_BYTES + 4
_CONTEXT: Final = struct.Struct("<8s16sQ")  # magic, store, generation u64
_NO_TAG: Final = bytes(TAG_BYTES)
WAL_MAGIC: Final = b"LSESSWAL"
SNAPSHOT_MAGIC: Final = b"LSESSNAP"

# magic u16, type u8, flags u8, length u32, sequence u64, durable u64; then crc u32
RECORD: Final = struct.Struct("<HBBIQQI")
RECORD_BYTES: Final = 2 + 1 + 1 + 4 + 8 + 8 + 4
CRC_OFFSET: Final = RECORD_BYTES - 4
RECORD_MAGIC: Final = 0x5CA1
_MAX_LENGTH: Final = MAX_PAYLOAD_BYTES + OVERHEAD_BYTES
_CHECKED: Final = struct.Struct("<HBBIQQ")
CRC: Final = struct.Struct("<I")
_OFFSET: Final = struct.Struct("<Q")

PUT, TOUCH, DELETE, CLEAR, GROUP, MARK, SEAL, POISON = range(1, 9)
EXPIRED: Final = 1  # flag of DELETE
OWNED: Final = 1  # flag of PUT: an owner stands before the value
OWNER_BYTES: Final = 16

_MEMBER: Final = struct.Struct("<BBI")  # of a GROUP: type u8, flags u8, length u32
_PUT_HEAD: Final = struct.Struct("<32sd")  # key, expires_at f64
_TOUCH: Final = struct.Struct("<32sQd")  # key, version u64, expires_at f64
TOUCH_BYTES: Final = 32 + 8 + 8
_SEAL: Final = struct.Struct("<QQ16s")  # count u64, next generation u64, its salt

# magic, version u16, flags u16, store, generation u64, length u64; then tag, crc u32
_SLOT: Final = struct.Struct("<8sHH16sQQ")
SLOT_BYTES: Final = 8 + 2 + 2 + 16 + 8 + 8 + TAG_BYTES + 4
_SLOT_MAGIC: Final = b"LSESSLIV"


#: Returns the tag which proves that unencrypted bytes were written with the key.
Sign: TypeAlias = "Callable[[bytes], bytes]"


class Header(NamedTuple):
    """The first bytes of a log or a snapshot."""

    magic: bytes
    store: bytes
    generation: int
    salt: bytes
    link: int
    is_encrypted: bool = False

    def encode(self, sign: Sign | None = None) -> bytes:
        """Return the header's bytes; *sign* makes the tag of an encrypted one."""
        flags = ENCRYPTED if self.is_encrypted else 0
        magic, *rest = self[:5]
        return _signed(_HEADER.pack(magic, VERSION, flags, *rest), sign)

    @property
    def context(self) -> bytes:
        """The bytes that tell the file from every other one; its cipher is bound to them."""
        return _CONTEXT.pack(self.magic, self.store, self.generation)

    @property
    def values_context(self) -> bytes:
        """The bytes that tell the store from every other one, for values that change files."""
        return self.context[: -struct.calcsize("<Q")]


class Head(NamedTuple):
    """The first bytes of a file, and the cipher of its content; None: it is not encrypted."""

    header: Header
    data: bytes
    cipher: Cipher | None


def decode_header(data: bytes, path: str, magic: bytes) -> tuple[Header, bytes, bytes]:
    """Return the header of the file at *path*, the bytes that its tag was made for, and the tag.

    Raises:
        Corruption: *data* is no header of that kind, or of a version that is not known here.
    """
    if len(data) < HEADER_BYTES:
        raise Corruption(path, 0, f"header has {len(data)} bytes, not {HEADER_BYTES}")
    found, version, flags, store, generation, salt, link = _HEADER.unpack_from(data)
    if found != magic:
        raise Corruption(path, 0, f"begins with {found!r}, not {magic!r}")
    data = data[:HEADER_BYTES]
    check_crc(data, path, 0, "header")
    if version != VERSION or flags & ~ENCRYPTED:
        raise Corruption(
            path,
            8,
            f"format version {version} flags {flags:#x}, this litesess reads {VERSION} and at most"
            f" {ENCRYPTED:#x}",
        )
    header = Header(found, store, generation, salt, link, bool(flags))
    return header, data[: _HEADER.size], data[_HEADER.size : -CRC.size]


def encode_changes(changes: Sequence[Change]) -> tuple[int, int, bytes]:
    """Return the type, flags and payload of the record that makes all *changes* or none.

    Raises:
        EncodeError: a value or the whole is too large.
    """
    if len(changes) > 1:
        return _encode_group(changes)
    (change,) = changes
    if isinstance(change, Put):
        if len(change.value) > MAX_VALUE_BYTES:
            raise EncodeError("(all)", f"has {len(change.value)} bytes, limit {MAX_VALUE_BYTES}")
        head = _PUT_HEAD.pack(change.key, change.expires_at)
        return PUT, OWNED if change.owner else 0, head + change.owner + change.value
    if isinstance(change, Delete):
        return DELETE, EXPIRED if change.expired else 0, change.key
    if isinstance(change, Touch):
        return TOUCH, 0, _TOUCH.pack(*change)
    return CLEAR, 0, b""


def _encode_group(changes: Sequence[Change]) -> tuple[int, int, bytes]:
    parts: list[bytes] = []
    for change in changes:
        kind, flags, payload = encode_changes((change,))
        parts += (_MEMBER.pack(kind, flags, len(payload)), payload)
    payload = b"".join(parts)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise EncodeError(
            "(all)", f"needs a record of {len(payload)} bytes, limit {MAX_PAYLOAD_BYTES}"
        )
    return GROUP, 0, payload


def encode_seal(count: int, generation: int, salt: bytes) -> bytes:
    """Return the payload of a SEAL."""
    return _SEAL.pack(count, generation, salt)


class Seal(NamedTuple):
    """The content of a SEAL: how many records stand before it, and which log follows."""

    record_count: int
    generation: int
    salt: bytes

    def leads_to(self, header: Header) -> bool:
        """Return whether it names the log that begins with *header*."""
        return (self.generation, self.salt) == (header.generation, header.salt)


def decode_seal(payload: bytes) -> Seal:
    """Return the content of a SEAL, from its payload."""
    return Seal(*_SEAL.unpack(payload))


def encode_record(
    salt_crc: int,
    cipher: Cipher | None,
    kind: int,
    flags: int,
    payload: bytes,
    sequence: int,
    durable: int,
    offset: int,
) -> bytes:
    """Return a record.

    Args:
        salt_crc: the checksum of the file's salt.
        cipher: encrypts the payload; None: it is not encrypted.
        kind: ``PUT`` to ``POISON``.
        flags: of that type.
        payload: at most ``MAX_PAYLOAD_BYTES``.
        sequence: its number.
        durable: how much of the file is known to be synced.
        offset: where it is to stand in the file; encrypted, it is good nowhere else.

    Raises:
        StoreFailed: there is no such number: all are used.
    """
    length = len(payload) if cipher is None else len(payload) + OVERHEAD_BYTES
    try:
        head = _CHECKED.pack(RECORD_MAGIC, kind, flags, length, sequence, durable)
    except struct.error:
        raise StoreFailed(
            f"no record can have the number {sequence}; export the sessions, and import them into"
            " a new directory"
        ) from None
    if cipher is not None:
        payload = cipher.encrypt(payload, head + _OFFSET.pack(offset))
    return b"%b%b%b" % (head, CRC.pack(crc32(payload, crc32(head, salt_crc))), payload)


class Record(NamedTuple):
    """A record that was read, with a correct checksum."""

    offset: int
    end: int
    kind: int
    flags: int
    sequence: int
    durable: int
    payload: bytes

    @property
    def head(self) -> bytes:
        """The bytes that its payload was bound to: those before its checksum, and its offset."""
        length = self.end - self.offset - RECORD_BYTES
        head = _CHECKED.pack(
            RECORD_MAGIC, self.kind, self.flags, length, self.sequence, self.durable
        )
        return head + _OFFSET.pack(self.offset)


class Bad(NamedTuple):
    """Why there is no record at an offset."""

    offset: int
    reason: str
    short: bool  # the bytes end before the record does
    missing: int = 0  # so many more it is known to have


def decode_record(
    data: bytes, at: int, base: int, salt_crc: int, cipher: Cipher | None
) -> Record | Bad:
    """Return the record at *at* in *data*, which begins at *base* in the file.

    Raises:
        DecryptError: it is whole, yet was not encrypted for this place.
    """
    offset = base + at
    if len(data) - at < RECORD_BYTES:
        return Bad(offset, f"record header has {len(data) - at} bytes, not {RECORD_BYTES}", True)
    magic, kind, flags, length, sequence, durable, crc = RECORD.unpack_from(data, at)
    if magic != RECORD_MAGIC:
        return Bad(offset, f"record magic {magic:#06x}, not {RECORD_MAGIC:#06x}", False)
    # Guards: a flipped length must not make anyone wait for, or allocate, 4 GiB.
    if length > _MAX_LENGTH:
        return Bad(offset, f"record length {length}, limit {_MAX_LENGTH}", False)
    end = at + RECORD_BYTES + length
    if end > len(data):
        missing = end - len(data)
        return Bad(offset, f"record ends {missing} bytes past the end", True, missing)
    payload, head = data[at + RECORD_BYTES : end], data[at : at + CRC_OFFSET]
    actual = crc32(payload, crc32(head, salt_crc))
    # Order: the checksum is over the encrypted bytes, so that a torn record is no tampered one.
    if actual != crc:
        return Bad(offset, f"record checksum {actual:#010x}, stored {crc:#010x}", False)
    if cipher is not None:
        payload = cipher.decrypt(payload, head + _OFFSET.pack(offset))
    return Record(offset, base + end, kind, flags, sequence, durable, payload)


def members(record: Record) -> Sequence[tuple[int, int, bytes]]:
    """Return the type, flags and payload of each change that *record* makes."""
    if record.kind != GROUP:
        return ((record.kind, record.flags, record.payload),)
    found = []
    payload = record.payload
    at = 0
    while at < len(payload):
        kind, flags, length = _MEMBER.unpack_from(payload, at)
        at += _MEMBER.size
        found.append((kind, flags, payload[at : at + length]))
        at += length
    return found


def entry_in(record: Record, key: bytes) -> Entry | None:
    """Return the entry that *record* stores under *key* at last, or None."""
    for kind, flags, payload in reversed(members(record)):
        if kind == PUT and payload[:KEY_BYTES] == key:
            return decode_put(payload, flags, record.sequence)
    return None


def key_of(payload: bytes) -> bytes:
    """Return the key in the payload of a PUT, TOUCH or DELETE."""
    return payload[:KEY_BYTES]


def owner_of(payload: bytes) -> bytes:
    """Return the owner in the payload of a PUT with the flag ``OWNED``."""
    return payload[_PUT_HEAD.size : _PUT_HEAD.size + OWNER_BYTES]


def decode_put(payload: bytes, flags: int, version: int) -> Entry:
    """Return the entry that a PUT stores, from its payload."""
    _key, expires_at = _PUT_HEAD.unpack_from(payload)
    if not flags & OWNED:
        return Entry(payload[_PUT_HEAD.size :], expires_at, version)
    return Entry(payload[_PUT_HEAD.size + OWNER_BYTES :], expires_at, version, owner_of(payload))


def decode_touch(payload: bytes) -> Touch:
    """Return the change of a TOUCH, from its payload."""
    return Touch(*_TOUCH.unpack(payload))


class Slot(NamedTuple):
    """The note of how much of which log is synced.

    The last process to close the store writes it, and those that have the store open, now and then.
    """

    store: bytes
    generation: int
    length: int
    is_in_use: bool = False  # when it was written, more was to come

    def encode(self, sign: Sign | None = None) -> bytes:
        """Return the slot's bytes; *sign* makes the tag of an encrypted store's."""
        flags = (0 if sign is None else ENCRYPTED) | (IN_USE if self.is_in_use else 0)
        return _signed(_SLOT.pack(_SLOT_MAGIC, VERSION, flags, *self[:3]), sign)


def decode_slot(data: bytes) -> tuple[Slot, bytes | None, bytes] | None:
    """Return the slot, the bytes that its tag was made for, and the tag; None for no slot.

    The bytes are None in a store that is not encrypted.  A damaged slot is no corruption: without
    one the store opens as after a crash.
    """
    if (
        len(data) < SLOT_BYTES
        or crc32(data[: SLOT_BYTES - 4]) != CRC.unpack_from(data, SLOT_BYTES - 4)[0]
    ):
        return None
    magic, version, flags, store, generation, length = _SLOT.unpack_from(data)
    if magic != _SLOT_MAGIC or version != VERSION or flags & ~(ENCRYPTED | IN_USE):
        return None
    signed = data[: _SLOT.size] if flags & ENCRYPTED else None
    slot = Slot(store, generation, length, bool(flags & IN_USE))
    return slot, signed, data[_SLOT.size : SLOT_BYTES - CRC.size]


def _signed(data: bytes, sign: Sign | None) -> bytes:
    return with_crc(data + (_NO_TAG if sign is None else sign(data)))


def with_crc(data: bytes) -> bytes:
    """Return *data* with its checksum after it."""
    return data + CRC.pack(crc32(data))


def check_crc(data: bytes, path: str, offset: int, what: str) -> None:
    """Raise :class:`Corruption` unless *data* ends with its checksum.

    Args:
        data: was read from *path* at *offset*.
        path: of the file.
        offset: in the file, in bytes.
        what: names *data* in the error.
    """
    actual = crc32(data[:-4])
    (crc,) = CRC.unpack_from(data, len(data) - 4)
    if actual != crc:
        raise Corruption(path, offset, f"{what} checksum {actual:#010x}, stored {crc:#010x}")
