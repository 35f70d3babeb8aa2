"""A log that was cut short is told from one that a crash tore: a log is as long as it was left."""

from __future__ import annotations

import errno
import random

import pytest

from litesess import Corruption, StoreFull
from litesess.engine import format as form
from tests.tools.engines import (
    FAR,
    abandon,
    content,
    delete,
    key,
    make_engine,
    put,
    small_files,
)
from tests.tools.simdisk import SimDisk

WAL = "sessions.0000000000000001.wal"
LIVE = "sessions.live"


@pytest.fixture
def disk(monkeypatch):
    small_files(monkeypatch)
    return SimDisk()


def fill_disk(disk: SimDisk) -> None:
    def fault(call: str) -> None:
        if call in ("allocate", "create"):
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.fault = fault


def used(log: bytes) -> int:
    return len(log.rstrip(b"\0"))


def killed(disk: SimDisk, *, sync: bool = True, mark: bool = False) -> dict[str, bytes]:
    """Return the files of a store that was killed after ten writes, with a note in the middle."""
    engine = make_engine(disk)
    for number in range(10):
        put(engine, number, b"v" * 40, sync=sync)
        if mark and number == 4:
            engine.mark()
    delete(engine, 3, sync=sync)
    abandon(engine)
    return disk.files()


@pytest.mark.parametrize("sync", [True, False], ids=["synced", "not synced"])
def test_a_log_that_was_cut_at_any_length_is_refused_by_all_who_read_it(disk, sync):
    files = killed(disk, sync=sync)
    for length in range(used(files[WAL])):
        cut = files | {WAL: files[WAL][:length]}
        for look in (
            lambda engine: content(engine),
            lambda engine: engine.verify(),
        ):
            with pytest.raises(Corruption):
                look(make_engine(SimDisk(cut)))
        with pytest.raises(Corruption):
            content(make_engine(SimDisk(cut), read_only=True))
        assert make_engine(SimDisk(cut)).salvage()[0] == {}


def test_the_error_says_what_may_be_lost_and_what_was_synced(disk):
    files = killed(disk)
    cut = files | {WAL: files[WAL][:300]}
    with pytest.raises(Corruption, match="may be lost; up to offset 188 it is known") as caught:
        content(make_engine(SimDisk(cut)))
    assert caught.value.offset < 300


def test_a_log_that_was_cut_where_the_slot_ends_is_not_taken_for_closed(disk):
    files = killed(disk, mark=True)
    slot, *_ = form.decode_slot(files[LIVE])
    assert slot.is_in_use
    assert 80 < slot.length < used(files[WAL])
    with pytest.raises(Corruption, match="cut short"):
        content(make_engine(SimDisk(files | {WAL: files[WAL][: slot.length]})))


def test_a_store_that_is_used_again_after_a_close_is_not_taken_for_closed(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    engine.close()
    slot, *_ = form.decode_slot(disk.files()[LIVE])
    assert not slot.is_in_use
    put(make_engine(disk), "second", b"2")
    files = disk.files()
    with pytest.raises(Corruption, match="cut short"):
        content(make_engine(SimDisk(files | {WAL: files[WAL][: slot.length]})))


def test_what_the_collector_has_noted_can_t_be_zeros(disk):
    files = killed(disk, mark=True)
    slot, *_ = form.decode_slot(files[LIVE])
    zeros = files[WAL][: slot.length - 40].ljust(len(files[WAL]), b"\0")
    with pytest.raises(Corruption):
        content(make_engine(SimDisk(files | {WAL: zeros})))


def test_a_compaction_notes_what_is_synced(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    engine.compact()
    slot, *_ = form.decode_slot(disk.files()[LIVE])
    assert (slot.generation, slot.is_in_use) == (2, True)


def test_a_slot_that_can_t_be_written_is_a_warning(disk, caplog):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    live = disk.names[LIVE]

    def fault(call: str) -> None:
        if call == "sync" and live.pending:
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = fault
    engine.mark()
    assert "how much is synced could not be noted" in caplog.text
    put(engine, "second", b"2")


# Every log is as long as it was left.


def test_every_write_stays_inside_the_file_on_a_full_disk_too(disk):
    engine = make_engine(disk)
    for number in range(300):
        put(engine, number, b"v" * random.Random(number).randrange(90))
    fill_disk(disk)
    for number in range(300, 400):
        try:
            put(engine, number, b"v" * 40)
        except StoreFull:
            break
    gone = 0
    for number in range(300):
        try:
            delete(engine, number)
        except StoreFull:
            break
        gone += 1
        log = disk.files()[WAL]
        assert used(log) < len(log)
        assert len(log) % 2048 == 0
    assert 2 <= gone < 300
    for _ in range(20):
        engine._open.committer.mark(always=True)
    # The room for a SEAL is kept: with it a compaction can make some.
    disk.fault = lambda _call: None
    before = content(engine)
    engine.compact()
    assert content(engine) == before
    abandon(engine)
    assert content(make_engine(disk)) == before


def test_a_store_with_a_used_up_reserve_opens_after_a_kill(disk):
    engine = make_engine(disk)
    for number in range(60):
        put(engine, number, b"v" * 40)
    fill_disk(disk)
    for number in range(60):
        try:
            delete(engine, number)
        except StoreFull:
            break
    found = content(engine)
    abandon(engine)
    disk.fault = lambda _call: None
    assert content(make_engine(disk)) == found


def test_a_poison_stays_inside_the_file(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    size = len(disk.files()[WAL])

    def fault(call: str) -> None:
        if call == "sync":
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = fault
    with pytest.raises(Exception, match="sync failed"):
        put(engine, "second", b"2")
    assert len(disk.files()[WAL]) == size


@pytest.mark.parametrize("written", [1, 100, 2047, 2048])
def test_a_growth_that_a_kill_has_interrupted_opens(disk, written):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    log = disk.names[WAL]
    log.write(bytes(written), len(log.content))
    abandon(engine)
    other = make_engine(disk)
    assert content(other) == {key("first"): (b"1", FAR)}


def test_after_a_growth_that_was_interrupted_others_write_on_a_full_disk_and_are_killed(disk):
    one, other = make_engine(disk), make_engine(disk)
    for number in range(20):
        put(one, number, b"v" * 40)
    assert content(other)
    log = disk.names[WAL]
    log.write(bytes(700), len(log.content))
    abandon(one)
    fill_disk(disk)
    for number in range(20):
        try:
            delete(other, number)
        except StoreFull:
            break
    found = content(other)
    assert len(disk.files()[WAL]) % 2048 == 700
    abandon(other)
    disk.fault = lambda _call: None
    assert content(make_engine(disk)) == found


def test_a_growth_that_finds_no_room_half_way_opens(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    real = disk.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if data.count(0) == len(data):
            real(fd, data[:300], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    disk.pwrite = pwrite
    with pytest.raises(StoreFull):
        put(engine, "large", b"v" * 4000)
    delete(engine, "first")
    disk.pwrite = real
    abandon(engine)
    assert content(make_engine(disk)) == {}


def test_a_power_cut_at_any_call_of_a_growth_leaves_a_log_that_opens(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    states = [{key("first"): (b"1", FAR)}]
    states.append(states[0] | {key("large"): (b"v" * 5000, FAR)})
    tried = 0

    def cut() -> None:
        nonlocal tried
        for image in disk.crash_images(random.Random(tried), samples=3):
            tried += 1
            assert content(make_engine(SimDisk(image))) in states

    disk.watch = cut
    put(engine, "large", b"v" * 5000, sync=False)
    assert tried > 30


# Backups end with their last record.


def test_a_backup_is_as_long_as_any_log_once_it_was_opened(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    engine.close()
    files = disk.files()
    files[WAL] = files[WAL].rstrip(b"\0")
    copy = SimDisk(files)
    assert content(make_engine(copy)) == {key("first"): (b"1", FAR)}
    left = copy.files()
    assert len(left[WAL]) == 2048
    assert content(make_engine(SimDisk(left))) == {key("first"): (b"1", FAR)}


def test_a_backup_that_was_made_while_the_store_was_written_opens(disk):
    """Its slot may name an earlier record, where a former litesess made it."""
    engine = make_engine(disk)
    put(engine, "first", b"1")
    slot = engine._open.committer.mark()._replace(is_in_use=False)
    put(engine, "second", b"2")
    files = disk.files()
    copy = {WAL: files[WAL].rstrip(b"\0"), LIVE: slot.encode()}
    assert set(content(make_engine(SimDisk(copy)))) == {key("first"), key("second")}


def test_a_full_disk_opens_a_backup_and_writes_nothing_behind_its_end(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    engine.close()
    files = disk.files()
    files[WAL] = files[WAL].rstrip(b"\0")
    copy = SimDisk(files)
    fill_disk(copy)
    opened = make_engine(copy)
    assert content(opened) == {key("first"): (b"1", FAR)}
    with pytest.raises(StoreFull):
        delete(opened, "first")
    abandon(opened)
    copy.fault = lambda _call: None
    assert content(make_engine(copy)) == {key("first"): (b"1", FAR)}
