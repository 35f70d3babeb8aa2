"""Touches: of a snapshot's entries they are kept by position, and of a log read many at once."""

from __future__ import annotations

import random
import threading
from zlib import crc32

import pytest

from litesess import StoreFull
from litesess.crypto import EncryptionKey
from litesess.engine import Clear, Delete, Put, Touch
from litesess.engine import format as form
from litesess.engine.replay import replay
from litesess.engine.runs import Run, decode_run
from tests.tools.engines import (
    FAR,
    abandon,
    change,
    content,
    delete,
    key,
    make_engine,
    put,
    seeded_bytes,
    small_files,
    touch,
)
from tests.tools.simdisk import SimDisk

COUNT = 300
SALT_CRC = crc32(b"salt")
KEYS = {"plain": None, "encrypted": EncryptionKey(bytes(range(32)))}


@pytest.fixture
def disk(monkeypatch):
    small_files(monkeypatch)
    return SimDisk()


@pytest.fixture(params=KEYS)
def encryption(request):
    return KEYS[request.param]


def filled(disk, encryption=None, count: int = COUNT):
    """Return an engine on a snapshot of so many sessions."""
    engine = make_engine(disk, encrypted_by=encryption)
    change(engine, *(Put(key(number), b"%d" % number, FAR) for number in range(count)), sync=False)
    engine.compact()
    return engine


def touch_all(engine, start: int, stop: int, end: float) -> dict[bytes, float]:
    """Touch each of some sessions in a record of its own; return their new ends."""
    for number in range(start, stop):
        touch(engine, number, end + number)
    return {key(number): end + number for number in range(start, stop)}


def ends(engine) -> dict[bytes, float]:
    return {found: expires_at for found, (_, expires_at) in content(engine).items()}


def newest(engine):
    return engine._open.follower.current.view.tables[0]


def test_touches_of_a_snapshots_entries_take_no_entry_in_a_table(disk):
    engine = filled(disk)
    touch_all(engine, 0, COUNT, 5.0)
    table = newest(engine)
    assert (len(table.touches), len(table.puts)) == (0, 0)
    versions, expiries = table.touched.columns
    assert versions.nbytes + expiries.nbytes == 16 * COUNT


def test_a_store_without_a_snapshot_keeps_touches_all_the_same(disk):
    engine = make_engine(disk)
    put(engine, 1, b"1")
    touch(engine, 1, 7.0)
    assert ends(engine) == {key(1): 7.0}


@pytest.mark.parametrize("how", ["closed", "killed", "joined", "compacted", "read only"])
def test_touches_survive(disk, encryption, how):
    engine = filled(disk, encryption)
    wanted = touch_all(engine, 0, 200, 5.0)
    put(engine, "new", b"n")
    touch(engine, "new", 9.0)
    wanted |= touch_all(engine, 50, 120, 1000.0)
    delete(engine, 60)
    put(engine, 61, b"again", 77.0)
    del wanted[key(60)]
    wanted |= {key("new"): 9.0, key(61): 77.0}
    wanted |= {key(number): FAR for number in range(200, COUNT)}
    if how == "closed":
        engine.close()
    elif how == "killed":
        abandon(engine)
    elif how == "compacted":
        engine.compact()
    again = make_engine(disk, encrypted_by=encryption, read_only=how == "read only")
    assert ends(again) == wanted
    assert {found: again.get(found).expires_at for found in wanted} == wanted
    if how != "read only":
        again.compact()
        assert ends(again) == wanted
        assert again.verify().entries == len(wanted)


@pytest.mark.parametrize("when", ["before", "meanwhile", "both"])
def test_touches_beside_a_compaction_stay_in_each_process(disk, encryption, when):
    one = filled(disk, encryption)
    other = make_engine(disk, encrypted_by=encryption)
    wanted = ends(other)
    put(one, "in the log", b"1")
    wanted[key("in the log")] = FAR
    if when != "meanwhile":
        wanted |= touch_all(one, 0, 100, 5.0)
    done = threading.Event()

    def fault(call: str) -> None:
        if call == "rename" and len(disk.files()) and not done.is_set():
            names = [name for name in disk.files() if name.endswith("snapshot.tmp")]
            if names and when != "before":
                done.set()
                wanted.update(touch_all(other, 50, 150, 500.0))
                touch(other, "in the log", 3.0)
                wanted[key("in the log")] = 3.0

    disk.fault = fault
    one.compact()
    disk.fault = lambda _call: None
    assert done.is_set() == (when != "before")
    late = make_engine(disk, encrypted_by=encryption)
    for engine in one, other, late:
        assert ends(engine) == wanted
        assert {found: engine.get(found).expires_at for found in wanted} == wanted
        assert newest(engine).touches == {}, "what the new snapshot holds is kept by position"
    other.compact()
    assert ends(one) == ends(other) == wanted


def test_a_touch_that_saw_an_older_version_counts_for_nothing(disk, encryption):
    engine = filled(disk, encryption)
    old = engine.get(key(1)).version
    put(engine, 1, b"newer", 50.0)
    engine.compact()
    change(engine, Touch(key(1), old, 7.0))
    change(engine, Touch(key("never there"), old, 7.0))
    assert engine.get(key(1)).expires_at == 50.0
    engine.compact()
    assert engine.get(key(1)).expires_at == 50.0
    assert engine.verify().entries == COUNT


def test_sessions_whose_keys_begin_alike_are_touched_each_for_itself(disk, encryption):
    twins = [b"twin key" + bytes([number]) * 24 for number in range(3)]
    engine = make_engine(disk, encrypted_by=encryption)
    change(
        engine, *(Put(each, each, FAR) for each in twins), *(Put(key(n), b"", FAR) for n in "ab")
    )
    engine.compact()
    other = make_engine(disk, encrypted_by=encryption)
    version = engine.get(twins[0]).version
    for number, each in enumerate(twins):
        for _ in range(20):
            change(engine, Touch(each, version, 10.0 + number), sync=False)
    wanted = [10.0, 11.0, 12.0]
    late = make_engine(disk, encrypted_by=encryption)
    for each in engine, other, late:
        assert [each.get(twin).expires_at for twin in twins] == wanted
    # One of them goes while the others' touches move to another snapshot.
    change(engine, Delete(twins[1]))
    engine.compact()
    for each in engine, other, late:
        assert [each.get(twin).expires_at for twin in (twins[0], twins[2])] == [10.0, 12.0]


def test_what_a_touch_brings_to_its_end_is_collected_and_what_it_keeps_alive_is_not(disk):
    engine = make_engine(disk)
    for number in range(COUNT):
        put(engine, number, b"x", 100.0 if number < 10 else FAR, sync=False)
    engine.compact()
    touch_all(engine, 0, 5, FAR)
    touch_all(engine, 20, 30, 0.0)
    wanted = {key(number) for number in (*range(5, 10), *range(20, 30))}
    assert {*engine.expired(100.0)} == wanted
    engine.compact()
    assert {*engine.expired(100.0)} == wanted


def test_touches_survive_a_kill_after_a_compaction_that_came_no_further_than_its_seal(disk):
    engine = filled(disk)
    wanted = touch_all(engine, 0, 100, 5.0)

    def fault(call: str) -> None:
        if call == "rename" and any(name.endswith("snapshot.tmp") for name in disk.files()):
            raise OSError(28, "No space left on device")

    disk.fault = fault
    with pytest.raises(StoreFull):
        engine.compact()
    disk.fault = lambda _call: None
    wanted |= touch_all(engine, 50, 150, 500.0)
    wanted |= {key(number): FAR for number in range(150, COUNT)}
    assert len(engine._open.follower.current.view.tables) == 2
    assert ends(engine) == wanted
    abandon(engine)
    assert ends(make_engine(disk)) == wanted


def test_deleting_all_forgets_the_touches_too(disk):
    engine = filled(disk)
    touch_all(engine, 0, 50, 5.0)
    change(engine, Clear())
    assert content(engine) == {}
    put(engine, 1, b"again", 9.0)
    engine.compact()
    assert ends(engine) == {key(1): 9.0}


def touches(count: int, first: int = 1, durable: int = 80, salt_crc: int = SALT_CRC) -> list[bytes]:
    return [
        form.encode_record(
            salt_crc,
            None,
            *form.encode_changes([Touch(key(number), number + 1, 5.0 + number)]),
            first + number,
            durable + number,
            0,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [16, 17, 100, 511, 512])
@pytest.mark.parametrize("behind", [b"", bytes(500), b"\xa1\x5c\x01"])
def test_a_run_says_what_its_records_say_one_by_one(count, behind):
    data = b"...".join([b"", b"".join(touches(count)) + behind])
    run = decode_run(data, 3, 1000, SALT_CRC)
    single = []
    at = 3
    while len(single) < count:
        single.append(form.decode_record(data, at, 1000, SALT_CRC, None))
        at = single[-1].end - 1000
    assert (run.offset, run.end) == (single[0].offset, single[-1].end)
    assert (run.sequence, run.last) == (1, count)
    assert run.durable == max(record.durable for record in single)
    assert [Touch(a + b, *rest) for a, b, *rest in run.rows()] == [
        form.decode_touch(record.payload) for record in single
    ]
    other = crc32(b"other")
    assert run.copied(other) == b"".join(
        form.encode_record(other, None, form.TOUCH, 0, each.payload, each.sequence, 0, 0)
        for each in single
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_run_ends_before_a_record_with_any_flipped_bit(seed):
    rng = random.Random(seed)
    print("seed", seed)
    good = b"".join(touches(40))
    size = len(good) // 40
    for _ in range(300):
        data = bytearray(good)
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        run = decode_run(bytes(data), 0, 0, SALT_CRC)
        assert (0 if run is None else run.end // size) == (at // size if at // size >= 16 else 0)


def test_a_run_ends_where_the_numbers_jump_and_goes_on_beyond_32_bits():
    records = touches(20) + touches(20, first=22)
    assert decode_run(b"".join(records), 0, 0, SALT_CRC).last == 20
    high = touches(20, first=(5 << 32) + 3, durable=7 << 32)
    run = decode_run(b"".join(high), 0, 0, SALT_CRC)
    assert (run.sequence, run.durable) == ((5 << 32) + 3, (7 << 32) + 19)
    assert decode_run(b"".join(touches(20, first=(1 << 32) - 5)), 0, 0, SALT_CRC) is None


def test_fewer_touches_and_encrypted_ones_make_no_run(disk):
    assert decode_run(b"".join(touches(15)), 0, 0, SALT_CRC) is None
    for encryption, is_run in (None, True), (KEYS["encrypted"], False):
        disk = SimDisk()
        engine = filled(disk, encryption)
        touch_all(engine, 0, COUNT, 5.0)
        found = [*replay(engine._open.follower.current.log)]
        assert any(isinstance(each, Run) for each in found) == is_run
        assert len(found) < 10 or not is_run


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_at_random_it_is_as_a_dict_of_sessions_whoever_looks(disk, encryption, seed):
    print("seed", seed)
    rng = random.Random(seed)
    one = make_engine(disk, encrypted_by=encryption, random_bytes=seeded_bytes(seed))
    other = make_engine(disk, encrypted_by=encryption, random_bytes=seeded_bytes(seed + 100))
    model: dict[bytes, float] = {}
    for turn in range(60):
        engine = rng.choice([one, other])
        for _ in range(rng.choice([1, 30, 90])):
            number, end = rng.randrange(40), float(rng.randrange(1000))
            kind = rng.choices(["touch", "put", "delete"], [30, 2, 1])[0]
            if kind == "touch":
                touch(engine, number, end)
                if key(number) in model:
                    model[key(number)] = end
            elif kind == "put":
                put(engine, number, b"%d" % turn, end, sync=False)
                model[key(number)] = end
            else:
                delete(engine, number, sync=False)
                model.pop(key(number), None)
        if turn % 7 == 3:
            engine.compact()
        if turn % 11 == 5:
            abandon(one)
            one = make_engine(disk, encrypted_by=encryption, random_bytes=seeded_bytes(turn))
        if turn % 20 == 13:
            for each in one, other:
                abandon(each)
            one = make_engine(disk, encrypted_by=encryption, random_bytes=seeded_bytes(turn))
            other = make_engine(disk, encrypted_by=encryption, random_bytes=seeded_bytes(turn + 1))
        for each in one, other:
            assert ends(each) == model
            assert {*each.expired(500.0)} == {it for it, end in model.items() if end <= 500.0}
