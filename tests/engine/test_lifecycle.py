"""When a store is open, and how: what could only be read for a while."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from contextlib import ExitStack

import pytest

from litesess import StoreReadOnly
from litesess.engine import FileSystem
from tests.tools.disks import run
from tests.tools.engines import content, key, make_engine, put
from tests.tools.servers import wait_until
from tests.tools.views import covered


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "data")


class Refusing(FileSystem):
    """A disk that can't be written for a while; counts how often it was tried."""

    is_read_only = True
    tries = 0

    def open(self, directory: int, name: str, path: str, *, write: bool = True, **how) -> int:
        if write and self.is_read_only:
            self.tries += 1
            raise OSError(errno.EACCES, "Permission denied", name)
        return FileSystem.open(directory, name, path, write=write, **how)


@pytest.fixture
def refusing(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine.close()
    return Refusing()


@pytest.mark.parametrize("operation", ["put", "compact", "maintenance", "back_up"])
def test_what_was_opened_for_reading_is_written_as_soon_as_that_can_be(
    path, refusing, operation, caplog
):
    now = 0.0
    engine = make_engine(refusing, path, monotonic=lambda: now)

    def operate() -> None:
        if operation == "put":
            put(engine, "second", b"2")
        elif operation == "compact":
            engine.compact()
        elif operation == "back_up":
            engine.back_up(f"{path}.backup")
        else:
            with engine.maintenance() as is_ours:
                assert is_ours

    assert engine.get(key("first")).value == b"1"
    for _ in range(2):
        with pytest.raises((StoreReadOnly, AssertionError)):
            operate()
    refusing.is_read_only = False
    now += 1.0
    operate()
    assert "can be written again" in caplog.text
    put(engine, "third", b"3")
    assert engine.get(key("third")).value == b"3"
    engine.close()
    again = make_engine(path=path)
    assert {key("first"), key("third")} <= set(content(again))
    again.close()


def test_it_is_tried_once_a_second_and_the_error_names_the_file_and_the_cure(path, refusing):
    now = 0.0
    engine = make_engine(refusing, path, monotonic=lambda: now)
    for second in range(3):
        now = float(second)
        before = refusing.tries
        engine.get(key("first"))
        with pytest.raises(StoreReadOnly, match=rf"sessions.live: .* uid {os.geteuid()} needs"):
            put(engine, "second", b"2")
        for _ in range(20):
            with pytest.raises(StoreReadOnly):
                put(engine, "second", b"2")
        assert refusing.tries <= before + 1 + (second == 0)
        assert engine.get(key("first")).value == b"1"
    engine.close()


def test_a_store_that_is_to_be_read_only_stays_so(path, refusing):
    refusing.is_read_only = False
    engine = make_engine(refusing, path, read_only=True)
    for _ in range(3):
        with pytest.raises(StoreReadOnly):
            put(engine, "second", b"2")
    engine.close()


def test_threads_that_read_meanwhile_go_on(path, refusing):
    engine = make_engine(refusing, path, monotonic=time.monotonic)
    former = engine.get(key("first"))
    opened = engine._open
    refusing.is_read_only = False
    put(engine, "second", b"2")
    assert engine._open is not opened
    assert opened.reader.get(key("first")) == former
    assert opened.reader.get(key("second")).value == b"2"
    before = len(os.listdir("/proc/self/fd"))
    del opened
    assert len(os.listdir("/proc/self/fd")) < before
    engine.close()


def test_a_disk_that_is_mounted_for_writing_again_is_written(tmp_path):
    where = tmp_path / "disk"

    def work() -> None:
        engine = make_engine(path=f"{where}/data")
        put(engine, "first", b"1")
        engine.close()
        run("mount", "-o", "remount,ro", where)
        engine = make_engine(path=f"{where}/data")
        assert engine.get(key("first")).value == b"1"
        with pytest.raises(StoreReadOnly):
            put(engine, "second", b"2")
        run("mount", "-o", "remount,rw", where)

        def is_written() -> bool:
            try:
                put(engine, "second", b"2")
            except StoreReadOnly:
                return False
            return True

        wait_until(is_written, "it is written")
        engine.close()

    with covered(where, "mount", "-t", "tmpfs", "none", where):
        work()


def test_who_closes_again_after_an_interruption_leaves_nothing_open(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    taken, release = threading.Event(), threading.Event()

    def maintain() -> None:
        with engine.maintenance():
            taken.set()
            release.wait()

    def interrupt(*_arguments: object) -> None:
        engine.close()  # harmless while it is being closed
        raise KeyboardInterrupt

    thread = threading.Thread(target=maintain)
    thread.start()
    taken.wait()
    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            engine.close()
    finally:
        signal.signal(signal.SIGALRM, former)
        release.set()
        thread.join()
    assert _held(path)
    engine.close()
    assert not _held(path)


def test_a_read_that_a_close_overtakes_asks_no_file_that_another_has_opened_since(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    read = engine._open.reader.get  # as a thread has it that is about to read
    engine.close()
    with ExitStack() as files:
        for _ in range(8):
            files.enter_context(open(os.devnull))
        assert read(key("first")).value == b"1"
    del read
    assert not _held(path)


def _held(path: str) -> list[str]:
    fds = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [
        name
        for name in map(os.readlink, filter(os.path.lexists, fds))
        if ".live" in name and path in name
    ]
