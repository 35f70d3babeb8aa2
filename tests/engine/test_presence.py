"""Who has a store open: directories that are moved, and ways to one that share no locks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from litesess import StoreFailed, StoreLocked
from litesess.engine import FileSystem
from litesess.engine.format import SLOT_BYTES
from litesess.engine.watcher import Watcher
from tests.tools.children import in_child
from tests.tools.engines import abandon, content, key, make_engine, put, small_files
from tests.tools.simdisk import SimDisk, SimLock
from tests.tools.views import bindfs, covered, layered

#: Where a question stands in .live: behind the slot, and three fields of the note.
ASKED_AT = SLOT_BYTES + 24


class Clock:
    """A monotonic clock that goes on when a test says so, or sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0.0
        #: Called after each sleep.
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        self.meanwhile()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "data"


def operations(engine) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: engine.get(key("first")),
        "put": lambda: put(engine, "second", b"2"),
        "scan": lambda: content(engine),
        "compact": engine.compact,
        "count": lambda: engine.find(b"o" * 16),
    }


# A directory that is another one by now.


def move(place: Path) -> None:
    place.rename(place.with_name("moved"))


def replace(place: Path) -> None:
    move(place)
    with_another_store = make_engine(path=str(place))
    put(with_another_store, "other", b"1")
    with_another_store.close()


def link(place: Path) -> None:
    move(place)
    place.symlink_to(place.with_name("elsewhere"))


def put_a_file_there(place: Path) -> None:
    move(place)
    place.write_text("")


@pytest.mark.parametrize("operation", ["get", "put", "scan", "compact", "count"])
@pytest.mark.parametrize("change", [move, replace, link, put_a_file_there])
def test_a_directory_that_was_moved_or_replaced_is_noticed_within_a_second(
    place, clock, change, operation
):
    engine = make_engine(path=str(place), monotonic=clock)
    put(engine, "first", b"1")
    change(place)
    clock.now += 1.0
    with pytest.raises(StoreFailed, match=r"data is no longer the directory.*restart"):
        operations(engine)[operation]()


def test_it_stays_refused_and_goes_on_where_it_is_put_back(place, clock):
    engine = make_engine(path=str(place), monotonic=clock)
    put(engine, "first", b"1")
    move(place)
    clock.now += 1.0
    for _ in range(3):
        with pytest.raises(StoreFailed):
            put(engine, "second", b"2")
        with pytest.raises(StoreFailed):
            engine.get(key("first"))
    place.with_name("moved").rename(place)
    put(engine, "second", b"2")
    engine.close()
    again = make_engine(path=str(place))
    assert set(content(again)) == {key("first"), key("second")}
    again.close()


def test_a_reader_notices_it_too(place, clock):
    engine = make_engine(path=str(place))
    put(engine, "first", b"1")
    reader = make_engine(path=str(place), monotonic=clock, read_only=True)
    assert reader.get(key("first")).value == b"1"
    move(place)
    clock.now += 1.0
    with pytest.raises(StoreFailed, match="no longer"):
        reader.get(key("first"))
    engine.close()


def test_a_link_on_the_given_path_that_leads_elsewhere_by_now_is_noticed(tmp_path, clock):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    way = tmp_path / "current"
    way.symlink_to("one")
    engine = make_engine(path=f"{tmp_path}/one/data", given=f"{way}/data", monotonic=clock)
    put(engine, "first", b"1")
    way.unlink()
    way.symlink_to("two")
    clock.now += 1.0
    with pytest.raises(StoreFailed, match="current/data is no longer"):
        put(engine, "second", b"2")
    way.unlink()
    way.symlink_to(tmp_path / "one")
    put(engine, "second", b"2")
    engine.close()


def test_a_directory_that_is_moved_while_it_is_opened_is_not_used(place):
    class Moving(FileSystem):
        def device_of(self, fd: int) -> int:
            move(place)
            return FileSystem.device_of(fd)

    engine = make_engine(Moving(), str(place))
    with pytest.raises(StoreFailed, match="no longer"):
        put(engine, "first", b"1")
    assert not [name for name in os.listdir(place.with_name("moved")) if name.endswith("wal")]


def test_a_file_system_that_is_mounted_over_it_is_noticed(place, clock):
    engine = make_engine(path=str(place), monotonic=clock)
    put(engine, "first", b"1")
    with covered(place, "mount", "-t", "tmpfs", "none", place):
        clock.now += 1.0
        with pytest.raises(StoreFailed, match="mounted over"):
            put(engine, "second", b"2")
    put(engine, "second", b"2")
    engine.close()


def test_a_path_that_this_process_may_follow_no_more_says_nothing(place, clock):
    if os.geteuid() != 0:
        pytest.skip("only root can give up rights")

    def work() -> int:
        engine = make_engine(path=str(place), monotonic=clock)
        put(engine, "first", b"1")
        place.parent.chmod(0o700)
        os.setuid(12345)
        clock.now += 1.0
        put(engine, "second", b"2")
        return 7

    assert in_child(work) == 7


# Two ways to one directory.


@pytest.fixture
def disk(monkeypatch):
    small_files(monkeypatch)
    return SimDisk()


class View(SimDisk):
    """The files of another disk, by another device; locks do not pass."""

    def __init__(self, disk: SimDisk) -> None:
        self.__dict__.update(disk.__dict__)
        self.locks = {}
        self.next_fd += 1000

    def device_of(self, fd: int) -> int:
        return 0x2A05  # 42:5


def test_a_store_that_is_open_by_another_way_is_refused_and_both_ways_are_named(disk, clock):
    first = make_engine(disk, monotonic=clock)
    put(first, "first", b"1")
    view = View(disk)
    clock.meanwhile = first.look
    other = make_engine(view, lock=SimLock(view), sleep=clock.sleep)
    with pytest.raises(StoreLocked) as caught:
        put(other, "second", b"2")
    for part in ("process 4711", "device 0:1,", "device 42:5:", "use the same path"):
        assert part in str(caught.value)
    assert clock.slept < 1.5
    put(first, "third", b"3")
    assert set(content(first)) == {key("first"), key("third")}
    clock.meanwhile = lambda: None
    first.close()
    put(other, "second", b"2")
    assert len(content(other)) == 3


def test_who_asks_at_the_same_time_as_another_is_answered_too(disk, clock):
    first = make_engine(disk, monotonic=clock)
    put(first, "first", b"1")
    view = View(disk)

    def meanwhile() -> None:
        # Another process, by a third way, writes its question over ours.
        disk.names["sessions.live"].write((7).to_bytes(8, "little"), ASKED_AT)
        first.look()

    clock.meanwhile = meanwhile
    other = make_engine(view, lock=SimLock(view), sleep=clock.sleep)
    with pytest.raises(StoreLocked):
        put(other, "second", b"2")
    first.close()


def test_a_note_that_a_crash_has_left_is_replaced_and_who_comes_back_is_refused(disk, clock):
    first = make_engine(disk, monotonic=clock)
    put(first, "first", b"1")
    view = View(disk)
    other = make_engine(view, lock=SimLock(view), sleep=clock.sleep)
    put(other, "second", b"2")
    assert 4.0 < clock.slept < 6.0
    assert set(content(other)) == {key("first"), key("second")}
    # It was only stopped, for as long.
    files = disk.files()
    with pytest.raises(StoreFailed, match=r"device 42:5, and this .* device 0:1: .*restart"):
        put(first, "third", b"3")
    with pytest.raises(StoreFailed):
        first.get(key("first"))
    assert disk.files() == files


def test_after_a_clean_close_nobody_waits_and_nothing_is_asked(disk, clock):
    first = make_engine(disk)
    put(first, "first", b"1")
    first.close()
    view = View(disk)
    other = make_engine(view, lock=SimLock(view), sleep=clock.sleep)
    assert set(content(other)) == {key("first")}
    assert clock.slept < 0.01


def test_after_a_crash_nobody_waits_who_comes_the_same_way(disk, clock):
    first = make_engine(disk)
    put(first, "first", b"1")
    abandon(first)
    again = make_engine(disk, sleep=clock.sleep)
    assert set(content(again)) == {key("first")}
    assert clock.slept == 0


@pytest.fixture
def racing(disk, clock):
    """Two engines that come by two ways; the second one opens the store in the midst of the first.

    Return both, and what to call when it is time.
    """
    view = View(disk)
    second = make_engine(view, lock=SimLock(view), monotonic=clock)
    lock = SimLock(disk)
    first = make_engine(disk, lock=lock, monotonic=clock, sleep=clock.sleep)

    def come() -> int:
        lock.pid, clock.meanwhile = (lambda: 4712), (lambda: None)
        put(second, "second", b"2")
        return 4712

    return first, second, lock, come


def test_who_noted_itself_before_another_that_came_at_once_is_refused(racing, clock):
    first, second, lock, come = racing
    lock.pid = come  # it is asked for between the reading of the note and the writing
    put(first, "first", b"1")
    clock.now += 1.0
    with pytest.raises(StoreFailed, match="by way of device"):
        put(second, "third", b"3")
    assert set(content(first)) == {key("first"), key("second")}


def test_who_finds_another_note_than_its_own_has_not_opened_the_store(racing, disk, clock):
    first, second, _lock, come = racing
    files: dict[str, bytes] = {}

    def come_and_note_the_files() -> None:
        come()
        files.update(disk.files())

    clock.meanwhile = come_and_note_the_files
    with pytest.raises(StoreFailed, match="by way of device"):
        put(first, "first", b"1")
    assert disk.files() == files
    clock.now += 1.0
    put(second, "third", b"3")
    assert set(content(second)) == {key("second"), key("third")}


def test_a_full_disk_keeps_nobody_from_opening_a_store(disk):
    first = make_engine(disk)
    put(first, "first", b"1")
    first.close()

    def fault(call: str) -> None:
        if call == "pwrite":
            raise OSError(28, "No space left on device")

    disk.fault = fault
    assert make_engine(disk).get(key("first")).value == b"1"


# The same on real file systems.


@contextmanager
def opened_elsewhere(path: str) -> Iterator[int]:
    """Let another process have the store open for the block, idle."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            engine = make_engine(path=path, watcher=Watcher(), monotonic=time.monotonic)
            put(engine, "first", b"1")
            os.write(told, b"x")
            signal.pause()
        finally:
            os._exit(1)
    try:
        os.close(told)
        assert os.read(ready, 1) == b"x", "the other process has failed"
        yield pid
    finally:
        os.close(ready)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("view", [layered, bindfs])
def test_an_idle_process_that_came_by_a_view_is_known(tmp_path, view):
    (tmp_path / "upper").mkdir()
    way = layered(tmp_path) if view is layered else bindfs(tmp_path / "upper", tmp_path / "view")
    with way as where:
        for name, one, other in (
            ("first", where, tmp_path / "upper"),
            ("second", tmp_path / "upper", where),
        ):
            engine = make_engine(path=f"{other}/{name}", sleep=time.sleep)
            refused = pytest.raises(StoreLocked, match="by way of device")
            with opened_elsewhere(f"{one}/{name}"), refused:
                put(engine, "second", b"2")


def test_after_a_kill_and_another_mount_a_store_opens(tmp_path):
    with layered(tmp_path) as where:
        before = where.stat().st_dev
        with opened_elsewhere(f"{where}/data") as pid:
            os.kill(pid, signal.SIGKILL)
    # In between, something else gets the number of the device.
    between = tmp_path / "between"
    with covered(between, "mount", "-t", "tmpfs", "none", between), layered(tmp_path) as where:
        assert where.stat().st_dev != before
        engine = make_engine(path=f"{where}/data", sleep=time.sleep)
        assert engine.get(key("first")).value == b"1"
        engine.close()
