"""The engine on the real disk: opening, other processes, forks, what must not be there."""

from __future__ import annotations

import ast
import errno
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

import litesess.engine
from litesess import Corruption, StoreClosed, StoreError, StoreFailed, StoreLocked, StoreReadOnly
from litesess.engine import Change, FileSystem, Put
from litesess.engine import format as form
from litesess.engine.lock import FileLock
from litesess.engine.mounts import LOCAL_TYPES, mounted_type
from tests.tools.children import in_child
from tests.tools.engines import FAR, abandon, content, delete, key, make_engine, put

WAL = "sessions.0000000000000001.wal"
LIVE = "sessions.live"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "data")


def descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


def test_nothing_is_made_or_held_before_the_first_operation(path):
    before = len(descriptors()), threading.active_count()
    engine = make_engine(path=path)
    engine.check()
    assert (len(descriptors()), threading.active_count()) == before
    assert not os.path.exists(path)
    engine.get(key("first"))
    assert os.path.exists(path)
    engine.close()


def test_closing_leaves_no_descriptor(path):
    before = len(descriptors())
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine.compact()
    put(engine, "second", b"2")
    engine.close()
    del engine
    assert len(descriptors()) == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_private_whatever_the_umask(path, umask):
    before = os.umask(umask)
    try:
        engine = make_engine(path=path)
        put(engine, "first", b"1")
        engine.compact()
        engine.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    modes = {name: stat.S_IMODE(os.stat(f"{path}/{name}").st_mode) for name in os.listdir(path)}
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


class OnNetwork(FileSystem):
    """A directory that other machines may write to."""

    type_of = staticmethod(lambda _path: "nfs4")


def test_on_a_network_a_second_process_is_refused_with_path_owner_and_cure(path):
    engine = make_engine(OnNetwork(), path, lock=FileLock())
    put(engine, "first", b"1")

    def work() -> int:
        with pytest.raises(StoreLocked) as caught:
            make_engine(OnNetwork(), path, lock=FileLock()).get(key("first"))
        assert caught.value.path == path
        message = str(caught.value)
        assert f"process {os.getppid()}," in message
        assert "nfs4" in message
        assert "several threads" in message
        return 7

    assert in_child(work) == 7
    put(engine, "second", b"2")
    assert set(content(engine)) == {key("first"), key("second")}
    engine.close()


def test_on_a_network_a_process_gets_in_as_soon_as_the_other_has_closed(path):
    first = make_engine(OnNetwork(), path, lock=FileLock())
    put(first, "first", b"1")
    second = make_engine(OnNetwork(), path, lock=FileLock(), lock_timeout=10)
    closing = threading.Timer(0.05, first.close)
    closing.start()
    assert second.get(key("first")).value == b"1"
    closing.join()
    second.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "overlay"),
        ("/srv/www/data", "ext4"),
        ("/srv/www", "ext4"),
        ("/srv/www2", "overlay"),
        ("/home/ada/data", "nfs4"),
        ("/mnt/two words/data", "fuse.sshfs"),
        ("/over/data", "tmpfs"),
    ],
)
def test_the_type_of_a_file_system_is_that_of_its_nearest_mount(path, kind):
    # As in proc_pid_mountinfo(5): optional fields, spaces in octal, one mount over another.
    mounts = """\
25 1 0:22 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a
31 25 8:1 / /srv/www rw,noatime - ext4 /dev/sda1 rw
40 25 0:51 /export /home rw,relatime shared:9 master:2 - nfs4 server:/export rw,vers=4.2
41 25 0:52 / /mnt/two\\040words rw - fuse.sshfs host:/ rw,user_id=0
42 25 0:53 / /over rw - cifs //host/share rw
43 42 0:54 / /over rw - tmpfs tmpfs rw
"""
    assert mounted_type(mounts.splitlines(), path) == kind


def test_the_directory_of_this_test_is_on_a_local_disk(tmp_path):
    kind = FileSystem.type_of(str(tmp_path))
    if not kind:
        pytest.skip("this system does not tell the types of its file systems")
    assert kind in LOCAL_TYPES


def test_two_engines_on_one_directory_in_one_process_share_it(path):
    first, second = make_engine(path=path), make_engine(path=path)
    for number in range(20):
        put((first, second)[number % 2], number, str(number).encode())
        assert (second, first)[number % 2].get(key(number)).value == str(number).encode()
        if number % 7 == 0:
            (first, second)[number % 3 % 2].compact()
    first.close()
    delete(second, 0)
    again = make_engine(path=path)
    assert set(content(again)) == {key(number) for number in range(1, 20)}
    second.close()
    again.close()


def test_two_collections_share_a_directory(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine._opener.names = engine._opener.names._replace(collection="other")
    engine._opening_lock.acquire()
    first, engine._open = engine._open, None
    engine._opening_lock.release()
    assert engine.get(key("first")) is None
    put(engine, "second", b"2")
    engine.close()
    first.close()
    assert {name.split(".")[0] for name in os.listdir(path)} == {"sessions", "other"}


# Forks.


def test_a_forked_child_shares_what_its_parent_has_open(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")

    def work() -> int:
        put(engine, "second", engine.get(key("first")).value * 2)
        engine.close()
        return 7

    assert in_child(work) == 7
    assert engine.get(key("second")).value == b"11"
    put(engine, "third", b"3")
    engine.close()


def test_a_child_opens_for_itself_what_its_parent_had_not_opened(path):
    engine = make_engine(path=path)

    def work() -> int:
        put(engine, "first", b"1")
        engine.close()
        return 7

    assert in_child(work) == 7
    assert engine.get(key("first")).value == b"1"
    engine.close()


def test_a_child_that_outlives_its_parents_store_does_not_keep_it_locked(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    reading, writing = os.pipe()

    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        engine.close()
        again = make_engine(path=path)
        assert again.get(key("first")).value == b"1"
        again.close()
    finally:
        os.write(writing, b"x")
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_in_the_middle_of_commits_deadlocks_nobody(path):
    engine = make_engine(path=path, lock_timeout=10)
    stop = threading.Event()

    def write(number: int) -> None:
        while not stop.is_set():
            put(engine, number, b"x" * 100)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()

    def work() -> int:
        put(engine, os.getpid(), b"child")
        return 7 if engine.get(key(os.getpid())).value == b"child" else 1

    try:
        assert [in_child(work) for _ in range(10)] == [7] * 10
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(content(engine)) == 14
    engine.close()


@pytest.mark.slow
def test_a_signal_handler_may_fork_in_the_midst_of_a_commit(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    statuses = []

    def work() -> int:
        return 7 if engine.get(key("first")).value == b"1" else 1

    def plan(_stored: object) -> tuple[list[Change], None]:
        signal.raise_signal(signal.SIGUSR1)
        return [Put(key("second"), b"2", FAR)], None

    before = signal.signal(signal.SIGUSR1, lambda *_: statuses.append(in_child(work)))
    try:
        engine.transact(plan, sync=True)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert statuses == [7]
    assert engine.get(key("second")).value == b"2"
    put(engine, "third", b"3")
    engine.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_threads_may_fork_at_once(path):
    engine = make_engine(path=path, lock_timeout=10)
    put(engine, "first", b"1")
    statuses = []

    def work() -> int:
        put(engine, os.getpid(), b"child")
        return 7

    def fork() -> None:
        statuses.extend(in_child(work) for _ in range(5))

    threads = [threading.Thread(target=fork) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [7] * 15
    assert len(content(engine)) == 16
    engine.close()


def test_a_refused_opening_lets_go_at_once(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    put(engine, "second", b"2")
    engine.close()
    with open(f"{path}/{WAL}", "r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    refused = make_engine(path=path)
    with pytest.raises(Corruption) as caught:
        refused.get(key("first"))
    with open(f"{path}/{WAL}", "r+b") as file:
        file.seek(100)
        file.write(byte)
    assert make_engine(path=path).get(key("first")).value == b"1"
    assert caught.value.offset == form.HEADER_BYTES


def ask_in_vain(engine, expected: type[StoreError], refused: list[StoreError]) -> None:
    try:
        engine.get(key("first"))
    except expected as error:
        refused.append(error)


def test_threads_that_wait_for_a_locked_store_wait_together(path):
    engine = make_engine(OnNetwork(), path, lock=FileLock())
    put(engine, "first", b"1")
    waits = []

    class Counting(FileLock):
        def acquire(self, fd, timeout, **how):
            waits.append(timeout)
            while len(waiting) < 6:  # until all have asked
                time.sleep(0.001)
            return super().acquire(fd, timeout, **how)

    other = make_engine(OnNetwork(), path, lock=Counting(), lock_timeout=0.1)
    refused: list[StoreError] = []
    waiting: list[int] = []

    def ask() -> None:
        waiting.append(1)
        ask_in_vain(other, StoreLocked, refused)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 6
    assert len(waits) <= 2  # one that asked between two looks may wait anew
    engine.close()


def test_closing_does_not_wait_for_another_process(path):
    engine = make_engine(OnNetwork(), path, lock=FileLock())
    put(engine, "first", b"1")
    other = make_engine(OnNetwork(), path, lock=FileLock(), lock_timeout=60)
    refused: list[StoreError] = []
    waiting = threading.Thread(target=ask_in_vain, args=(other, StoreClosed, refused))
    waiting.start()
    while not other._opening_lock.locked():
        time.sleep(0.001)
    other.close()
    waiting.join(10)
    assert len(refused) == 1
    engine.close()


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_directories_that_are_made_above_it_are_private_too(tmp_path, umask):
    before = os.umask(umask)
    try:
        engine = make_engine(path=str(tmp_path / "a" / "b" / "data"))
        put(engine, "first", b"1")
        engine.close()
    finally:
        os.umask(before)
    for made in tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "data":
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


# What must not be there.


def plant_symlink(path: str) -> None:
    os.symlink("/etc/passwd", path)


def plant_fifo(path: str) -> None:
    os.mkfifo(path, 0o600)


def plant_directory(path: str) -> None:
    os.mkdir(path)


def plant_hard_link(path: str) -> None:
    target = path + ".target"
    with open(target, "w") as file:
        file.write("mine")
    os.chmod(target, 0o600)
    os.link(target, path)


PLANTS = [plant_symlink, plant_fifo, plant_directory, plant_hard_link]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", [WAL, LIVE])
def test_what_was_planted_under_a_name_of_ours_is_refused_untouched(path, plant, name):
    os.mkdir(path, 0o700)
    planted = f"{path}/{name}"
    plant(planted)
    before = os.lstat(planted)
    with pytest.raises(StoreError, match=r"remove it|delete the other") as caught:
        content(make_engine(path=path))
    assert planted in str(caught.value)
    after = os.lstat(planted)
    assert (after.st_ino, after.st_mode, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_size,
        before.st_mtime_ns,
    )


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)], ids=str)
def test_no_file_takes_the_place_of_a_standard_stream(path, closed):
    process = os.fork()
    if not process:
        status = 1
        try:
            for fd in closed:
                os.close(fd)
            engine = make_engine(path=path)
            put(engine, "first", b"1")
            engine.compact()
            own = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3) if fd not in closed]
            own += [fd for fd in closed if os.path.exists(f"/proc/self/fd/{fd}")]
            status = int(any(str(each).startswith(path) or each in closed for each in own))
        finally:
            os._exit(status)
    assert os.waitpid(process, 0)[1] == 0
    engine = make_engine(path=path)
    assert engine.get(key("first")).value == b"1"


# Modes that something besides litesess has widened.


def modes(path):
    return {name: stat.S_IMODE(os.stat(f"{path}/{name}").st_mode) for name in os.listdir(path)}


def widened(path, directory, files):
    """Let *path* hold a store, and then have modes as Kubernetes or a restored copy gives them."""
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine.compact()
    put(engine, "second", b"2")
    engine.close()
    for name in os.listdir(path):
        os.chmod(f"{path}/{name}", files)
    os.chmod(path, directory)


@pytest.mark.parametrize(
    ("directory", "files", "expected"),
    [
        (0o2770, 0o660, 0o2700),  # fsGroup of Kubernetes, at each mount
        (0o777, 0o666, 0o700),
        (0o755, 0o644, 0o755),  # a copy that was restored
        (0o700, 0o660, 0o700),
    ],
)
def test_modes_that_were_widened_are_put_right_at_the_opening(
    path, directory, files, expected, caplog
):
    widened(path, directory, files)
    engine = make_engine(path=path)
    assert [engine.get(key(name)).value for name in ("first", "second")] == [b"1", b"2"]
    put(engine, "third", b"3")
    assert set(modes(path).values()) == {0o600}
    assert stat.S_IMODE(os.stat(path).st_mode) == expected
    engine.close()
    told = [record.getMessage() for record in caplog.records if "had mode" in record.getMessage()]
    assert len(told) == len(set(told))
    assert any(f"sessions.live had mode {files:04o}" in text for text in told)
    caplog.clear()
    content(make_engine(path=path))
    assert caplog.records == []


def test_of_a_directory_that_holds_other_files_only_the_write_bits_go(path):
    widened(path, 0o775, 0o664)
    with open(f"{path}/style.css", "w") as file:
        os.chmod(file.fileno(), 0o644)
    content(make_engine(path=path))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
    assert modes(path).pop("style.css") == 0o644


def test_modes_that_are_widened_while_it_is_open_are_put_right(path, caplog):
    now = [0.0]
    engine = make_engine(path=path, monotonic=lambda: now[0])
    put(engine, "first", b"1")
    os.chmod(path, 0o2770)
    for name in os.listdir(path):
        os.chmod(f"{path}/{name}", 0o660)
    now[0] += 2
    assert engine.get(key("first")).value == b"1"
    assert set(modes(path).values()) == {0o600}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o2700
    assert path in caplog.text


def test_a_mode_that_cant_be_put_right_is_refused_with_the_cure(path, monkeypatch):
    widened(path, 0o777, 0o666)
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: None)
    with pytest.raises(StoreError, match=r"directory .* has mode 0777.* chmod go-w"):
        content(make_engine(path=path))
    os.chmod(path, 0o700)
    with pytest.raises(StoreError, match=r"mode 0666.* chmod 600") as caught:
        content(make_engine(path=path))
    assert "remove" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_cant_be_opened_is_named():
    with tempfile.TemporaryDirectory() as above:
        os.chmod(above, 0o755)
        path = f"{above}/data"
        widened(path, 0o700, 0o600)
        os.chown(path, 12345, 12345)
        process = os.fork()
        if not process:
            os.setuid(12345)
            try:
                content(make_engine(path=path))
            except StoreError as error:
                os._exit(0 if f"{path}/sessions." in str(error) else 2)
            os._exit(3)
        assert os.waitpid(process, 0)[1] == 0


def test_a_store_that_is_only_read_is_refused_and_not_changed(path):
    widened(path, 0o777, 0o666)
    with pytest.raises(StoreError, match="chmod go-w"):
        content(make_engine(path=path, read_only=True))
    assert set(modes(path).values()) == {0o666}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_owner_is_refused(path):
    os.mkdir(path, 0o700)
    os.chown(path, 12345, 12345)
    with pytest.raises(StoreError, match=r"uid 12345.*subdirectory"):
        content(make_engine(path=path))


def test_files_of_others_in_the_directory_are_left_alone(path):
    os.mkdir(path, 0o700)
    for name in ["notes.txt", "sessions.backup", "other.0000000000000009.wal", "sessions.9.wal"]:
        with open(f"{path}/{name}", "w") as file:
            file.write(name)
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine.compact()
    engine.close()
    with open(f"{path}/sessions.backup") as file:
        assert file.read() == "sessions.backup"
    assert len(os.listdir(path)) == 8


def test_a_log_of_another_store_is_refused(path, tmp_path):
    other = str(tmp_path / "other")
    for where in path, other:
        engine = make_engine(path=where)
        put(engine, "first", where.encode())
        engine.close()
    os.replace(f"{other}/{WAL}", f"{path}/{WAL}")
    with pytest.raises(Corruption, match="another store"):
        content(make_engine(path=path))


def test_a_corrupted_header_is_found_without_opening_the_store(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine.close()
    with open(f"{path}/{WAL}", "r+b") as file:
        file.seek(20)
        file.write(b"?")
    with pytest.raises(Corruption, match="header checksum") as caught:
        make_engine(path=path).check()
    assert caught.value.path == f"{path}/{WAL}"


def test_a_store_that_was_killed_is_as_it_was(path):
    engine = make_engine(path=path)
    for number in range(50):
        put(engine, number, str(number).encode())
    delete(engine, 7)
    expected = content(engine)
    abandon(engine)
    again = make_engine(path=path)
    assert content(again) == expected
    assert len(expected) == 49
    again.close()


# Reading only, and nothing left to write to.


def test_a_long_log_is_put_right_after_a_kill_in_little_memory(path):
    engine = make_engine(path=path, wal_limit=1 << 30)
    for number in range(32):
        put(engine, number % 2, bytes([number]) * (1 << 20), sync=False)
    abandon(engine)
    fresh = make_engine(path=path, wal_limit=1 << 30)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = fresh.get(key(1))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found.value == bytes([31]) * (1 << 20)
    assert peak < 12 << 20  # of 32 MiB
    fresh.close()


def test_a_store_opened_for_reading_shows_all_and_changes_nothing(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine.compact()
    put(engine, "second", b"2")
    abandon(engine)
    before = {name: os.stat(f"{path}/{name}").st_mtime_ns for name in os.listdir(path)}
    reader = make_engine(path=path, read_only=True)
    assert set(content(reader)) == {key("first"), key("second")}
    for operation in (lambda: put(reader, "third", b"3"), lambda: delete(reader, "first")):
        with pytest.raises(StoreReadOnly):
            operation()
    reader.close()
    assert {name: os.stat(f"{path}/{name}").st_mtime_ns for name in os.listdir(path)} == before


def test_a_store_in_use_can_be_opened_for_reading(path):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    reader = make_engine(path=path, read_only=True)
    assert reader.get(key("first")).value == b"1"
    reader.close()
    put(engine, "second", b"2")
    engine.close()


def test_a_directory_that_cant_be_written_is_opened_for_reading(path, caplog):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    engine.close()

    class ReadOnly(FileSystem):
        @staticmethod
        def open(directory: int, name: str, path: str, *, write: bool = True, **options) -> int:
            if write:
                raise OSError(errno.EROFS, "Read-only file system")
            return FileSystem.open(directory, name, path, write=False, **options)

    reader = make_engine(ReadOnly(), path)
    assert reader.get(key("first")).value == b"1"
    assert "opened for reading" in caplog.text
    with pytest.raises(StoreReadOnly):
        put(reader, "second", b"2")
    reader.close()


@pytest.mark.parametrize("operation", ["get", "put"])
def test_a_directory_that_was_deleted_is_noticed_at_the_next_operation(path, operation):
    engine = make_engine(path=path)
    put(engine, "first", b"1")
    shutil.rmtree(path)
    with pytest.raises(StoreFailed, match="was deleted"):
        engine.get(key("first")) if operation == "get" else put(engine, "second", b"2")


def test_reads_in_quick_succession_ask_once_whether_the_log_is_there(path):
    class Counting(FileSystem):
        looks = 0

        @staticmethod
        def exists(directory: int, name: str) -> bool:
            Counting.looks += 1
            return FileSystem.exists(directory, name)

    now = 1.0
    engine = make_engine(Counting(), path, monotonic=lambda: now)
    put(engine, "first", b"1")
    engine.get(key("first"))
    now += 0.001
    Counting.looks = 0
    for _ in range(10):
        engine.get(key("first"))
    assert Counting.looks == 1
    now += 0.001
    engine.get(key("first"))
    assert Counting.looks == 2
    shutil.rmtree(path)
    now += 0.001
    for _ in range(2):
        with pytest.raises(StoreFailed, match="was deleted"):
            engine.get(key("first"))


@pytest.mark.parametrize("operation", ["get", "put", "mark", "scan"])
def test_a_log_in_whose_place_another_was_put_is_noticed_within_a_second(path, operation):
    now = 1.0
    engine = make_engine(path=path, monotonic=lambda: now)
    put(engine, "first", b"1")
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    other = make_engine(path=path)
    put(other, "second", b"2")
    assert os.path.exists(f"{path}/{WAL}")
    now += 1.1
    operations = {
        "get": lambda: engine.get(key("first")),
        "put": lambda: put(engine, "third", b"3"),
        "mark": engine.mark,
        "scan": lambda: content(engine),
    }
    for _ in range(2):
        with pytest.raises(StoreFailed, match="deleted or replaced"):
            operations[operation]()
    engine.close()
    assert set(content(other)) == {key("second")}
    other.close()


def test_no_operation_looks_at_the_times_of_the_log(path):
    class Counting(FileSystem):
        looks = 0

        def size(self, fd: int) -> int:
            Counting.looks += 1
            return FileSystem.size(fd)

        def is_at(self, fd: int, path: str) -> bool:
            Counting.looks += 1
            return FileSystem.is_at(fd, path)

        def is_linked(self, fd: int) -> bool:
            Counting.looks += 1
            return FileSystem.is_linked(fd)

    engine = make_engine(Counting(), path)
    put(engine, "first", b"1")
    before = Counting.looks
    for number in range(50):
        put(engine, number, b"1")
        engine.get(key(number))
    assert Counting.looks <= before + 2  # each once a second
    engine.close()


# The house.


def test_only_one_module_of_the_engine_touches_the_disk():
    engine = Path(litesess.engine.__file__).parent
    for module in engine.glob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        if module.stem == "fs":
            continue
        assert "open" not in calls, module
        # forks registers what happens at a fork, lock names the process, mounts asks what is where.
        allowed = {"descriptors", "forks", "lock", "mounts", "system"}
        assert "os" not in names or module.stem in allowed, module
        assert not names & {"io", "pathlib", "shutil", "tempfile", "pickle", "marshal"}, module
