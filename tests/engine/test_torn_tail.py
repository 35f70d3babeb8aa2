"""Every way in which the last write may have been cut, and what must not pass for one."""

from __future__ import annotations

from zlib import crc32

import pytest

from litesess import Corruption
from litesess.engine import format as form
from tests.tools.engines import FAR, abandon, content, delete, key, make_engine, put, small_files
from tests.tools.simdisk import SimDisk

WAL = "sessions.0000000000000001.wal"
FIRST = {key("first"): (b"1", FAR)}
LAST_SIZE = form.RECORD_BYTES + form.KEY_BYTES + 8 + 40


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_files(monkeypatch)


def crashed_log(*names: str, sync_last: bool = True) -> bytes:
    """Return the log of a store that was killed after it had put a few keys."""
    disk = SimDisk()
    engine = make_engine(disk)
    put(engine, "first", b"1")
    for name in names:
        put(engine, name, name.encode() * 4, sync=sync_last)
    abandon(engine)
    return disk.files()[WAL].rstrip(b"\0")


def opened(log: bytes, **files: bytes):
    return make_engine(SimDisk({WAL: reserved(log), **files}))


def reserved(log: bytes) -> bytes:
    """Return a log as long as a file is that nobody has cut."""
    return log.ljust(2048, b"\0")


@pytest.mark.parametrize("cut", range(LAST_SIZE))
def test_a_torn_tail_is_dropped(cut):
    log = crashed_log("0123456789")
    end = len(log) - LAST_SIZE
    assert content(opened(log[: end + cut])) == FIRST


@pytest.mark.parametrize("lost", range(0, LAST_SIZE, 5))
def test_a_tail_that_lost_its_beginning_is_dropped(lost):
    log = crashed_log("0123456789")
    end = len(log) - LAST_SIZE
    hole = log[:end] + bytes(lost + 1) + log[end + lost + 1 :]
    assert content(opened(hole)) == FIRST


def test_a_hole_in_what_was_never_synced_ends_the_log_there():
    log = crashed_log("0123456789", "abcdefghij", sync_last=False)
    at = len(log) - 2 * LAST_SIZE
    hole = log[:at] + bytes(LAST_SIZE) + log[at + LAST_SIZE :]
    assert content(opened(hole)) == FIRST


def test_a_hole_in_what_was_synced_is_corruption():
    log = crashed_log("0123456789", "abcdefghij")
    at = len(log) - 2 * LAST_SIZE
    hole = log[:at] + bytes(LAST_SIZE) + log[at + LAST_SIZE :]
    with pytest.raises(Corruption) as caught:
        content(opened(hole))
    assert (caught.value.path, caught.value.offset) == (f"/store/{WAL}", at)


def test_a_flipped_bit_in_what_was_synced_is_corruption_at_its_offset():
    log = bytearray(crashed_log("0123456789", "abcdefghij"))
    at = len(log) - 2 * LAST_SIZE
    log[at + 50] ^= 1
    with pytest.raises(Corruption, match="checksum") as caught:
        content(opened(bytes(log)))
    assert caught.value.offset == at


def test_a_store_that_refuses_leaves_every_byte_as_it_was():
    log = bytearray(crashed_log("0123456789", "abcdefghij"))
    log[len(log) - 2 * LAST_SIZE + 50] ^= 1
    disk = SimDisk({WAL: reserved(bytes(log))})
    with pytest.raises(Corruption):
        content(make_engine(disk))
    assert disk.files()[WAL] == reserved(bytes(log))
    assert set(disk.files()) == {WAL, "sessions.live"}


def test_a_record_out_of_sequence_is_corruption():
    log = crashed_log("0123456789", "abcdefghij", "ABCDEFGHIJ")
    at = len(log) - 2 * LAST_SIZE
    dropped = log[: at - LAST_SIZE] + log[at:]
    with pytest.raises(Corruption, match="sequence 3 after 1"):
        content(opened(dropped))


def test_a_record_of_an_unknown_type_is_refused_and_not_passed_over():
    log = crashed_log("0123456789")
    salt_crc = crc32(log[36:52])
    unknown = form.encode_record(salt_crc, None, 99, 0, b"?", 3, 80, 0)
    with pytest.raises(Corruption, match="type 99"):
        content(opened(log + unknown))


def test_a_doubled_record_is_corruption():
    log = crashed_log("0123456789")
    with pytest.raises(Corruption, match="sequence 2 after 2"):
        content(opened(log + log[-LAST_SIZE:]))


def test_a_log_shorter_than_at_its_clean_close_is_corruption():
    disk = SimDisk()
    engine = make_engine(disk)
    put(engine, "first", b"1")
    put(engine, "second", b"2")
    engine.close()
    files = disk.files()
    mark = form.RECORD_BYTES
    files[WAL] = reserved(files[WAL].rstrip(b"\0")[:-mark])
    with pytest.raises(Corruption, match="bytes of it were synced, as the slot knows"):
        content(make_engine(SimDisk(files)))


def test_a_log_that_vanished_after_a_clean_close_is_corruption():
    disk = SimDisk()
    engine = make_engine(disk)
    put(engine, "first", b"1")
    engine.close()
    files = disk.files()
    del files[WAL]
    with pytest.raises(Corruption, match="is missing") as caught:
        content(make_engine(SimDisk(files)))
    assert caught.value.path == f"/store/{WAL}"


def test_data_that_looks_like_records_is_never_read_as_records():
    forged = form.encode_record(0, None, form.DELETE, 0, key("first"), 2, 1 << 40, 0)
    disk = SimDisk()
    engine = make_engine(disk)
    put(engine, "first", b"1")
    put(engine, "forged", forged * 3, sync=False)
    abandon(engine)
    log = disk.files()[WAL].rstrip(b"\0")
    torn = log[: -len(forged) * 3 - 10] + b"?" + log[-len(forged) * 3 - 9 :]
    assert content(opened(torn)) == FIRST


def test_the_log_goes_on_in_a_copy_after_a_crash_and_the_old_one_goes():
    disk = SimDisk({WAL: reserved(crashed_log("0123456789"))})
    engine = make_engine(disk)
    delete(engine, "0123456789")
    assert set(disk.files()) == {
        "sessions.0000000000000002.wal",
        "sessions.compact",
        "sessions.live",
    }
    engine.close()
    assert content(make_engine(disk)) == FIRST


def test_a_torn_tail_is_kept_aside_and_only_the_newest(caplog):
    whole = crashed_log("0123456789")
    disk = SimDisk({WAL: reserved(whole[:-10]), "sessions.0000000000000000.torn": b"older"})
    make_engine(disk).get(key("first"))
    names = {name: data for name, data in disk.files().items() if name.endswith(".torn")}
    assert names == {"sessions.0000000000000001.torn": whole[-LAST_SIZE:-10]}
    # Nothing vouches for it: only what was synced with the first key is known.
    assert "only what stands before offset 80 is known to have been synced" in caplog.text


def test_after_a_clean_close_the_log_goes_on_where_it_was():
    disk = SimDisk()
    engine = make_engine(disk)
    put(engine, "first", b"1")
    engine.close()
    before = disk.files()[WAL].rstrip(b"\0")
    engine = make_engine(disk)
    put(engine, "second", b"2")
    assert disk.files()[WAL].startswith(before)
