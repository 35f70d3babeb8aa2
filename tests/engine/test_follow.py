"""Engines that share a directory: each follows what the others write."""

from __future__ import annotations

import errno
import os
import random
import threading
from itertools import count

import pytest

from litesess import Corruption, StoreError, StoreFailed, StoreFull, StoreLocked, WALStore
from litesess.engine import Clear, Entry, FileSystem, Put
from litesess.engine import format as form
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

WAL = "sessions.0000000000000001.wal"


@pytest.fixture
def disk(monkeypatch):
    small_files(monkeypatch)
    return SimDisk()


@pytest.fixture
def two(disk):
    """Two engines with the store open."""
    engines = make_engine(disk), make_engine(disk)
    put(engines[0], "first", b"1")
    assert engines[1].get(key("first")).value == b"1"
    return engines


def end_of(engine) -> int:
    return engine._open.compactor.log_bytes


def generation(engine) -> int:
    return engine._open.follower.current.log.header.generation


def test_each_sees_at_once_what_the_other_did(two):
    one, other = two
    version = put(one, "a", b"1")
    assert other.get(key("a")) == Entry(b"1", FAR, version)
    touch(other, "a", 7.0)
    assert one.get(key("a")).expires_at == 7.0
    delete(one, "a")
    assert other.get(key("a")) is None
    change(other, Clear())
    assert content(one) == {}


def test_plans_build_on_what_the_other_wrote(two):
    def increment(stored):
        number = int(stored.get(key("first")).value)
        return [Put(key("first"), b"%d" % (number + 1), FAR)], None

    for number in range(10):
        two[number % 2].transact(increment, sync=True)
    assert two[0].get(key("first")).value == b"11"


@pytest.mark.parametrize("compactions", [1, 2, 3])
@pytest.mark.parametrize("operation", ["get", "put", "scan"])
def test_who_slept_through_compactions_sees_all_that_came_since(two, compactions, operation):
    one, other = two
    for number in range(compactions):
        put(one, number, b"x")
        one.compact()
        put(one, "first", b"after %d" % number)
    if operation == "put":
        put(other, "mine", b"y")
    elif operation == "scan":
        assert content(other)[key("first")] == (b"after %d" % (compactions - 1), FAR)
    assert other.get(key("first")).value == b"after %d" % (compactions - 1)
    assert generation(other) == compactions + 1
    assert content(one) == content(other)


def test_who_follows_lets_go_of_what_a_compaction_has_merged(two, disk):
    one, other = two
    for number in range(5):
        put(one, number, b"x")
        one.compact()
        other.get(key(number))
    named = [disk.root, *disk.names.values()]
    assert [inode for inode in disk.open_files.values() if inode not in named] == []


def test_both_may_compact_in_turn(two):
    for number in range(6):
        put(two[number % 2], number, b"x")
        two[number % 3 % 2].compact()
    assert len(content(two[0])) == 7
    assert content(two[0]) == content(two[1])


def test_a_compaction_finds_the_snapshot_of_one_who_was_killed_before_he_could_say(two, disk):
    one, other = two
    unlinks = count()

    def fault(call: str) -> None:
        if call == "sync_directory" and "sessions.0000000000000002.snapshot" in disk.names:
            next(unlinks)
            raise KeyboardInterrupt  # as good as a kill: nothing more is done

    disk.fault = fault
    with pytest.raises(KeyboardInterrupt):
        one.compact()
    disk.fault = lambda call: None
    assert next(unlinks) == 1
    put(other, "second", b"2")
    other.compact()
    assert set(content(other)) == {key("first"), key("second")}
    assert sorted(name.split(".", 1)[1] for name in disk.names) == [
        "0000000000000003.snapshot",
        "0000000000000003.wal",
        "compact",
        "live",
    ]


def test_a_published_snapshot_that_is_damaged_is_refused_by_who_follows(two, disk):
    one, other = two
    exists = disk.rename

    def rename(directory, old, new):
        exists(directory, old, new)
        if new.endswith(".snapshot"):
            content = disk.names[new].content
            content[len(content) - 40] ^= 1

    disk.rename = rename
    one.compact()
    for _ in range(2):
        with pytest.raises(Corruption) as caught:
            other.get(key("first"))
        assert caught.value.path.endswith("2.snapshot")


# Half a record.


def half_written(disk, *, sequence: int = 2) -> tuple[bytes, int]:
    """Let another process be half-way through a record; return the record and where it begins."""
    inode = disk.names[WAL]
    end = len(bytes(inode.content).rstrip(b"\0"))
    salt = form.decode_header(bytes(inode.content), WAL, form.WAL_MAGIC)[0].salt
    payload = form.encode_changes([Put(key("half"), b"h" * 200, FAR)])[2]
    record = form.encode_record(form.crc32(salt), None, form.PUT, 0, payload, sequence, 0, 0)
    inode.write(record[:50], end)
    return record, end


def test_what_is_half_written_is_the_end_for_now(two, disk):
    one, other = two
    record, end = half_written(disk)
    assert one.get(key("half")) is None
    disk.names[WAL].write(record[50:], end + 50)
    assert one.get(key("half")).value == b"h" * 200
    assert other.get(key("half")).value == b"h" * 200


def test_what_a_killed_writer_left_half_way_is_kept_aside_and_written_over(two, disk, caplog):
    one, other = two
    record, _ = half_written(disk)
    put(one, "second", b"2")
    assert "is no record" in caplog.text
    assert disk.files()["sessions.0000000000000001.torn"] == record[:50]
    assert set(content(other)) == {key("first"), key("second")}
    abandon(one)
    abandon(other)
    assert set(content(make_engine(disk))) == {key("first"), key("second")}


def test_one_who_only_reads_has_a_bad_end_judged_if_it_stays_bad(two, disk):
    one, _ = two
    _, end = half_written(disk)
    now = [0.0]
    one._opened().reader._monotonic = lambda: now[0]
    one.get(key("first"))
    assert any(disk.files()[WAL][end:])
    now[0] = 1.0
    assert one.get(key("first")).value == b"1"
    assert not any(disk.files()[WAL][end:])
    assert one._open.follower.current.bad is None


def test_a_record_behind_a_bad_spot_is_corruption_for_who_writes_and_who_reads(two, disk):
    one, other = two
    one.get(key("first"))
    put(other, "second", b"2" * 100)
    at = end_of(one)
    put(other, "third", b"3")
    disk.names[WAL].content[at + 60] ^= 1  # not followed by the first engine yet
    now = [0.0]
    one._opened().reader._monotonic = lambda: now[0]
    one.get(key("first"))
    now[0] = 1.0
    for operation in (lambda: one.get(key("first")), lambda: put(one, "fourth", b"4")):
        now[0] += 1
        with pytest.raises(Corruption, match="a record follows") as caught:
            operation()
        assert caught.value.offset == at


# A sync fails.


def test_a_failed_sync_stops_the_others_and_those_that_start_later(two, disk):
    one, other = two

    def fault(call: str) -> None:
        if call == "sync":
            disk.fault = lambda _call: None
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = fault
    with pytest.raises(StoreFailed, match="sync failed"):
        put(one, "second", b"2")
    late = make_engine(disk)
    for engine in (one, other, late):
        assert engine.get(key("first")).value == b"1"
    for engine in (one, other, late):
        with pytest.raises(StoreFailed, match="start them again"):
            put(engine, "third", b"3")
        with pytest.raises(StoreFailed):
            engine.compact()
        engine.close()
    again = make_engine(disk)
    put(again, "third", b"3")
    assert again.get(key("first")).value == b"1"
    assert WAL not in disk.names


def test_who_joins_makes_durable_what_he_shows(two, disk):
    put(two[0], "second", b"2", sync=False)
    late = make_engine(disk)
    assert late.get(key("second")).value == b"2"
    assert not disk.names[WAL].pending


def test_nobody_writes_behind_a_seal_that_is_not_durable(two, disk):
    """The one that seals is interrupted before its sync, and another goes on in the next log."""
    one, other = two
    sealed: list[bool] = []

    def fault(call: str) -> None:
        writes = disk.names[WAL].pending if WAL in disk.names else []
        if call == "sync" and writes and writes[-1][1][2:3] == bytes([form.SEAL]) and not sealed:
            sealed.append(True)
            put(other, "second", b"2")
            for image in disk.crash_images(random.Random(1), samples=5):
                found = content(make_engine(SimDisk(image)))
                assert found[key("second")] == (b"2", FAR)

    disk.fault = fault
    one.compact()
    assert sealed


# A write fails half-way.


def start_behind_a_leader(engine, disk, works) -> list[threading.Thread]:
    """Start *works* in threads while another transaction of the engine syncs, in that order."""
    waiting = engine._open.committer._waiting
    leader = threading.Thread(target=put, args=(engine, "leader", b"l"))
    threads = [threading.Thread(target=work) for work in works]
    started = threading.Event()

    def fault(call: str) -> None:
        if call == "sync" and not started.is_set():
            for number, thread in enumerate(threads, 2):
                thread.start()
                while len(waiting) < number:
                    os.sched_yield()
            started.set()

    disk.fault = fault
    leader.start()
    started.wait(10)
    return [leader, *threads]


def test_of_a_batch_that_fails_half_way_what_others_may_have_seen_stands(two, disk):
    one, other = two
    real = disk.pwrite
    outcomes: dict[str, str] = {}

    def attempt(name: str, work) -> None:
        try:
            work()
            outcomes[name] = "committed"
        except StoreFull:
            outcomes[name] = "refused"

    def pwrite(fd, data, offset):
        if len(data) > 900:
            real(fd, data[:400], offset)
            assert other.get(key("a")).value == b"a" * 10  # followed by somebody
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    disk.pwrite = pwrite
    threads = start_behind_a_leader(
        one,
        disk,
        [
            lambda: attempt("a", lambda: put(one, "a", b"a" * 10)),
            lambda: attempt("b", lambda: put(one, "b", b"b" * 900)),
            # It changes nothing, but has seen what the one before it wanted.
            lambda: attempt(
                "look", lambda: one.transact(lambda it: ([], it.get(key("b"))), sync=True)
            ),
        ],
    )
    for thread in threads:
        thread.join()
    disk.pwrite = real
    assert outcomes == {"a": "committed", "b": "refused", "look": "refused"}
    put(other, "c", b"c")
    assert content(one) == content(other)
    assert set(content(one)) == {key(name) for name in ("first", "leader", "a", "c")}
    images = disk.crash_images(random.Random(1), samples=5)
    assert all(key("a") in content(make_engine(SimDisk(image))) for image in images)


# Failures that a review has found.


def fail_next_sync(disk) -> None:
    def fault(call: str) -> None:
        if call == "sync":
            disk.fault = lambda _call: None
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = fault


def is_sealed(disk) -> bool:
    writes = disk.names[WAL].pending if WAL in disk.names else []
    return bool(writes) and writes[-1][1][2:3] == bytes([form.SEAL])


def test_what_a_failed_sync_says_behind_a_seal_that_is_lost_costs_nothing(two, disk):
    one, other = two

    def fault(call: str) -> None:
        if call == "sync" and is_sealed(disk):
            raise KeyboardInterrupt  # as good as a kill

    disk.fault = fault
    with pytest.raises(KeyboardInterrupt):
        one.compact()
    abandon(one)
    fail_next_sync(disk)
    with pytest.raises(StoreFailed):
        put(other, "second", b"2")
    images = list(disk.crash_images(random.Random(1), samples=3))
    assert len(images) > 5
    for image in images:
        assert content(make_engine(SimDisk(image))) == {key("first"): (b"1", FAR)}


def test_who_can_t_make_durable_what_is_there_lets_nobody_build_on_it(two, disk):
    one, other = two
    put(one, "lost", b"2" * 100, sync=False)
    fail_next_sync(disk)
    late = make_engine(disk)
    with pytest.raises(StoreFailed):
        late.get(key("first"))
    for engine in (late, one, other):
        assert engine.get(key("first")).value == b"1"
        with pytest.raises(StoreFailed, match="start them again"):
            put(engine, "third", b"3")


@pytest.mark.parametrize("kind", ["ext4", "nfs4"])
def test_a_seal_that_was_written_though_the_write_failed_stands(disk, kind):
    disk.type_of = lambda _path: kind
    engine = make_engine(disk)
    put(engine, "first", b"1")
    real = disk.pwrite

    def pwrite(fd, data, offset):
        real(fd, data, offset)
        if data[2:3] == bytes([form.SEAL]):
            disk.pwrite = real
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)

    disk.pwrite = pwrite
    with pytest.raises(StoreFull):
        engine.compact()
    put(engine, "second", b"2")
    assert generation(engine) == 2
    assert set(content(make_engine(disk.twin()))) == {key("first"), key("second")}


def test_where_only_one_process_writes_nothing_is_made_of_mapped_memory(disk):
    disk.type_of = lambda _path: "9p"
    disk.shares_memory = lambda _path, *, read_only: False
    disk.map_shared = lambda fd, size: pytest.fail("mapped")
    engine = make_engine(disk)
    for number in range(3):
        put(engine, number, b"x")
    assert len(content(engine)) == 3
    engine.compact()
    assert len(content(make_engine(disk.twin()))) == 3


def test_a_bad_end_is_put_right_whatever_readers_are_doing(two, disk):
    """A reader that was just looking at it once hid it from the writer."""
    one, _ = two
    half_written(disk)
    follower = one._open.follower
    bad = follower.catch_up().bad
    assert bad is not None
    for noted in (None, bad._replace(offset=70)):
        follower.current.bad = noted  # as a reader may have it for a moment
        put(one, "second", b"2")
        assert set(content(one)) == {key("first"), key("second")}
        half_written(disk, sequence=3)
    abandon(one)
    assert set(content(make_engine(disk.twin()))) == {key("first"), key("second")}


def test_damage_is_said_at_every_read_once_it_was_found(two, disk):
    one, other = two
    put(other, "second", b"2" * 100)
    one.get(key("first"))
    at = end_of(one)
    delete(other, "first")
    put(other, "third", b"3")
    disk.names[WAL].content[at + 40] ^= 1
    now = [0.0]
    one._opened().reader._monotonic = lambda: now[0]
    one.get(key("first"))
    for _ in range(5):
        now[0] += 1
        with pytest.raises(Corruption):
            one.get(key("first"))


def test_a_process_that_is_not_known_of_keeps_others_from_compacting_and_recovering(tmp_path):
    path = str(tmp_path / "data")
    old = make_engine(path=path)
    put(old, "first", b"1")
    with old.maintenance() as is_ours:
        assert is_ours
        os.unlink(f"{path}/sessions.live")
        new = make_engine(path=path)
        with pytest.raises(StoreLocked, match="stop that process"):
            new.get(key("first"))
        put(old, "second", b"2")
    assert set(content(new)) == {key("first"), key("second")}
    old.compact()
    put(new, "third", b"3")
    assert content(old) == content(new)
    old.close()
    new.close()


def test_an_idle_process_lets_go_of_what_was_merged_when_its_turn_to_collect_comes(tmp_path):
    path = str(tmp_path / "data")
    idle = WALStore(path)
    len(idle)
    other = make_engine(path=path)
    for number in range(3):
        put(other, number, b"x")
        other.compact()
    with other.maintenance():
        assert idle.collect() == 0
    deleted = [
        link
        for name in os.listdir("/proc/self/fd")
        if (link := _link(name)).startswith(path) and link.endswith("(deleted)")
    ]
    assert deleted == []
    idle.close()
    other.close()


def _link(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:
        return ""


def test_a_forked_child_holds_no_file_of_a_store_that_a_thread_was_reading(tmp_path):
    path = str(tmp_path / "data")
    engine = make_engine(path=path)
    for number in range(5):
        put(engine, number, b"x")
    engine.compact()
    put(engine, "last", b"x")
    reading = engine.scan()
    next(reading)  # its frame keeps the logs alive, in the child too
    pid = os.fork()
    if pid == 0:
        held = [
            link for name in os.listdir("/proc/self/fd") if (link := _link(name)).startswith(path)
        ]
        os._exit(len(held))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(list(reading)) == 5
    engine.close()


def test_a_forked_child_holds_no_file_of_a_compaction(tmp_path):
    path = str(tmp_path / "data")
    held: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            links = map(_link, os.listdir("/proc/self/fd"))
            os._exit(sum(link.startswith(path) for link in links))
        held.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    class Forking(FileSystem):
        @staticmethod
        def sync(fd: int) -> None:
            FileSystem.sync(fd)
            fork()

        @staticmethod
        def rename(directory: int, old: str, new: str) -> None:
            FileSystem.rename(directory, old, new)
            fork()

    engine = make_engine(path=path)
    for number in range(5):
        put(engine, number, b"x")
    engine.compact()  # so that there is a snapshot to merge
    engine.close()
    engine = make_engine(Forking(), path)
    put(engine, "last", b"x")
    held.clear()
    engine.compact()
    assert len(held) > 6
    assert {*held} == {0}
    assert len(content(engine)) == 6
    engine.close()


def test_a_directory_without_a_store_is_not_called_damaged(tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    with pytest.raises(StoreError, match="no store yet") as caught:
        make_engine(path=str(path), read_only=True).get(key("first"))
    assert not isinstance(caught.value, Corruption)


# Only reading.


def test_a_store_opened_for_reading_shows_what_others_write(two, disk):
    reader = make_engine(disk, read_only=True)
    assert reader.get(key("second")) is None
    put(two[0], "second", b"2")
    assert reader.get(key("second")).value == b"2"
    two[1].compact()
    two[1].compact()
    put(two[1], "third", b"3")
    assert set(content(reader)) == {key("first"), key("second"), key("third")}


# What an administrator may do.


def test_a_deleted_presence_lock_parts_no_writers(tmp_path):
    path = str(tmp_path / "data")
    old = make_engine(path=path, lock_timeout=5)
    put(old, "first", b"1")
    os.unlink(f"{path}/sessions.live")
    new = make_engine(path=path, lock_timeout=5)
    put(new, "second", b"2")
    put(old, "third", b"3")
    put(new, "fourth", b"4")
    assert set(content(old)) == {key(name) for name in ("first", "second", "third", "fourth")}
    assert content(new) == content(old)
    old.close()
    put(new, "fifth", b"5")
    new.close()
    assert len(content(make_engine(path=path))) == 5


def test_a_deleted_maintenance_lock_lets_nobody_compact_beside_another(tmp_path):
    path = str(tmp_path / "data")
    old = make_engine(path=path)
    put(old, "first", b"1")
    os.unlink(f"{path}/sessions.compact")
    new = make_engine(path=path)
    put(new, "second", b"2")
    with new.maintenance() as is_new, old.maintenance() as is_old:
        assert (is_new, is_old) == (True, False)
    old.compact()
    assert content(new) == content(old)
    old.close()
    new.close()


def test_workers_that_join_at_once_read_the_log_side_by_side(two, disk):
    second, third = make_engine(disk), make_engine(disk)
    held: list[bytes] = []

    def fault(call: str) -> None:
        # While the second reads the log, the third joins from beginning to end.
        if call == "pread" and second._open is None and not held:
            held.append(b"")
            disk.fault = lambda _call: None
            held.append(third.get(key("first")).value)

    disk.fault = fault
    assert second.get(key("first")).value == b"1"
    assert held == [b"", b"1"]


def test_a_store_has_no_first_opener_while_somebody_joins_it(two, disk):
    one, other = two
    joining, late = make_engine(disk), make_engine(disk)
    killed: list[object] = []

    def fault(call: str) -> None:
        # All that had it open are killed; who comes next must not put it right meanwhile.
        if call == "pread" and not killed:
            killed.append(None)
            disk.fault = lambda _call: None
            abandon(one)
            abandon(other)
            put(late, "late", b"2")
            killed.append(generation(late))

    put(one, "more", b"m", sync=False)
    disk.fault = fault
    assert joining.get(key("late")).value == b"2"
    assert joining.get(key("more")).value == b"m"
    assert killed[1:] == [1]
