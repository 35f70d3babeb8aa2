"""Full disks, on real file systems: what goes on, and how one is emptied."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from litesess.errors import StoreFull
from tests.tools.disks import file_system, fill, run
from tests.tools.engines import content, delete, key, make_engine, put

pytestmark = pytest.mark.slow

#: Those of which README.rst says that logging out works on a full disk.
FILE_SYSTEMS = ("ext4", "xfs", "btrfs", "tmpfs")
COUNT = 100


@pytest.fixture(params=FILE_SYSTEMS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with file_system(request.param, tmp_path) as where:
        yield where


def log_out_all(engine, count: int) -> None:
    for number in range(count):
        delete(engine, number)
    assert not content(engine)


def test_logging_out_works_on_a_full_disk(disk):
    engine = make_engine(path=str(disk / "data"))
    for number in range(COUNT):
        put(engine, number, b"x" * 200, sync=False)
    engine.compact()
    fill(disk)
    with pytest.raises(StoreFull):
        for number in range(5000):
            put(engine, f"more {number}", b"x" * 200, sync=False)
    for number in range(COUNT):
        delete(engine, number)
    assert not any(engine.get(key(number)) for number in range(COUNT))
    engine.close()


@pytest.mark.parametrize("copy", ["cp --sparse=always -r", "cp --reflink=auto -r"])
def test_logging_out_works_on_a_copy_that_was_opened_before_the_disk_was_full(disk, copy):
    engine = make_engine(path=str(disk / "made"))
    for number in range(COUNT):
        put(engine, number, b"x" * 200, sync=False)
    engine.close()
    run(*copy.split(), disk / "made", disk / "data")
    (disk / "data").chmod(0o700)
    engine = make_engine(path=str(disk / "data"))
    assert len(content(engine)) == COUNT
    fill(disk)
    log_out_all(engine, COUNT)
    engine.close()


FILLER = """
import itertools, sys
from litesess import Record, StoreFull, WALStore
from litesess.ids import key_of

store = WALStore(sys.argv[1], durable=False, gc_interval=None, wal_limit=int(sys.argv[2]))
try:
    for number in itertools.count():
        store.create(key_of(str(number)), Record({"x": "y" * 4000}, 1.0, 4e9))
except StoreFull:
    store.close()
"""


@pytest.mark.parametrize("wal_limit", [1 << 16, pytest.param(1 << 26, marks=pytest.mark.long)])
def test_a_store_that_has_filled_its_disk_can_be_emptied(disk, wal_limit):
    """Nothing else on the disk could be deleted to make room."""
    fill_all_but(disk, 6 << 20)
    path = disk / "data"
    run(sys.executable, "-c", FILLER, path, str(wal_limit))
    run(sys.executable, "-m", "litesess", "revoke", "--all", path)
    run(sys.executable, "-m", "litesess", "compact", path)
    engine = make_engine(path=str(path))
    assert not content(engine)
    for number in range(COUNT):
        put(engine, number, b"x" * 2000, sync=False)
    engine.compact()
    fill(disk)
    log_out_all(engine, COUNT)
    engine.close()


def fill_all_but(disk: Path, room: int) -> None:
    (disk / "room").write_bytes(bytes(room))
    fill(disk)
    (disk / "room").unlink()


def test_a_copy_opens_on_a_full_disk(disk):
    engine = make_engine(path=str(disk / "made"))
    for number in range(COUNT):
        put(engine, number, b"x" * 200, sync=False)
    engine.close()
    run("cp", "--sparse=always", "-r", disk / "made", disk / "data")
    (disk / "data").chmod(0o700)
    fill(disk)
    engine = make_engine(path=str(disk / "data"))
    assert len(content(engine)) == COUNT
    shutil.rmtree(disk / "made")
    for each in disk.glob("filling*"):
        each.unlink()
    delete(engine, 1)
    engine.close()
