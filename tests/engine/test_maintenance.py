"""The maintenance lock: who has it, and who waits for it in vain."""

from __future__ import annotations

import os
import signal
import time

import pytest

from litesess import StoreLocked, WALStore
from tests.tools.engines import make_engine, put
from tests.tools.servers import wait_until


class Clock:
    """A monotonic clock that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "data")


@pytest.fixture
def waiting(path, clock):
    """An engine that may wait for 10 seconds."""
    engine = make_engine(path=path, monotonic=clock, lock_timeout=10)
    put(engine, "first", b"1")
    yield engine
    engine.close()


def collect(engine) -> bool:
    with engine.maintenance() as is_ours:
        return is_ours


def warnings(caplog) -> list[str]:
    return [record.message for record in caplog.records if "has kept" in record.message]


def test_who_keeps_it_for_longer_than_the_timeout_is_named_once(path, waiting, clock, caplog):
    stopped = make_engine(path=path)
    with stopped.maintenance():
        assert not collect(waiting)
        for _ in range(9):
            clock.now += 1.0
            waiting.look()
        assert warnings(caplog) == []
        for _ in range(5):
            clock.now += 1.0
            waiting.look()
            assert not collect(waiting)
        (said,) = warnings(caplog)
        assert said.startswith(f"{path}: for 10 s process {os.getpid()} has kept the store")
        assert "let it go on, or kill it" in said
    assert collect(waiting)
    # Another turn of the same process is another matter.
    with stopped.maintenance():
        assert not collect(waiting)
        clock.now += 10.0
        waiting.look()
    assert len(warnings(caplog)) == 2
    stopped.close()


def test_who_meets_others_again_and_again_warns_of_nobody(path, waiting, clock, caplog):
    other = make_engine(path=path)
    for _ in range(50):
        with other.maintenance():
            assert not collect(waiting)
        clock.now += 9.0
    assert warnings(caplog) == []
    other.close()


def test_who_could_not_collect_and_then_can_forgets_it(path, waiting, clock, caplog):
    other = make_engine(path=path)
    with other.maintenance():
        assert not collect(waiting)
    clock.now += 20.0
    waiting.look()
    waiting.look()
    assert warnings(caplog) == []
    assert waiting._open.maintenance._waits_for is None
    other.close()


def test_an_error_names_the_process_too(path):
    holder = make_engine(path=path)
    other = make_engine(path=path)
    put(other, "first", b"1")
    with (
        holder.maintenance(),
        pytest.raises(StoreLocked, match=f"compacted by process {os.getpid()}, which"),
    ):
        other.compact()
    for engine in (holder, other):
        engine.close()


def test_a_compaction_in_the_background_that_waited_in_vain_says_for_whom(path, caplog):
    holder = make_engine(path=path)
    engine = make_engine(path=path, wal_limit=1 << 16, lock_timeout=1.0, monotonic=time.monotonic)
    with holder.maintenance():
        put(engine, "first", b"x" * (1 << 17))
        wait_until(lambda: warnings(caplog), "it is warned of")
    engine.close()
    holder.close()


def test_a_process_that_was_stopped_is_named_by_a_worker_that_has_no_request(path, caplog):
    put(engine := make_engine(path=path), "first", b"1")
    engine.close()
    pid = os.fork()
    if pid == 0:
        with make_engine(path=path).maintenance():
            os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        with WALStore(path, lock_timeout=1.0) as worker:
            assert worker.collect() == 0
            wait_until(lambda: warnings(caplog), "it is warned of")
    finally:
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)
    assert f"process {pid} has kept" in warnings(caplog)[0]
