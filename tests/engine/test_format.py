"""The bytes on the disk are those of docs/format.rst."""

from __future__ import annotations

import re
import struct
from hashlib import sha256
from zlib import crc32

import pytest

from litesess import Corruption, EncodeError
from litesess.engine import Clear, Delete, Entry, Put, Touch
from litesess.engine import format as form
from litesess.engine.snapshot_format import ENTRY_BYTES, FOOTER_BYTES, Footer, decode_footer
from litesess.stores import packed
from tests.tools.engines import FAR, delete, key, make_engine, put, small_files, touch
from tests.tools.servers import ROOT
from tests.tools.simdisk import SimDisk

FORMAT_PAGE = ROOT / "docs" / "format.rst"
WAL = "sessions.0000000000000001.wal"
EXAMPLE = key("example")


def documented_files() -> list[bytes]:
    """Return the bytes of the page's examples: a log; a key file and an encrypted log."""
    page = FORMAT_PAGE.read_text()
    example = page[page.index("Example\n===") :]
    files: list[bytes] = []
    for offset, digits in re.findall(
        r"^ +([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)$", example, re.MULTILINE
    ):
        if int(offset, 16) == 0:
            files.append(b"")
        assert int(offset, 16) == len(files[-1])
        files[-1] += bytes.fromhex(digits)
    return files


def documented() -> bytes:
    """Return the bytes of the page's plain log."""
    return documented_files()[0]


def counting_bytes():
    """Random bytes that count: 10 11 12 .. for the store, 20 21 22 .. for the salt."""
    call = 0

    def random_bytes(size: int) -> bytes:
        nonlocal call
        call += 1
        return bytes(range(call * 16, call * 16 + size))

    return random_bytes


def test_the_documented_log_is_read_as_the_page_says():
    value = packed.pack(1767225600.0, 86400.0, None, None, None, {"user": b'"ada"'})
    data = documented()
    header, _signed, _tag = form.decode_header(data, WAL, form.WAL_MAGIC)
    assert header == form.Header(
        form.WAL_MAGIC, bytes(range(0x10, 0x20)), 1, bytes(range(0x20, 0x30)), 0
    )
    records = []
    at = form.HEADER_BYTES
    while at < len(data):
        record = form.decode_record(data, at, 0, crc32(header.salt), None)
        assert isinstance(record, form.Record)
        records.append(record)
        at = record.end
    put_record, touch_record, delete_record = records
    assert [record.kind for record in records] == [form.PUT, form.TOUCH, form.DELETE]
    assert [record.sequence for record in records] == [1, 2, 3]
    assert [record.durable for record in records] == [80, 185, 185]
    assert form.key_of(put_record.payload) == EXAMPLE == sha256(b"example").digest()
    assert form.decode_put(put_record.payload, 0, 1) == Entry(value, 1767312000.0, 1)
    assert packed.unpack(EXAMPLE, Entry(value, 1767312000.0, 1)).frames == {"user": b'"ada"'}
    assert form.decode_touch(touch_record.payload) == Touch(EXAMPLE, 1, 1767312060.0)
    assert delete_record.payload == EXAMPLE


def test_the_engine_writes_the_documented_log(monkeypatch):
    small_files(monkeypatch)
    disk = SimDisk()
    engine = make_engine(disk, random_bytes=counting_bytes())
    put(
        engine,
        "example",
        packed.pack(1767225600.0, 86400.0, None, None, None, {"user": b'"ada"'}),
        1767312000.0,
    )
    touch(engine, "example", 1767312060.0)
    delete(engine, "example")
    assert disk.files()[WAL].rstrip(b"\0") == documented()


def test_an_engine_reads_the_documented_log(monkeypatch):
    small_files(monkeypatch)
    up_to_the_touch = documented()[:0x105].ljust(2048, b"\0")
    engine = make_engine(SimDisk({WAL: up_to_the_touch}))
    assert engine.get(EXAMPLE) == Entry(
        packed.pack(1767225600.0, 86400.0, None, None, None, {"user": b'"ada"'}), 1767312060.0, 1
    )


def test_the_fixed_sizes_are_the_documented_ones():
    assert (form.HEADER_BYTES, form.RECORD_BYTES, ENTRY_BYTES) == (80, 28, 48)
    assert (FOOTER_BYTES, form.SLOT_BYTES) == (104, 64)
    assert form.RECORD.size == form.RECORD_BYTES
    header = form.Header(form.SNAPSHOT_MAGIC, b"s" * 16, 7, b"t" * 16, 8)
    assert len(header.encode()) == form.HEADER_BYTES
    assert len(Footer(1, 2, 3, 4, 5, b"h" * 32).encode()) == FOOTER_BYTES
    assert len(form.Slot(b"s" * 16, 1, 2).encode()) == form.SLOT_BYTES


def test_a_footer_and_a_slot_come_back():
    footer = Footer(1, 2, 3, 4, 5, b"h" * 32)
    assert decode_footer(footer.encode(), "file", 0) == footer
    slot = form.Slot(b"s" * 16, 5, 6)
    assert form.decode_slot(slot.encode()) == (slot, None, bytes(16))


def test_an_unknown_version_is_refused_and_named():
    known = form.Header(form.WAL_MAGIC, b"s" * 16, 1, b"t" * 16, 0).encode()
    unknown = known[:8] + struct.pack("<H", 2) + known[10:-4]
    unknown += struct.pack("<I", crc32(unknown))
    with pytest.raises(Corruption, match="format version 2"):
        form.decode_header(unknown, "file", form.WAL_MAGIC)


def test_an_unknown_flag_is_refused():
    known = form.Header(form.WAL_MAGIC, b"s" * 16, 1, b"t" * 16, 0).encode()
    unknown = known[:10] + struct.pack("<H", 2) + known[12:-4]
    unknown += struct.pack("<I", crc32(unknown))
    with pytest.raises(Corruption, match="flags 0x2"):
        form.decode_header(unknown, "file", form.WAL_MAGIC)


def test_zeros_are_no_record_and_no_slot():
    assert isinstance(form.decode_record(bytes(100), 0, 0, 0, None), form.Bad)
    assert form.decode_slot(bytes(form.SLOT_BYTES)) is None


def test_a_length_beyond_the_limit_is_bad_before_anything_is_read():
    record = form.encode_record(0, None, form.PUT, 0, b"x" * 40, 1, 0, 0)
    huge = record[:4] + b"\xff\xff\xff\xff" + record[8:]
    found = form.decode_record(huge, 0, 0, 0, None)
    assert isinstance(found, form.Bad)
    assert not found.short
    assert "limit 4194332" in found.reason


def test_a_record_of_another_file_is_bad():
    record = form.encode_record(crc32(b"one salt"), None, form.DELETE, 0, EXAMPLE, 1, 0, 0)
    assert isinstance(form.decode_record(record, 0, 0, crc32(b"one salt"), None), form.Record)
    assert isinstance(form.decode_record(record, 0, 0, crc32(b"another"), None), form.Bad)


@pytest.mark.parametrize("bit", range(8 * (form.RECORD_BYTES + form.KEY_BYTES)))
def test_a_flipped_bit_makes_a_record_bad(bit):
    record = bytearray(form.encode_record(7, None, form.DELETE, 0, EXAMPLE, 1, 64, 0))
    record[bit // 8] ^= 1 << bit % 8
    assert isinstance(form.decode_record(bytes(record), 0, 0, 7, None), form.Bad)


def test_a_group_yields_its_members_in_order():
    changes = Delete(key(1), expired=True), Put(key(2), b"v", 5.0), Clear()
    kind, flags, payload = form.encode_changes(changes)
    record = form.Record(64, 0, kind, flags, 1, 0, payload)
    assert kind == form.GROUP
    assert [(kind, flags) for kind, flags, _ in form.members(record)] == [
        (form.DELETE, form.EXPIRED),
        (form.PUT, 0),
        (form.CLEAR, 0),
    ]


def test_a_value_at_the_limit_is_kept_and_one_above_is_refused_by_name():
    assert form.encode_changes([Put(key(1), bytes(form.MAX_VALUE_BYTES), FAR)])
    with pytest.raises(EncodeError, match=f"limit {form.MAX_VALUE_BYTES}"):
        form.encode_changes([Put(key(1), bytes(form.MAX_VALUE_BYTES + 1), FAR)])
