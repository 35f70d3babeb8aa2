"""Group commit, durability, and what a failing disk does to a commit."""

from __future__ import annotations

import errno
import os
import random
import threading
import time

import pytest

from litesess import StoreClosed, StoreError, StoreFailed, StoreFull
from litesess.engine import Clear, Delete, Entry, Put, Touch, batch, log
from litesess.engine import format as form
from litesess.engine.replay import replay
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


def fail(name: str, number: int, *more: int):
    """Return a fault: the next call of that name fails with that errno."""
    numbers = [number, *more]

    def fault(call: str) -> None:
        if call == name and numbers:
            error = numbers.pop(0)
            raise OSError(error, os.strerror(error))

    return fault


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def disk(monkeypatch):
    small_files(monkeypatch)
    return SimDisk()


@pytest.fixture
def engine(disk):
    engine = make_engine(disk)
    put(engine, "first", b"1")
    return engine


def count(disk: SimDisk, name: str) -> list[str]:
    calls: list[str] = []
    disk.fault = lambda call: calls.append(call) if call == name else None
    return calls


def run_together(engine, disk, works) -> list[str]:
    """Run *works* in threads such that all but the first wait while that one syncs."""
    syncs: list[str] = []

    def fault(call: str) -> None:
        if call == "sync":
            syncs.append(call)
            if len(syncs) == 1:
                waiting = engine._open.committer._waiting
                wait_until(lambda: len(waiting) == len(works))

    disk.fault = fault
    threads = [threading.Thread(target=work) for work in works]
    threads[0].start()
    wait_until(lambda: syncs)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    return syncs


def test_a_durable_write_costs_one_sync(engine, disk):
    syncs = count(disk, "sync")
    for number in range(10):
        put(engine, number, b"x")
    assert len(syncs) == 10


def test_a_write_that_is_not_synced_costs_none(engine, disk):
    syncs = count(disk, "sync")
    put(engine, "second", b"2", sync=False)
    touch(engine, "second", FAR + 1)
    assert syncs == []


def test_threads_that_wait_share_one_sync(engine, disk):
    works = [lambda n=n: put(engine, n, b"x") for n in range(9)]
    assert len(run_together(engine, disk, works)) == 2
    assert len(content(engine)) == 10


def test_a_plan_sees_the_changes_of_those_before_it_in_its_batch(engine, disk):
    def increment() -> None:
        def plan(stored):
            number = int(stored.get(key("first")).value)
            return [Put(key("first"), str(number + 1).encode(), FAR)], None

        engine.transact(plan, sync=True)

    run_together(engine, disk, [increment] * 9)
    assert engine.get(key("first")).value == b"10"


def test_a_plan_sees_a_clear_and_a_touch_of_its_batch(engine, disk):
    seen = []

    def look(stored):
        seen.append(stored.get(key("first")))
        return [], None

    def touch_and_look() -> None:
        touch(engine, "first", 77.0)

    run_together(
        engine,
        disk,
        [
            lambda: put(engine, "second", b"2"),
            touch_and_look,
            lambda: engine.transact(look, sync=True),
        ],
    )
    assert seen[0].expires_at in (FAR, 77.0)
    assert engine.get(key("first")).expires_at == 77.0


def test_a_plan_that_fails_fails_alone(engine, disk):
    errors = []

    def spoilt() -> None:
        def plan(_stored):
            raise LookupError("mine")

        try:
            engine.transact(plan, sync=True)
        except LookupError as error:
            errors.append(error)

    run_together(
        engine,
        disk,
        [lambda: put(engine, "a", b"a"), spoilt, lambda: put(engine, "b", b"b")],
    )
    assert [str(error) for error in errors] == ["mine"]
    assert set(content(engine)) == {key("first"), key("a"), key("b")}


def test_what_an_operation_saw_is_durable_when_it_returns(engine, disk):
    delete(engine, "first", sync=False)
    syncs = count(disk, "sync")
    engine.transact(lambda stored: ([], stored.get(key("first"))), sync=True)
    assert len(syncs) == 1
    engine.transact(lambda stored: ([], stored.get(key("first"))), sync=True)
    assert len(syncs) == 1


def test_a_version_is_the_sequence_number_of_the_put(engine):
    sequence = put(engine, "second", b"2")
    assert engine.get(key("second")).version == sequence
    touch(engine, "second", 5.0)
    assert engine.get(key("second")) == Entry(b"2", 5.0, sequence)


def test_a_touch_of_an_older_version_does_not_count(engine):
    old = engine.get(key("first")).version
    put(engine, "first", b"2", 7.0)
    change(engine, Touch(key("first"), old, 99.0))
    assert engine.get(key("first")).expires_at == 7.0


# The disk is full.


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_refuses_the_write_and_keeps_nothing_of_it(engine, disk, number):
    before = disk.files()[WAL]
    disk.fault = fail("pwrite", number)
    with pytest.raises(StoreFull, match="free some space"):
        put(engine, "second", b"2" * 500)
    assert disk.files()[WAL] == before
    put(engine, "second", b"3")
    assert engine.get(key("second")).value == b"3"


def test_what_a_cut_write_left_behind_is_erased(engine, disk):
    # The file system takes a part, then has no room: write(2).
    real = disk.pwrite
    parts = []

    def pwrite(fd, data, offset):
        if len(data) > 500 and not parts:
            parts.append(real(fd, data[:100], offset))
            return 100
        if parts == [100]:
            parts.append(0)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    before = disk.files()[WAL]
    disk.pwrite = pwrite
    with pytest.raises(StoreFull):
        put(engine, "second", b"2" * 600)
    assert disk.files()[WAL] == before


def test_on_a_full_disk_sessions_can_still_be_deleted(engine, disk):
    disk.fault = lambda call: fail("allocate", errno.ENOSPC)(call)
    number = 0
    with pytest.raises(StoreFull):
        for number in range(100):
            put(engine, number, b"x" * 50)
    assert number > 5
    delete(engine, 0)
    delete(engine, 1)
    assert engine.get(key(0)) is None
    assert engine.get(key(2)) is not None
    change(engine, Clear())
    assert engine.get(key(2)) is None
    with pytest.raises(StoreFull):
        put(engine, "another", b"x")
    disk.fault = lambda call: None
    put(engine, "another", b"x")


def test_the_room_for_logouts_is_not_for_what_has_expired(engine, disk):
    disk.fault = lambda call: fail("allocate", errno.ENOSPC)(call)
    with pytest.raises(StoreFull):
        for number in range(100):
            put(engine, number, b"x" * 50)
    with pytest.raises(StoreFull):
        change(engine, Delete(key(0), expired=True), Delete(key(1)))
    assert engine.get(key(0)) is not None
    change(engine, Delete(key(0)), Delete(key(1)))
    assert engine.get(key(0)) is None


def test_deletions_of_a_batch_go_through_when_its_puts_have_no_room(engine, disk):
    full = threading.Event()
    failed = []

    def put_one() -> None:
        try:
            put(engine, "big", b"x" * 3000)
        except StoreFull as error:
            failed.append(error)

    syncs: list[str] = []

    def fault(call: str) -> None:
        if call == "sync":
            syncs.append(call)
            if len(syncs) == 1:
                wait_until(lambda: len(engine._open.committer._waiting) == 3)
                full.set()
        if call == "allocate" and full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.fault = fault
    leader = threading.Thread(target=put, args=(engine, "second", b"2"))
    leader.start()
    wait_until(lambda: syncs)
    others = [
        threading.Thread(target=put_one),
        threading.Thread(target=delete, args=(engine, "first")),
    ]
    for thread in others:
        thread.start()
    for thread in [leader, *others]:
        thread.join()
    assert len(failed) == 1
    assert set(content(engine)) == {key("second")}


def test_the_last_of_the_reserve_serves_deletions_only(engine, disk):
    put(engine, "second", b"2")
    room = engine._open.follower.current.log.reserved - engine._open.compactor.log_bytes
    assert room >= log.DELETE_RESERVE


# A sync fails.


def test_after_a_failed_sync_nothing_is_written_and_reading_goes_on(engine, disk):
    disk.fault = fail("sync", errno.EIO)
    with pytest.raises(StoreFailed, match="sync failed"):
        put(engine, "second", b"2")
    assert [*replay(engine._open.follower.current.log)][-1].kind == form.POISON
    writes = count(disk, "pwrite")
    with pytest.raises(StoreFailed, match="earlier sync failed"):
        put(engine, "third", b"3")
    with pytest.raises(StoreFailed):
        delete(engine, "first")
    assert writes == []
    assert engine.get(key("first")).value == b"1"


def test_a_failed_sync_is_never_tried_again(engine, disk):
    disk.fault = fail("sync", errno.EIO)
    with pytest.raises(StoreFailed):
        put(engine, "second", b"2")
    syncs = count(disk, "sync")
    with pytest.raises(StoreFailed):
        put(engine, "third", b"3")
    engine.close()
    assert syncs == []


def test_a_restart_after_a_failed_sync_builds_on_none_of_its_pages(engine, disk):
    disk.fault = fail("sync", errno.EIO)
    with pytest.raises(StoreFailed):
        put(engine, "second", b"2")
    engine.close()
    again = make_engine(disk)
    put(again, "third", b"3")
    assert WAL not in disk.files()
    assert again.get(key("first")).value == b"1"


def test_every_waiting_thread_hears_of_a_failed_sync(engine, disk):
    heard = []

    def work(number: int) -> None:
        try:
            put(engine, number, b"x")
        except StoreFailed as error:
            heard.append(error)

    syncs: list[str] = []

    def fault(call: str) -> None:
        if call == "sync":
            syncs.append(call)
            if len(syncs) == 1:
                wait_until(lambda: len(engine._open.committer._waiting) == 5)
            else:
                raise OSError(errno.EIO, "Input/output error")

    disk.fault = fault
    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    threads[0].start()
    wait_until(lambda: syncs)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 4
    assert len({id(error) for error in heard}) == 4
    assert all(isinstance(error.__cause__, OSError) for error in heard)


# Interruptions.


@pytest.mark.parametrize("call", ["pwrite", "sync", "pread"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupted_commit_leaves_a_store_that_works(engine, disk, call, error):
    raised = []

    def fault(name: str) -> None:
        if name == call and not raised:
            raised.append(name)
            raise error

    disk.fault = fault
    with pytest.raises((error, StoreFailed)):
        put(engine, "second", b"2" * 100)
    put(engine, "third", b"3")
    expected = content(engine)
    assert expected.keys() >= {key("first"), key("third")}
    abandon(engine)
    assert content(make_engine(disk)) == expected


def test_what_an_interrupted_commit_half_wrote_is_erased(engine, disk):
    real = disk.pwrite

    def cut(fd, data, offset):
        real(fd, data[:40], offset)
        raise KeyboardInterrupt

    disk.pwrite = cut
    with pytest.raises(KeyboardInterrupt):
        put(engine, "second", b"2" * 300)
    disk.pwrite = real
    put(engine, "third", b"3")
    assert set(content(engine)) == {key("first"), key("third")}
    abandon(engine)
    assert set(content(make_engine(disk))) == {key("first"), key("third")}


def test_a_thread_whose_leader_was_interrupted_goes_on_by_itself(engine, disk):
    engine._open.committer._append_lock.acquire()
    done = threading.Thread(target=put, args=(engine, "second", b"2"))
    done.start()
    wait_until(lambda: engine._open.committer._waiting)
    # As a leader does that an exception hit before it could wake anybody.
    engine._open.committer._append_lock.release()
    done.join(10)
    assert engine.get(key("second")).value == b"2"


# The end.


def test_a_closed_engine_refuses_everything(engine):
    engine.close()
    engine.close()
    with pytest.raises(StoreClosed):
        engine.get(key("first"))
    with pytest.raises(StoreClosed):
        put(engine, "second", b"2")


def test_a_commit_that_comes_after_the_close_is_refused(engine, disk):
    committer = engine._open.committer
    engine.close()
    before = disk.files()
    with pytest.raises(StoreClosed):
        committer.transact(lambda _stored: ([Clear()], None), sync=True)
    assert disk.files() == before


def test_opening_and_closing_does_not_grow_the_log(engine, disk):
    engine.close()
    before = disk.files()[WAL]
    for _ in range(3):
        again = make_engine(disk)
        again.get(key("first"))
        again.close()
    assert disk.files()[WAL] == before


# What a review has found.


def test_no_waiter_takes_a_failed_batch_for_committed(engine, disk):
    """An error while the log is followed once failed one waiter and acknowledged the rest."""
    told = []

    def work(number: int) -> None:
        try:
            put(engine, number, b"x")
            told.append("committed")
        except StoreError:
            told.append("failed")

    syncs: list[str] = []

    def fault(call: str) -> None:
        if call == "sync":
            syncs.append(call)
            if len(syncs) == 1:
                wait_until(lambda: len(engine._open.committer._waiting) == 4)
            else:
                disk.fault = fail("pread", errno.EIO)

    disk.fault = fault
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    threads[0].start()
    wait_until(lambda: syncs)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["committed", "failed", "failed", "failed"]


def test_what_an_interrupted_waiter_wanted_is_not_done_later(engine, disk):
    class Impatient(Exception):
        pass

    committer = engine._open.committer
    committer._append_lock.acquire()
    wanted = batch.Ticket(lambda _stored: ([Clear()], None), sync=True)

    def interrupt(_ticket):
        raise Impatient

    committer._see_through, real = interrupt, committer._see_through
    with pytest.raises(Impatient):
        committer.transact(wanted.plan, sync=True)
    committer._see_through = real
    committer._append_lock.release()
    put(engine, "second", b"2")
    assert set(content(engine)) == {key("first"), key("second")}


def test_an_error_of_a_signal_handler_is_no_disk_failure(engine, disk):
    def fault(call: str) -> None:
        if call == "sync":
            disk.fault = lambda _call: None
            raise TimeoutError("the request took too long")

    disk.fault = fault
    with pytest.raises(TimeoutError):
        put(engine, "second", b"2")
    put(engine, "third", b"3")
    assert engine.get(key("third")).value == b"3"


def test_what_was_refused_does_not_come_back_after_a_power_cut(engine, disk):
    real = disk.pwrite
    parts = []

    def pwrite(fd, data, offset):
        if len(data) > 500 and not parts:
            parts.append(real(fd, data[:-1], offset))
            return len(data) - 1
        if len(parts) == 1:
            parts.append(0)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    disk.pwrite = pwrite
    with pytest.raises(StoreFull):
        put(engine, "refused", b"2" * 600)
    put(engine, "second", b"2", sync=False)
    for image in disk.crash_images(random.Random(1), samples=5):
        assert key("refused") not in content(make_engine(SimDisk(image)))


@pytest.mark.parametrize(
    "use",
    [
        lambda engine: engine.check(),
        lambda engine: engine.get(key("x")),
        lambda engine: engine.verify(),
        lambda engine: engine.compact(),
    ],
    ids=["check", "get", "verify", "compact"],
)
def test_what_a_signal_handler_raises_is_no_error_of_the_store(engine, disk, use):
    put(engine, "x", b"1")
    abandon(engine)

    def interrupt(_call: str) -> None:
        raise TimeoutError("the request took too long")

    disk.fault = interrupt
    with pytest.raises(TimeoutError):
        use(engine)
    disk.fault = lambda _call: None
    assert engine.get(key("x")).value == b"1"


def test_a_file_is_lengthened_from_where_it_ends(engine, disk):
    put(engine, "second", b"2" * 3000)
    engine._open.follower.current.log.reserved = 100  # as an interrupt may leave it
    put(engine, "third", b"3" * 3000)
    abandon(engine)
    assert set(content(make_engine(disk))) == {key(name) for name in ("first", "second", "third")}


def test_a_disk_that_takes_nothing_is_an_error_and_no_endless_loop(engine, disk):
    disk.pwrite = lambda _fd, _data, _offset: 0
    with pytest.raises(StoreFailed):
        put(engine, "second", b"2")


def test_the_last_number_is_used_and_a_record_after_it_is_refused_with_the_cure(engine):
    put(engine, 1, b"one")
    engine._opened().follower.current.table.sequence = (1 << 64) - 2
    put(engine, 1, b"two")
    with pytest.raises(StoreFailed, match="export the sessions"):
        put(engine, 2, b"three")
    with pytest.raises(StoreFailed, match="export the sessions"):
        engine.transact(lambda _stored: ([Delete(key(1))], None), sync=True)
    assert engine.get(key(1)).value == b"two"
