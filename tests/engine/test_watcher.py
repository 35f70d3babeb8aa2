"""The thread that looks at a process's open stores while nothing uses them."""

from __future__ import annotations

import os
import threading
import time

import pytest

from litesess.engine import FileSystem
from litesess.engine import watcher as watching
from litesess.engine.watcher import Watcher
from tests.tools.children import in_child
from tests.tools.engines import content, key, make_engine, put
from tests.tools.servers import wait_until


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "data")


@pytest.fixture
def watcher(monkeypatch):
    # Another test may have left a store open: its thread is none of this one's.
    watching.watcher.forget()
    wait_until(lambda: not threads(), "the thread of other tests' stores has ended")
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.001)
    return Watcher()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "litesess-watcher"]


def deleted_files(path: str) -> list[str]:
    """Return the files of a store that this process has open and that have no name any more."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith(path) and target.endswith("(deleted)"):
            found.append(target)
    return found


class Looked:
    """Counts how often it was looked at."""

    def __init__(self) -> None:
        self.count = 0

    def look(self) -> None:
        self.count += 1

    def is_looked_at(self) -> None:
        before = self.count
        wait_until(lambda: self.count > before + 1, "it is looked at")


def test_it_is_there_from_the_first_operation_to_the_last_close(path, watcher):
    one, other = (make_engine(path=path, watcher=watcher) for _ in range(2))
    one.check()
    assert threads() == []
    put(one, "first", b"1")
    assert content(other)
    assert len(threads()) == 1
    one.close()
    assert len(threads()) == 1
    other.close()
    wait_until(lambda: not threads(), "the thread has ended")
    again = make_engine(path=path, watcher=watcher)
    assert content(again)
    assert len(threads()) == 1
    again.close()


def test_a_store_that_nobody_knows_any_more_is_let_go(watcher):
    looked = Looked()
    watcher.watch(looked)
    looked.is_looked_at()
    del looked
    wait_until(lambda: not threads(), "the thread has ended")


def test_one_that_fails_is_left_alone_and_the_others_are_not(watcher, caplog):
    class Failing(Looked):
        def look(self) -> None:
            self.count += 1
            raise ValueError("a bug")

    failing, looked = Failing(), Looked()
    watcher.watch(failing)
    watcher.watch(looked)
    looked.is_looked_at()
    assert failing.count == 1
    assert "left alone" in caplog.text
    watcher.leave(looked)


def test_it_is_not_there_during_a_fork_and_goes_on_after_it(watcher):
    looked = Looked()
    watcher.watch(looked)

    def work() -> int:
        assert threads() == []
        before = looked.count
        mine = Looked()
        watcher.watch(mine)
        mine.is_looked_at()
        assert looked.count == before, "a store of the parent's was looked at"
        return 7

    assert in_child(work) == 7
    looked.is_looked_at()
    assert len(threads()) == 1
    watcher.leave(looked)


def test_a_fork_that_told_nobody_leaves_a_child_that_begins_anew():
    pids = iter([1, 2, 2])
    watcher = Watcher(pid=lambda: next(pids, 2))
    parents, mine = Looked(), Looked()
    watcher._watched.add(parents)
    watcher.watch(mine)
    assert list(watcher._watched) == [mine]
    watcher.leave(mine)


@pytest.mark.parametrize("compactions", [1, 3])
@pytest.mark.parametrize("read_only", [False, True])
def test_an_idle_process_lets_go_of_what_others_have_merged(path, watcher, compactions, read_only):
    busy = make_engine(path=path)
    put(busy, "first", b"1")
    busy.compact()
    ways = {"watcher": watcher, "monotonic": time.monotonic, "read_only": read_only}
    idle = make_engine(path=path, **ways)
    assert idle.get(key("first")).value == b"1"
    for number in range(compactions):
        put(busy, number, b"2")
        busy.compact()
    wait_until(lambda: not deleted_files(path), "the idle one has let go of deleted files")
    assert idle.get(key("first")).value == b"1"
    idle.close()
    busy.close()


def test_one_that_slept_in_the_midst_of_a_compaction_lets_go_too(path):
    class Waking(FileSystem):
        def rename(self, directory: int, old: str, new: str) -> None:
            if new.endswith(".snapshot"):
                idle.get(key("first"))  # follows the log that was sealed, and the next one
            FileSystem.rename(directory, old, new)

    idle = make_engine(path=path)
    busy = make_engine(Waking(), path)
    put(busy, "first", b"1")
    for _ in range(2):
        busy.compact()
        idle.look()
        assert deleted_files(path) == []
    idle.close()
    busy.close()


def test_an_idle_process_follows_no_further_than_it_must(path):
    busy, idle = make_engine(path=path), make_engine(path=path)
    put(busy, "first", b"1")
    assert idle.get(key("first")).value == b"1"
    end = idle._open.compactor.log_bytes
    put(busy, "second", b"2")
    idle.look()
    assert idle._open.compactor.log_bytes == end
    idle.close()
    busy.close()


def test_a_look_at_a_store_that_is_gone_is_for_the_next_operation_to_say(path, tmp_path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    os.rename(path, tmp_path / "moved")
    for _ in range(3):
        engine.look()
    engine.close()
    engine.look()
