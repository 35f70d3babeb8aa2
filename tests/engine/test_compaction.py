"""Snapshots and compaction: nothing is lost, whatever fails on the way."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning  # another class, before 3.11
from contextlib import suppress

import pytest

from litesess import Corruption, StoreClosed, StoreError, StoreFull, StoreLocked
from litesess.engine import Clear, Delete, Entry, FileSystem, Hooks, Put, compactor
from litesess.engine.format import OWNER_BYTES
from litesess.engine.maintenance import Maintenance
from tests.tools.engines import (
    FAR,
    abandon,
    change,
    content,
    delete,
    key,
    make_engine,
    put,
    small_files,
    touch,
)
from tests.tools.simdisk import SimDisk


@pytest.fixture
def disk(monkeypatch):
    small_files(monkeypatch)
    return SimDisk()


def filled(disk: SimDisk, count: int = 20):
    engine = make_engine(disk)
    for number in range(count):
        put(engine, number, str(number).encode() * 3, FAR + number)
    return engine


def kinds(disk: SimDisk) -> list[str]:
    """Return what the files are, without the locks."""
    names = (name.split(".", 1)[1] for name in disk.files())
    return sorted(name for name in names if name not in ("compact", "live"))


def held_at_create(disk: SimDisk) -> tuple[threading.Event, threading.Event]:
    """Hold whoever creates the first file; return what says that, and what lets it go on."""
    begun, go = threading.Event(), threading.Event()

    def fault(call: str) -> None:
        if call == "create" and not begun.is_set():
            begun.set()
            go.wait(10)

    disk.fault = fault
    return begun, go


def wait_for_compaction(engine) -> None:
    deadline = time.monotonic() + 10
    while engine._open.compactor.background.locked():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("at", [0, 10, 31, 45, 48])
@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "replaced"])
def test_a_rotten_entry_that_counts_no_more_is_dropped(disk, caplog, at, is_deleted):
    engine, owner = filled(disk), b"o" * OWNER_BYTES
    change(engine, Put(key(7), b"old", FAR, owner))
    engine.compact()
    if is_deleted:
        delete(engine, 7)
    else:
        change(engine, Put(key(7), b"new", FAR, owner))
    expected = content(engine)
    snapshot = disk.names["sessions.0000000000000002.snapshot"].content
    snapshot[snapshot.index(key(7)) + at] ^= 1
    # Nothing that reads the store meets it.
    assert content(engine) == expected
    assert {*engine.expired(2 * FAR)} == {*expected}
    found = {found: (entry.value, entry.expires_at) for found, entry in engine.find(owner)}
    assert found == {at: kept for at, kept in expected.items() if at == key(7)}
    for like in {*engine.candidates(owner), *engine.keys_like(key(7)[:8])} - {key(7)}:
        assert engine.get(like) is None
    assert caplog.text == ""
    engine.compact()
    assert content(engine) == expected
    assert "can't be read, and goes" in caplog.text
    engine.verify()


def test_a_compaction_keeps_everything_and_empties_the_log(disk):
    engine = filled(disk)
    expected = content(engine)
    engine.compact()
    assert content(engine) == expected
    assert kinds(disk) == ["0000000000000002.snapshot", "0000000000000002.wal"]
    assert engine._open.compactor.log_bytes < 200
    abandon(engine)
    assert content(make_engine(disk)) == expected


def test_versions_outlive_a_compaction(disk):
    engine = filled(disk, 1)
    version = engine.get(key(0)).version
    engine.compact()
    assert engine.get(key(0)).version == version
    touch(engine, 0, 55.0)
    assert engine.get(key(0)) == Entry(b"000", 55.0, version)
    engine.compact()
    assert engine.get(key(0)) == Entry(b"000", 55.0, version)


def test_what_was_deleted_leaves_the_disk(disk):
    engine = filled(disk)
    put(engine, "secret", b"very secret")
    engine.compact()
    delete(engine, "secret")
    engine.compact()
    assert b"very secret" not in b"".join(disk.files().values())


def test_what_was_cleared_is_not_in_the_snapshot(disk):
    engine = filled(disk)
    engine.compact()
    change(engine, Clear())
    put(engine, "after", b"clear")
    assert set(content(engine)) == {key("after")}
    engine.compact()
    assert set(content(engine)) == {key("after")}


def test_an_empty_store_compacts(disk):
    engine = make_engine(disk)
    engine.compact()
    engine.compact()
    assert content(engine) == {}
    put(engine, "first", b"1")
    engine.close()
    assert set(content(make_engine(disk))) == {key("first")}


@pytest.mark.parametrize("seed", range(5))
def test_a_snapshot_finds_each_key_and_no_other(disk, seed):
    rng = random.Random(seed)
    engine = make_engine(disk, wal_limit=1 << 26)
    expected: dict[bytes, tuple[bytes, float]] = {}
    for _ in range(4):
        for _ in range(400):
            name = rng.randrange(900)
            if rng.random() < 0.3:
                delete(engine, name, sync=False)
                expected.pop(key(name), None)
            else:
                value, expires_at = rng.randbytes(rng.randrange(40)), FAR + rng.randrange(9)
                put(engine, name, value, expires_at, sync=False)
                expected[key(name)] = value, expires_at
        engine.compact()
        assert content(engine) == expected
        for name in range(900):
            entry = engine.get(key(name))
            found = None if entry is None else (entry.value, entry.expires_at)
            assert found == expected.get(key(name))


def test_keys_that_share_a_prefix_are_told_apart(disk):
    engine = make_engine(disk)
    keys = [bytes(31) + bytes([number]) for number in range(20)]
    for place in keys[:10]:
        change(engine, Put(place, place[-1:], FAR))
    engine.compact()
    for place in keys[5:15]:
        change(engine, Put(place, b"new" + place[-1:], FAR))
    engine.compact()
    assert [engine.get(place) and engine.get(place).value for place in keys] == [
        *(place[-1:] for place in keys[:5]),
        *(b"new" + place[-1:] for place in keys[5:15]),
        *[None] * 5,
    ]


def test_what_has_expired_is_found_in_log_and_snapshot(disk):
    engine = make_engine(disk)
    for number in range(10):
        put(engine, number, b"x", float(number))
    engine.compact()
    for number in range(10, 20):
        put(engine, number, b"x", float(number))
    touch(engine, 1, FAR)
    touch(engine, 9, 3.0)
    expired = {key(number) for number in [0, 2, 3, 4, 5, 9]}
    assert set(engine.expired(5.0)) == expired
    assert set(engine.expired(12.0)) == {key(n) for n in range(13)} - {key(1)}


def test_a_reader_goes_on_with_what_it_began_while_files_go(disk):
    engine = filled(disk)
    reading = engine.scan()
    first = next(reading)
    engine.compact()
    engine.compact()
    rest = dict(reading)
    assert len({first[0], *rest}) == 20


def test_a_key_that_is_put_during_a_scan_is_not_passed_over(disk):
    engine = filled(disk)
    engine.compact()
    reading = engine.scan()
    seen = {next(reading)[0]}
    for number in range(20):
        put(engine, number, b"again")
    seen |= {found for found, _ in reading}
    assert seen == {key(number) for number in range(20)}


def test_sequence_numbers_run_on_through_generations(disk):
    engine = filled(disk, 3)
    engine.compact()
    last = put(engine, "after", b"x")
    engine.close()
    again = make_engine(disk)
    assert put(again, "more", b"x") == last + 2  # the MARK of the close stands between


# It begins by itself.


def test_a_log_beyond_its_limit_is_compacted_in_the_background(disk):
    engine = make_engine(disk, wal_limit=4096)
    for number in range(60):
        put(engine, number, b"x" * 60)
        wait_for_compaction(engine)
    assert engine._open.follower.current.log.header.generation > 1
    assert engine._open.compactor.log_bytes <= 4096 + 200
    assert len(content(engine)) == 60
    assert len(kinds(disk)) == 2


def test_a_writer_that_is_quicker_than_the_background_compacts_in_silence(disk, caplog):
    engine = make_engine(disk, wal_limit=1024)
    for number in range(20):
        put(engine, number, b"x" * 60)
        wait_for_compaction(engine)
    before = engine._open.follower.current.log.header.generation
    engine._open.compactor.background.acquire()  # as one that has much to do
    for number in range(60):
        put(engine, number, b"x" * 60)
    assert engine._open.follower.current.log.header.generation > before > 1
    assert not caplog.records


def test_a_log_far_beyond_its_limit_is_compacted_by_its_writer(disk, caplog):
    engine = make_engine(disk, wal_limit=1024)
    put(engine, "first", b"1")
    engine._open.compactor.background.acquire()  # as where no thread can run
    for number in range(60):
        put(engine, number, b"x" * 60)
    assert engine._open.follower.current.log.header.generation > 1
    assert "nobody compacts it" in caplog.text
    assert len(content(engine)) == 61


def test_a_long_log_gets_a_fifth_of_the_snapshot_however_large_that_is(disk, monkeypatch):
    monkeypatch.setattr(compactor, "_LONG", 4096)
    engine = make_engine(disk, wal_limit=1024)
    for count, share in (20, 2), (200, 5), (800, 5):
        for number in range(count):
            put(engine, number, b"x" * 200, sync=False)
        engine.compact()
        snapshot = engine._open.follower.current.view.snapshot
        assert engine._open.compactor.limit == snapshot.size // share


def test_the_limit_grows_with_the_snapshot(disk):
    engine = make_engine(disk, wal_limit=1024)
    put(engine, "first", b"1" * 1_000_000)
    wait_for_compaction(engine)
    engine.compact()
    assert engine._open.compactor.limit > 400_000


def test_what_is_called_before_a_compaction_may_write(disk):
    hooks = Hooks(before_compaction=lambda: delete(engine, "first"))
    engine = make_engine(disk, wal_limit=1024, hooks=hooks)
    put(engine, "first", b"1")
    for number in range(20):
        put(engine, number, b"x" * 60)
    wait_for_compaction(engine)
    assert engine.get(key("first")) is None
    assert engine._open.follower.current.log.header.generation > 1


def test_closing_does_not_wait_for_a_long_compaction(disk):
    engine = filled(disk, 200)
    begun, go = held_at_create(disk)
    errors = []

    def compact() -> None:
        try:
            engine.compact()
        except StoreError as error:
            errors.append(error)

    compacting = threading.Thread(target=compact)
    compacting.start()
    begun.wait(10)
    opened = engine._open
    closing = threading.Thread(target=engine.close)
    closing.start()
    while not opened.maintenance.is_closing:
        time.sleep(0.001)
    go.set()
    closing.join(10)
    compacting.join(10)
    assert len(errors) == 1
    assert not any(name.endswith(".tmp") for name in disk.files())
    assert len(content(make_engine(disk))) == 200


def test_who_asks_for_a_compaction_waits_for_a_thread_that_is_at_it(disk):
    """However long that takes: ``lock_timeout`` is for other processes."""
    engine = make_engine(disk, lock_timeout=0.001)
    put(engine, 1, b"x")
    begun, go = held_at_create(disk)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(engine.compact)
        begun.wait(10)
        second = pool.submit(engine.compact)
        with suppress(StillRunning):
            second.result(0.05)
        assert not second.done()
        go.set()
        first.result(10)
        second.result(10)
    assert engine.stats().compactions == 2


def test_who_may_not_wait_is_told_that_it_may_be_a_thread(disk):
    engine = make_engine(disk, lock_timeout=0)
    put(engine, 1, b"x")
    begun, go = held_at_create(disk)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(engine.compact)
        begun.wait(10)
        try:
            with pytest.raises(StoreLocked, match="by another thread or process"):
                engine.compact()
        finally:
            go.set()
        first.result(10)


def test_a_merge_lets_others_run_as_often_as_its_work_is_long(disk, monkeypatch):
    """Not once for each entry: that would take longer than the rest of it."""
    engine = filled(disk, 500)
    engine.compact()
    for number in range(500, 1000):  # among the others, as keys are hashes
        put(engine, number, b"x")
    pauses = []
    monkeypatch.setattr(Maintenance, "pause", lambda _self: pauses.append(1))
    engine.compact()
    assert 500 // 64 < len(pauses) < 60
    assert len(content(engine)) == 1000


@pytest.mark.parametrize("is_compacted", [False, True])
def test_who_looks_for_what_has_expired_lets_others_run_and_the_store_be_closed(disk, is_compacted):
    engine = filled(disk, 200)
    if is_compacted:
        engine.compact()
    found = engine.expired(2 * FAR)
    assert next(found)
    engine.close()
    with pytest.raises(StoreClosed):
        list(found)


def test_who_finds_nothing_that_has_expired_lets_others_run_too(disk, monkeypatch):
    engine = filled(disk, 200)
    engine.compact()
    pauses = []
    monkeypatch.setattr(Maintenance, "pause", lambda _self: pauses.append(1))
    assert list(engine.expired(0.0)) == []
    assert pauses


# It fails.


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_compaction_that_fails_at_any_call_loses_nothing(disk, number):
    at = 0
    while True:
        at += 1
        fresh = SimDisk()
        engine = filled(fresh, 5)
        engine.compact()
        put(engine, "new", b"x")
        expected = content(engine)
        calls = 0

        def fault(call: str, at: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(number, os.strerror(number))

        fresh.fault = fault
        with suppress(StoreError):  # not if a log can't be mapped: it is read
            engine.compact()
        fresh.fault = lambda call: None
        assert content(engine) == expected
        if not engine._open.committer._appender.is_poisoned:
            put(engine, "more", b"y")
            expected[key("more")] = b"y", FAR
            engine.compact()
            assert content(engine) == expected
            assert not any(name.endswith(".tmp") for name in fresh.files())
        twin = fresh.twin()
        abandon(engine)
        again = make_engine(twin)
        assert content(again) == expected
        again.compact()
        assert content(again) == expected
        assert len(kinds(twin)) == 2, kinds(twin)
        if calls < at:
            break
    assert at > 30


def test_a_failed_compaction_in_the_background_is_logged_and_tried_again(disk, caplog):
    engine = make_engine(disk, wal_limit=2048)
    put(engine, "first", b"1")
    failing = True

    def fault(call: str) -> None:
        if call == "rename" and failing:
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = fault
    for number in range(30):
        put(engine, number, b"x" * 60)
        wait_for_compaction(engine)
    assert "will retry" in caplog.text
    failing = False
    for number in range(60):
        put(engine, number, b"x" * 60)
        wait_for_compaction(engine)
    assert len(kinds(disk)) == 2
    assert len(content(engine)) == 61


def test_a_next_log_that_was_never_reached_is_taken_away_at_the_next_opening(disk):
    engine = filled(disk)
    expected = content(engine)

    def fault(call: str) -> None:
        if call == "pwrite" and "sessions.0000000000000002.wal" in disk.names:
            raise KeyboardInterrupt  # before the SEAL is written

    disk.fault = fault
    with pytest.raises(KeyboardInterrupt):
        engine.compact()
    disk.fault = lambda call: None
    put(engine, "more", b"x")
    engine.compact()
    put(engine, "last", b"x")
    expected |= {key("more"): (b"x", FAR), key("last"): (b"x", FAR)}
    assert content(engine) == expected
    engine.close()
    again = make_engine(disk)
    assert content(again) == expected
    assert "0000000000000002.wal" not in kinds(disk)


# Damage.


def snapshot_of(disk: SimDisk) -> str:
    (name,) = [name for name in disk.files() if name.endswith(".snapshot")]
    return name


def test_a_damaged_value_in_a_snapshot_is_corruption_when_it_is_read(disk):
    engine = filled(disk)
    engine.compact()
    engine.close()
    files = disk.files()
    name = snapshot_of(disk)
    at = files[name].index(b"777")
    damaged = bytearray(files[name])
    damaged[at] ^= 1
    again = make_engine(SimDisk(files | {name: bytes(damaged)}))
    assert again.get(key(8)).value == b"888"
    with pytest.raises(Corruption, match="entry checksum") as caught:
        again.get(key(7))
    assert caught.value.path == f"/store/{name}"


def test_a_damaged_snapshot_is_never_passed_over_for_an_older_state(disk):
    engine = filled(disk)
    engine.compact()
    engine.close()
    files = disk.files()
    name = snapshot_of(disk)
    for at in [5, 30, len(files[name]) - 80, len(files[name]) - 30]:
        damaged = bytearray(files[name])
        damaged[at] ^= 1
        with pytest.raises(Corruption):
            content(make_engine(SimDisk(files | {name: bytes(damaged)})))


def test_a_missing_snapshot_is_corruption(disk):
    engine = filled(disk)
    engine.compact()
    engine.close()
    files = disk.files()
    del files[snapshot_of(disk)]
    with pytest.raises(Corruption, match="is missing"):
        content(make_engine(SimDisk(files)))


def test_a_snapshot_without_its_log_is_corruption(disk):
    engine = filled(disk)
    engine.compact()
    abandon(engine)
    files = disk.files()
    del files["sessions.0000000000000002.wal"]
    with pytest.raises(Corruption, match="is missing"):
        content(make_engine(SimDisk(files)))


def test_where_nothing_can_be_mapped_snapshots_are_read(disk):
    def fault(call: str) -> None:
        if call == "map":
            raise OSError(errno.ENODEV, "No such device")

    disk.fault = fault
    engine = make_engine(disk)
    for turn in range(3):
        for number in range(20):
            put(engine, number, str(turn).encode())
        delete(engine, turn)
        engine.compact()
        assert len(content(engine)) == 19
    abandon(engine)
    assert content(make_engine(disk)) == content(make_engine(disk.twin()))
    assert len(kinds(disk)) == 2


def test_an_emptied_store_is_compacted_on_a_full_disk(disk, monkeypatch):
    """Also if a compaction has failed before, so that what was deleted stands in sealed files."""
    engine = make_engine(disk)
    for number in range(40):
        put(engine, number, b"x" * 100)
    engine.compact()
    files = disk.files()
    log, snapshot = (
        len(files[f"sessions.0000000000000002.{kind}"]) for kind in ("wal", "snapshot")
    )
    real, room = disk.pwrite, 0

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        nonlocal room
        end = len(disk.open_files[fd].content)
        grown = max(offset + len(data) - end, 0)
        if grown > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        room -= grown
        return real(fd, data, offset)

    disk.pwrite = pwrite
    room = log + snapshot // 2
    other = make_engine(disk)
    with pytest.raises(StoreFull):
        engine.compact()
    assert other.count() == 40
    delete(engine, 0)
    engine.mark()  # the other process meets this when there is a snapshot already
    for number in range(40):
        delete(engine, number)
    room = 1000
    engine.compact()  # the snapshot of nothing is smaller than that
    assert not content(engine)
    assert other.count() == 0
    assert not content(other)
    abandon(other)
    abandon(engine)
    assert not content(make_engine(disk.twin()))


def test_an_open_snapshot_is_read_by_index(tmp_path):
    engine = make_engine(path=str(tmp_path / "data"), wal_limit=1 << 26)
    for number in range(2000):
        put(engine, number, b"x" * 1000, sync=False)
    engine.compact()
    engine.close()
    read: list[int] = []

    class Counting(FileSystem):
        @staticmethod
        def pread(fd: int, size: int, offset: int) -> bytes:
            data = os.pread(fd, size, offset)
            read.append(len(data))
            return data

    again = make_engine(Counting(), str(tmp_path / "data"))
    assert again.get(key(17)).value == b"x" * 1000
    # The reserved part of the log, twice, and next to nothing of the snapshot.
    assert sum(read) < 1_200_000
    assert again._open.follower.current.view.snapshot.size > 2_000_000
    again.close()


@pytest.mark.slow
def test_disk_memory_and_descriptors_stay_bounded_while_sessions_come_and_go(tmp_path):
    limit = 1 << 18
    engine = make_engine(path=str(tmp_path), wal_limit=limit)
    rng = random.Random(7)
    descriptors, largest, live_bytes = set(), 0, 500 * 380
    for cycle in range(40):
        for number in range(500):
            put(engine, (cycle, number), rng.randbytes(380), cycle, sync=False)
        for start in range(0, 500, 50):
            doomed = [Delete(key((cycle - 1, start + n)), True) for n in range(50)]
            change(engine, *doomed, sync=False)
        assert list(engine.expired(cycle - 1)) == []
        wait_for_compaction(engine)
        descriptors.add(len(os.listdir("/proc/self/fd")))
        largest = max(largest, sum(item.stat().st_size for item in tmp_path.iterdir()))
    tables = engine._open.follower.current.view.tables
    in_memory = sum(len(table.puts) + len(table.touches) for table in tables)
    engine.close()
    assert len(descriptors) <= 2, "a snapshot's is there from the first compaction on"
    assert largest <= 3 * live_bytes + 4 * limit
    assert in_memory <= 4 * limit // 100
    print(f"40 cycles of 500 sessions: at most {largest} bytes for {live_bytes} live ones")


def test_a_temporary_file_that_was_left_behind_is_in_nobodys_way(disk):
    engine = filled(disk)
    disk.create(3, "sessions.0000000000000002.wal.tmp")
    disk.create(3, "sessions.0000000000000002.snapshot.tmp")
    engine.compact()
    assert len(kinds(disk)) == 2


def test_a_damaged_value_keeps_nothing_from_being_collected_or_compacted(disk, caplog):
    engine = make_engine(disk)
    for number in range(10):
        put(engine, number, str(number).encode() * 9, 5.0)
    engine.compact()
    engine.close()
    files = disk.files()
    name = snapshot_of(disk)
    damaged = bytearray(files[name])
    damaged[damaged.index(b"7" * 9)] ^= 1
    again = make_engine(SimDisk(files | {name: bytes(damaged)}))
    assert set(again.expired(6.0)) == {key(number) for number in range(10)} - {key(7)}
    assert "can't be collected" in caplog.text
    delete(again, 1)
    again.compact()
    with pytest.raises(Corruption):
        again.get(key(7))


def test_a_read_during_a_compaction_is_not_told_that_the_log_was_deleted(disk):
    engine = filled(disk)
    engine.get(key(1))
    exists = disk.exists

    def compact_first(directory: int, name: str) -> bool:
        disk.exists = exists
        other.compact()
        return exists(directory, name)

    other = make_engine(disk)
    other.get(key(1))
    disk.exists = compact_first
    assert engine.get(key(1)).value == b"111"


def test_a_store_open_for_reading_is_not_compacted_and_follows_its_writer(disk):
    engine = filled(disk)
    reader = make_engine(disk, read_only=True)
    assert reader.get(key(1)).value == b"111"
    before = disk.files()
    with pytest.raises(StoreError, match="only for reading"):
        reader.compact()
    assert disk.files() == before
    put(engine, 1, b"new")
    engine.compact()
    assert reader.get(key(1)).value == b"new"


def test_a_generation_is_not_used_again_where_the_directory_is_not_listed(disk):
    """Some network file systems list an open directory once, and then nothing."""
    engine = filled(disk)
    disk.list = lambda _directory: []
    engine.compact()
    put(engine, "after", b"x")
    assert len(content(engine)) == 21
    assert "sessions.0000000000000002.wal" in disk.files()
