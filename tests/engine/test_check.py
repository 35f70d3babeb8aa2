"""Verifying a store, and salvaging a damaged one."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time

import pytest

from litesess import ConfigError, Corruption, Record, StoreError, StoreLocked, WALStore
from litesess.engine import compaction, probe
from litesess.engine import format as form
from litesess.engine.maintenance import Maintenance
from litesess.ids import key_of
from tests.tools.engines import abandon, content, delete, key, make_engine, put, small_files
from tests.tools.simdisk import SimDisk


@pytest.fixture
def disk(monkeypatch):
    small_files(monkeypatch)
    return SimDisk()


def filled(disk: SimDisk):
    """A store with entries in a snapshot and more in the log behind it, closed."""
    engine = make_engine(disk)
    for number in range(10):
        put(engine, number, str(number).encode() * 9)
    engine.compact()
    for number in range(10, 20):
        put(engine, number, str(number).encode() * 9)
    delete(engine, 3)
    engine.close()
    return disk.files()


def kept(files) -> set[bytes]:
    entries, _ = make_engine(SimDisk(files)).salvage()
    return set(entries)


def names(*numbers: int) -> set[bytes]:
    return {key(number) for number in numbers}


def test_a_good_store_is_verified_and_counted(disk):
    files = filled(disk)
    found = make_engine(SimDisk(files)).verify()
    # The MARK of the compaction, ten puts, a deletion, and the MARK of the close.
    assert (found.entries, found.records) == (10, 13)


def test_verifying_changes_nothing(disk):
    files = filled(disk)
    fresh = SimDisk(files)
    make_engine(fresh).verify()
    assert fresh.files() == files


def test_any_flipped_bit_that_counts_is_found(disk):
    files = filled(disk)
    rng = random.Random(1)
    for name, data in files.items():
        end = len(data.rstrip(b"\0"))
        if not end or name.endswith((".live", ".compact")):
            continue
        for _ in range(150):
            at, bit = rng.randrange(end), rng.randrange(8)
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(StoreError):
                make_engine(SimDisk(files | {name: bytes(damaged)})).verify()


def test_a_store_is_verified_while_it_is_written_and_compacted(tmp_path):
    path = str(tmp_path / "data")
    engine = make_engine(path=path, wal_limit=1 << 16)
    put(engine, "first", b"1")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            put(engine, number % 50, b"x" * 300, sync=False)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        deadline = time.monotonic() + 30
        for number in itertools.count():
            assert make_engine(path=path).verify().log_bytes > 0
            if number >= 20 and (
                engine._open.follower.current.log.header.generation > 1
                or time.monotonic() > deadline
            ):
                break
    finally:
        stop.set()
        writing.join()
    assert engine._open.follower.current.log.header.generation > 1
    engine.close()


def test_salvage_takes_all_that_is_good(disk):
    assert kept(filled(disk)) == names(*range(20)) - names(3)


def test_salvage_leaves_what_a_hole_may_have_deleted(disk):
    files = filled(disk)
    name = "sessions.0000000000000002.wal"
    damaged = bytearray(files[name])
    damaged[damaged.index(b"14" * 9)] ^= 1
    files[name] = bytes(damaged)
    with pytest.raises(Corruption):
        content(make_engine(SimDisk(files)))
    entries, report = make_engine(SimDisk(files)).salvage()
    assert set(entries) == names(*range(15, 20))
    assert (report.kept, report.doubtful) == (5, 13)
    assert "sequence 18 after 16" in str(report.holes[0])


def test_salvage_never_brings_back_a_session_whose_deletion_is_damaged(disk):
    files = filled(disk)
    name = "sessions.0000000000000002.wal"
    damaged = bytearray(files[name])
    at = damaged.rindex(key(3))
    damaged[at] ^= 1
    files[name] = bytes(damaged)
    assert key(3) not in kept(files)


@pytest.mark.parametrize("count", range(0, 700, 7))
def test_salvage_of_a_truncated_log_never_brings_back_a_session(disk, count):
    files = filled(disk)
    name = "sessions.0000000000000002.wal"
    files[name] = files[name].rstrip(b"\0")[:-count] if count else files[name]
    assert key(3) not in kept(files)


def test_salvage_loses_one_damaged_entry_of_a_snapshot_and_no_other(disk):
    files = filled(disk)
    name = "sessions.0000000000000002.snapshot"
    damaged = bytearray(files[name])
    damaged[damaged.index(b"7" * 9)] ^= 1
    files[name] = bytes(damaged)
    assert kept(files) == names(*range(20)) - names(3, 7)


def test_salvage_goes_on_where_a_snapshot_can_t_be_read_at_all(disk):
    files = filled(disk)
    files["sessions.0000000000000002.snapshot"] = b"?"
    assert kept(files) == names(*range(10, 20))


SNAPSHOT, LOG = "sessions.0000000000000002.snapshot", "sessions.0000000000000002.wal"


def without(files, *missing: str):
    return {name: data for name, data in files.items() if name not in missing}


@pytest.mark.parametrize("with_slot", [True, False])
def test_salvage_of_a_snapshot_without_its_log_keeps_nothing(disk, with_slot):
    files = filled(disk)
    missing = (LOG,) if with_slot else (LOG, "sessions.live")
    entries, report = make_engine(SimDisk(without(files, *missing))).salvage()
    assert entries == {}
    assert report.doubtful == 10
    assert [str(hole) for hole in report.holes] == [f"/store/{LOG} offset 0: is missing"]


def test_salvage_knows_of_a_later_log_by_the_slot(disk):
    earlier = filled(disk)
    engine = make_engine(disk)
    delete(engine, 5)
    engine.compact()
    abandon(engine)
    mixed = earlier | {"sessions.live": disk.files()["sessions.live"]}
    entries, report = make_engine(SimDisk(mixed)).salvage()
    assert entries == {}
    assert "0000000000000003.wal offset 0: is missing" in str(report.holes[-1])


def test_salvage_misses_a_log_that_a_seal_names_though_a_later_one_is_there(disk, monkeypatch):
    engine = make_engine(disk)
    put(engine, 1, b"1")
    monkeypatch.setattr(compaction, "_publish", lambda *_, **_how: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.compact()
    monkeypatch.undo()
    small_files(monkeypatch)
    delete(engine, 1)
    files = disk.files()
    head = form.decode_header(files["sessions.0000000000000001.wal"], "f", form.WAL_MAGIC)[0]
    later = head._replace(generation=3, salt=b"s" * 16).encode().ljust(2048, b"\0")
    files = without(files, "sessions.0000000000000002.wal", "sessions.live")
    entries, _ = make_engine(SimDisk(files | {"sessions.0000000000000003.wal": later})).salvage()
    assert entries == {}


def test_salvage_takes_nothing_from_the_log_of_another_store(disk):
    files, others = filled(disk), filled(SimDisk())
    entries, report = make_engine(SimDisk(files | {LOG: others[LOG]})).salvage()
    assert entries == {}
    assert any("of another store" in str(hole) for hole in report.holes)


def test_data_that_looks_like_records_is_never_salvaged_as_records(disk):
    engine = make_engine(disk)
    put(
        engine,
        "forger",
        form.encode_record(0, None, form.PUT, 0, key("forged") + bytes(8), 2, 0, 0) * 3,
    )
    abandon(engine)
    assert kept(disk.files()) == {key("forger")}


def test_a_salvaged_store_is_a_store(tmp_path):
    source = WALStore(tmp_path / "source")
    source.create(key_of("a"), Record({"user": "ada"}, 0.0, 1e10))
    source.close()
    target = WALStore(tmp_path / "target")
    assert target.salvage(tmp_path / "source").kept == 1
    assert target.load(key_of("a")).data == {"user": "ada"}
    with pytest.raises(ConfigError, match="not an empty store"):
        target.salvage(tmp_path / "source")
    target.close()


# Questions about a store that is not opened.


def test_a_store_is_known_by_its_files_and_by_its_key_file_without_being_opened(tmp_path):
    with WALStore(tmp_path, encryption_key=bytes(32)) as store:
        store.create(key_of("1"), Record({}, 1.0, 4e9))
    with WALStore(tmp_path, collection="other") as store:
        store.create(key_of("1"), Record({}, 1.0, 4e9))
    (tmp_path / "notes.txt").write_text("not a store's")
    before = sorted(os.listdir(tmp_path))
    assert probe.collections_in(str(tmp_path)) == ["other", "sessions"]
    assert probe.key_file(f"{tmp_path}/", "sessions").is_raw
    assert probe.key_file(str(tmp_path), "other") is None
    assert sorted(os.listdir(tmp_path)) == before


def test_a_store_is_closed_if_no_process_has_it_open_and_stays_so(tmp_path):
    path = str(tmp_path)
    with probe.closed(path, "sessions") as is_closed:
        assert is_closed
    with WALStore(tmp_path, lock_timeout=0.1) as store:
        store.create(key_of("1"), Record({}, 1.0, 4e9))
        with probe.closed(path, "sessions") as is_closed:
            assert not is_closed
    with (
        probe.closed(path, "sessions") as is_closed,
        WALStore(tmp_path, lock_timeout=0.1) as store,
    ):
        assert is_closed
        with pytest.raises(StoreLocked):
            store.load(key_of("1"))


def test_what_a_compaction_has_written_can_be_watched(tmp_path, monkeypatch):
    path, seen = str(tmp_path), []
    real = Maintenance.pause

    def pause(self) -> None:
        seen.append(probe.new_snapshot_bytes(path, "sessions"))
        real(self)

    monkeypatch.setattr(Maintenance, "pause", pause)
    with WALStore(tmp_path) as store:
        store.create(key_of("1"), Record({"x": "x" * 1000}, 1.0, 4e9))
        store.compact()
    assert seen[0] == 0
    assert max(seen) > 1000
    assert probe.new_snapshot_bytes(path, "sessions") == 0
    assert probe.new_snapshot_bytes(f"{path}/nowhere", "sessions") == 0
