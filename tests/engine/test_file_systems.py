"""Real file systems that differ from a local disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from litesess.engine import snapshot
from litesess.errors import StoreError
from tests.tools.children import do_in_child
from tests.tools.disks import file_system, overlay, without_shared_memory
from tests.tools.engines import content, delete, key, make_engine, put


def fill_up(path: Path, count: int, *, size: int = 300) -> None:
    """Make a store with so many entries, and close it."""
    engine = make_engine(path=str(path), wal_limit=1 << 26)
    for number in range(count):
        put(engine, number, b"x" * size, sync=False)
    engine.close()


def test_a_store_compacts_and_opens_where_no_memory_is_shared(tmp_path):
    with without_shared_memory(tmp_path) as where:
        path = str(where / "data")
        for turn in range(2):  # the second opens it with a snapshot
            engine = make_engine(path=path)
            for number in range(200):
                put(engine, number, str(turn).encode(), sync=False)
            engine.compact()
            assert len(content(engine)) == 200
            assert engine.get(key(7)).value == str(turn).encode()
            engine.close()


def test_a_reader_sees_what_is_written_where_no_memory_is_shared(tmp_path):
    with without_shared_memory(tmp_path) as where:
        fill_up(where / "data", 3)
        reader = make_engine(path=str(where / "data"), read_only=True)
        assert reader.get(key(1)) is not None
        do_in_child(lambda: delete(make_engine(path=str(where / "data")), 1))
        assert reader.get(key(1)) is None
        reader.close()


def test_a_reader_sees_what_a_writer_has_written_that_copied_the_log_up(tmp_path):
    (tmp_path / "image").mkdir()
    fill_up(tmp_path / "image" / "data", 3)
    with overlay(tmp_path, tmp_path / "image") as where:
        path = str(where / "data")
        reader = make_engine(path=path, read_only=True)
        assert reader.get(key(1)) is not None
        do_in_child(lambda: delete(make_engine(path=path), 1))
        assert reader.get(key(1)) is None
        do_in_child(lambda: make_engine(path=path).compact())
        do_in_child(lambda: delete(make_engine(path=path), 2))
        assert reader.get(key(2)) is None
        reader.close()


def give_up(path: Path) -> None:
    """Let the kernel forget what it has of a store's files, but for pages that are mapped."""
    os.sync()
    for file in path.iterdir():
        fd = os.open(file, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


@pytest.mark.slow
@pytest.mark.parametrize("kept_in", ["log", "small snapshot", "large snapshot"])
def test_a_medium_that_stops_answering_is_an_error_and_kills_nobody(tmp_path, kept_in, monkeypatch):
    if kept_in == "large snapshot":
        monkeypatch.setattr(snapshot, "MAPPED_BYTES", 0)
    with file_system("ext4", tmp_path) as where:
        path = where / "data"
        fill_up(path, 20_000)
        if kept_in != "log":
            engine = make_engine(path=str(path))
            engine.compact()
            engine.close()

        def read() -> list[str]:
            engine = make_engine(path=str(path))
            engine.get(key(0))
            give_up(path)
            os.truncate(tmp_path / "ext4.image", 1 << 20)
            refusals = []
            for number in range(1000):
                try:
                    assert engine.get(key(number)).value == b"x" * 300
                except StoreError as error:
                    refusals.append(str(error))
            return refusals

        def work() -> None:
            refusals = read()
            # Mapped bytes are in memory already.
            assert bool(refusals) == (kept_in == "large snapshot"), refusals[:1]
            for refusal in refusals:
                assert re.search(r"/data/sessions\.\w+\.snapshot: .*, at offset \d+", refusal)

        do_in_child(work)
