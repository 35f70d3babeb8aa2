"""Reading a snapshot's entries, from memory and by a call of the system."""

from __future__ import annotations

import pytest

from litesess.engine import snapshot
from litesess.errors import Corruption
from tests.tools.engines import FAR, content, key, make_engine, put
from tests.tools.simdisk import SimDisk

COUNT = 30


@pytest.fixture(params=[0, 1 << 20], ids=["read", "mapped"])
def compacted(request, tmp_path, monkeypatch):
    """Yield an engine with all its entries in a snapshot that is mapped, or not."""
    monkeypatch.setattr(snapshot, "MAPPED_BYTES", request.param)
    engine = make_engine(path=str(tmp_path))
    for number in range(COUNT):
        put(engine, number, b"%d" % number * 50, sync=False)
    engine.compact()
    yield engine
    engine.close()


def test_the_entries_of_a_snapshot_are_found_whether_it_is_mapped_or_not(compacted):
    for number in range(COUNT):
        assert compacted.get(key(number)).value == b"%d" % number * 50
    assert compacted.get(key("missing")) is None
    assert content(compacted) == {key(n): (b"%d" % n * 50, FAR) for n in range(COUNT)}
    compacted.verify()


def test_an_entry_that_rots_in_an_open_snapshot_is_damage_with_its_place(compacted, tmp_path):
    (path,) = tmp_path.glob("*.snapshot")
    rotten = bytearray(path.read_bytes())
    at = rotten.index(key(7))
    rotten[at + 60] ^= 1
    with path.open("r+b") as file:
        file.write(rotten)
    with pytest.raises(Corruption) as error_info:
        compacted.get(key(7))
    assert error_info.value.path == str(path)
    assert error_info.value.offset == at
    assert compacted.get(key(8)) is not None


def test_a_read_from_a_small_snapshot_calls_nothing_of_the_system():
    disk = SimDisk()
    engine = make_engine(disk)
    put(engine, "a", b"1")
    engine.compact()
    disk.pread = lambda *_args: pytest.fail("read")
    assert engine.get(key("a")).value == b"1"
