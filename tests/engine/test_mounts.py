"""File systems: those that several processes may share, and one process on the others."""

from __future__ import annotations

import logging
import os
import signal
from functools import partial

import pytest

from litesess import StoreLocked, WALStore
from litesess.engine import FileSystem, mounts
from tests.tools.children import in_child
from tests.tools.counters import COUNTERS, Writer, stored_counters
from tests.tools.engines import content, key, make_engine, put
from tests.tools.servers import wait_until
from tests.tools.views import bindfs, gocryptfs

#: LITESESS_FUSE_KILLS sets how often a worker is killed (docs/testing.rst).
KILLS = int(os.environ.get("LITESESS_FUSE_KILLS", "4"))


class Odd(FileSystem):
    """A directory on a file system that nothing is known of."""

    type_of = staticmethod(lambda _path: "fuse.bindfs")


class Untold(FileSystem):
    """A directory on a system that does not tell the types of file systems."""

    type_of = staticmethod(lambda _path: "")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "data")


def test_a_second_process_is_refused_where_little_is_known_of_the_file_system(path):
    engine = make_engine(Odd(), path)
    put(engine, "first", b"1")
    with pytest.raises(StoreLocked) as caught:
        make_engine(Odd(), path).get(key("first"))
    for part in (f"process {os.getpid()},", "fuse.bindfs", "one process", "share_anywhere=True"):
        assert part in str(caught.value)
    engine.close()


def test_processes_share_it_where_the_operator_says_so(path):
    sharing = [make_engine(Odd(), path, trusts_disk=True) for _ in range(2)]
    for number, engine in enumerate(sharing):
        put(engine, number, b"1")
    assert content(sharing[0]) == content(sharing[1])
    # A command that was not told follows those who have it open.
    command = make_engine(Odd(), path)
    assert len(content(command)) == 2
    put(command, "third", b"3")
    assert len(content(sharing[0])) == 3
    for engine in (command, *sharing):
        engine.close()
    # When nobody has it open, it has the store alone.
    put(command := make_engine(Odd(), path), "fourth", b"4")
    with pytest.raises(StoreLocked, match="does not share it"):
        make_engine(Odd(), path, trusts_disk=True).get(key("first"))
    command.close()


def test_who_finds_that_the_others_have_just_left_shares_it_with_nobody(path, monkeypatch):
    engine = make_engine(Odd(), path)
    monkeypatch.setattr(engine._opener, "_is_shared", lambda _presence: True)
    put(engine, "first", b"1")
    assert not engine._open.follower.is_shared
    with pytest.raises(StoreLocked, match="share_anywhere"):
        make_engine(Odd(), path).get(key("first"))
    engine.close()


def test_where_the_type_can_t_be_told_processes_share_it_and_it_is_logged_once(path, caplog):
    caplog.set_level(logging.INFO)
    engines = [make_engine(Untold(), path) for _ in range(2)]
    for number, engine in enumerate(engines):
        put(engine, number, b"1")
        put(engine, number, b"2")
    assert content(engines[0]) == content(engines[1])
    said = [record.message for record in caplog.records if "can't be told" in record.message]
    assert said == [f"{path}: {said[0].partition(': ')[2]}"] * 2  # each engine opens once
    for engine in engines:
        engine.close()


def test_without_a_list_of_mounts_the_type_can_t_be_told(monkeypatch, tmp_path):
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mountinfo")
    assert FileSystem.type_of("/") == ""


def test_a_store_has_an_option_for_it(path, monkeypatch):
    monkeypatch.setattr(FileSystem, "type_of", staticmethod(Odd.type_of))
    with WALStore(path, share_anywhere=True) as one, WALStore(path) as other:
        assert len(one) == len(other) == 0


@pytest.mark.parametrize("mount", [bindfs, gocryptfs])
def test_these_take_one_process(tmp_path, mount):
    (tmp_path / "source").mkdir()
    with mount(tmp_path / "source", tmp_path / "view") as view:
        engine = make_engine(path=f"{view}/data")
        put(engine, "first", b"1")

        def work() -> int:
            with pytest.raises(StoreLocked, match="is of type fuse"):
                make_engine(path=f"{view}/data").get(key("first"))
            return 7

        assert in_child(work) == 7
        engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("mount", [bindfs, gocryptfs])
def test_there_nothing_is_lost_when_the_one_process_is_killed_and_two_wait(tmp_path, mount):
    (tmp_path / "source").mkdir()
    with mount(tmp_path / "source", tmp_path / "view") as view:
        seeds = iter(range(2, KILLS + 10))
        start = partial(Writer, f"{view}/data", (0, 3000))
        writers = [start(1)]
        writers[0].wait()
        acknowledged = [0] * COUNTERS
        writers += [start(next(seeds)), start(next(seeds))]
        try:
            for _ in range(KILLS):
                (open_one,) = [it for it in writers if any(it.acknowledged)]
                open_one.wait()
                assert os.WIFSIGNALED(open_one.kill(signal.SIGKILL)), "it failed by itself"
                writers.remove(open_one)
                acknowledged = [*map(max, acknowledged, open_one.acknowledged)]
                writers.append(start(next(seeds)))

                def next_opens(before=acknowledged) -> bool:
                    for writer in writers:
                        writer.listen()
                    for writer in writers:
                        for had, found in zip(before, writer.acknowledged, strict=True):
                            assert found == 0 or found > had, f"{found} after {had}"
                    return any(any(writer.acknowledged) for writer in writers)

                wait_until(next_opens, "the next one opens the store")
        finally:
            for writer in writers:
                writer.kill(signal.SIGKILL)
        for writer in writers:
            acknowledged = [*map(max, acknowledged, writer.acknowledged)]
        found = stored_counters(f"{view}/data")
        assert all(map(int.__ge__, found, acknowledged)), (found, acknowledged)
