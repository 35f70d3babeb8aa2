"""An encrypted store: what it hides, what it refuses, and what changing its key survives.

LITESESS_NONCES sets how many records are written to compare their nonces (docs/testing.rst).
"""

from __future__ import annotations

import logging
import os
import random
import signal
import struct
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import pytest

from litesess import Corruption, DecryptError, Record, StoreError, WALStore
from litesess.crypto import EncryptionKey
from litesess.engine import Delete, Engine, Put
from litesess.engine import format as form
from litesess.engine.snapshot_format import ENTRY_BYTES, FOOTER_BYTES, decode_footer
from litesess.ids import key_of
from litesess.keyfile import KeyFile
from tests.tools.children import in_child
from tests.tools.counters import COUNTERS, Writer, stored_counters
from tests.tools.crashes import HUNTS, Workload
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
from tests.tools.sweeps import every_errno, every_flip, every_lost_record, every_sync

NONCES = int(os.environ.get("LITESESS_NONCES", "10000"))
#: LITESESS_CRASH_SEEDS sets how many random workloads are run.
CRASH_SEEDS = int(os.environ.get("LITESESS_CRASH_SEEDS", "2"))

KEY = EncryptionKey(bytes(range(32)))
OTHER = EncryptionKey(bytes(range(1, 33)))
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimDisk:
    small_files(monkeypatch)
    return SimDisk()


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def encrypted_engine(disk: SimDisk | dict[str, bytes], by: EncryptionKey | None = KEY) -> Engine:
    return make_engine(disk if isinstance(disk, SimDisk) else SimDisk(disk), encrypted_by=by)


def look(files: dict[str, bytes], by: EncryptionKey = KEY) -> dict[bytes, tuple[bytes, float]]:
    """Return what a store shows, all values read."""
    return content(encrypted_engine(files, by))


def digest(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Return what tells whether a file was changed, or written anew."""
    return {
        str(item.relative_to(directory)): (item.read_bytes(), item.stat().st_mtime_ns)
        for item in sorted(directory.rglob("*"))
        if item.is_file()
    }


# What is on the disk.


def test_no_file_holds_a_value_an_owner_an_id_or_a_cookie_setting(tmp_path):
    needles = ["needle-value", "needle-owner", "needle-key", "needle-path", "needle-id"]
    with WALStore(tmp_path / "data", encryption_key=bytes(range(32)), wal_limit=1 << 16) as store:
        for number in range(300):
            record = Record(
                {"needle-key": f"needle-value {number}"}, 1.0, FAR, {"path": "/needle-path"},
                "needle-owner",
            )  # fmt: skip
            store.create(key_of(f"needle-id {number}"), record)
            if number == 100:
                store.compact()
        # As a killed writer leaves it: what is torn is kept aside.
        log = max((tmp_path / "data").glob("*.wal"))
        abandon(store._engine)
    whole = log.read_bytes()
    end = len(whole.rstrip(b"\0")) - 5
    log.write_bytes(whole[:end].ljust(len(whole), b"\0"))
    store = WALStore(tmp_path / "data", encryption_key=bytes(range(32)))
    assert len(list(store.records())) == 299
    for seal_anew in store.compact, store.rekey:
        written = {item.name: item.read_bytes() for item in (tmp_path / "data").iterdir()}
        kinds = {name.rpartition(".")[2] for name in written}
        assert kinds == {"wal", "snapshot", "torn", "keys", "live", "compact"}
        for needle in needles:
            for name, data in written.items():
                assert needle.encode() not in data, name
        seal_anew()
    # What was torn can't be opened any more, by anybody, and goes.
    assert not list((tmp_path / "data").glob("*.torn"))
    store.close()


def test_a_plain_store_does_hold_them(tmp_path):
    """The search above finds what is there."""
    with WALStore(tmp_path / "data") as store:
        store.create(key_of("x"), Record({"k": "needle-value"}, 1.0, FAR, owner="needle-owner"))
        data = b"".join(item.read_bytes() for item in (tmp_path / "data").glob("*.wal"))
        assert b"needle-value" in data
        assert b"needle-owner" in data


def test_all_operations_work_as_in_a_plain_store(disk):
    plain, sealed = make_engine(SimDisk()), encrypted_engine(disk)
    for engine in plain, sealed:
        for name in range(20):
            put(engine, name, b"v%d" % name)
        engine.compact()
        delete(engine, 3)
        touch(engine, 4, FAR + 5)
        change(engine, Put(key("x"), b"x", FAR), Delete(key(5)))
        put(engine, 6, b"again")
        engine.compact()
        put(engine, 7, b"")
    assert content(plain) == content(sealed)
    assert sealed.verify() == plain.verify()._replace(log_bytes=sealed.verify().log_bytes)
    sealed.close()
    assert content(encrypted_engine(disk.twin())) == content(plain)


# Which key opens it.


def make_plain(path: Path) -> None:
    with WALStore(path) as store:
        store.create(key_of("x"), Record({"a": 1}, 1.0, FAR))


def make_sealed(path: Path, by: str | bytes = PASSPHRASE) -> None:
    with WALStore(path, encryption_key=by) as store:
        store.create(key_of("x"), Record({"a": 1}, 1.0, FAR))
        store.compact()
        store.create(key_of("y"), Record({"a": 2}, 1.0, FAR))


@pytest.mark.parametrize(
    ("make", "key_given"),
    [
        (make_sealed, "another horse battery staple"),
        (make_sealed, bytes(32)),
        (make_sealed, None),
        (make_plain, PASSPHRASE),
        (make_plain, bytes(32)),
    ],
)
@pytest.mark.parametrize("is_killed", [False, True])
def test_what_is_not_the_key_is_refused_and_no_byte_is_changed(
    tmp_path, make, key_given, is_killed
):
    """lite-nosql took a store that it could not open for an empty one, and wrote over it."""
    make(tmp_path / "data")
    if is_killed:
        (tmp_path / "data" / "sessions.live").write_bytes(b"")
    before = digest(tmp_path)
    with pytest.raises(DecryptError) as caught:
        WALStore(tmp_path / "data", encryption_key=key_given)
    assert str(tmp_path / "data") in str(caught.value)
    assert PASSPHRASE not in str(caught.value)
    assert digest(tmp_path) == before


@pytest.mark.parametrize("by", [OTHER, None])
def test_a_store_made_since_the_construction_is_refused_at_the_first_operation(disk, by):
    late = encrypted_engine(disk, by)
    late.check()
    put(encrypted_engine(disk), "a", b"1")
    before = disk.files()
    for operation in (
        lambda: late.get(key("a")),
        lambda: put(late, "b", b"2"),
        late.compact,
        late.verify,
    ):
        with pytest.raises(DecryptError):
            operation()
    assert disk.files() == before


def test_logs_without_the_key_file_are_refused_saying_so(disk):
    put(encrypted_engine(disk), "a", b"1")
    files = disk.files()
    del files["sessions.keys"]
    with pytest.raises(DecryptError, match=r"sessions\.keys is missing; put it back"):
        look(files)


def test_a_key_file_without_a_store_is_not_built_upon(disk):
    """Its data key may have sealed records of the same numbers, in a store that was deleted."""
    put(encrypted_engine(disk), "a", b"1")
    left = {"sessions.keys": disk.files()["sessions.keys"]}
    for by in OTHER, None:
        with pytest.raises(DecryptError):
            look(left, by)
    engine = encrypted_engine(left)
    put(engine, "b", b"2")
    assert content(engine) == {key("b"): (b"2", FAR)}
    files = engine._opener.means.fs.files()
    assert [*KeyFile.decode(files["sessions.keys"], "").wrapped] == [2]
    assert (
        KeyFile.decode(files["sessions.keys"], "").store != KeyFile.decode(*left.values(), "").store
    )
    with pytest.raises(DecryptError):
        look(files | left)


def test_the_key_of_one_collection_is_not_that_of_another(tmp_path):
    with (
        WALStore(tmp_path, collection="one", encryption_key=bytes(range(32))) as one,
        WALStore(tmp_path, collection="two", encryption_key=PASSPHRASE) as two,
        WALStore(tmp_path, collection="three") as three,
    ):
        for store in one, two, three:
            store.create(key_of("x"), Record({"a": 1}, 1.0, FAR))
    for name, by in ("one", PASSPHRASE), ("two", None), ("three", PASSPHRASE):
        with pytest.raises(DecryptError):
            WALStore(tmp_path, collection=name, encryption_key=by)


# Another passphrase.


def test_the_new_passphrase_opens_the_store_and_the_old_one_no_more(tmp_path):
    make_sealed(tmp_path)
    store = WALStore(tmp_path, encryption_key=PASSPHRASE)
    others = {name: data for name, data in digest(tmp_path).items() if ".keys" not in name}
    store.change_key("another horse battery staple")
    store.close()
    with pytest.raises(DecryptError):
        WALStore(tmp_path, encryption_key=PASSPHRASE)
    with WALStore(tmp_path, encryption_key="another horse battery staple") as again:
        assert again.load(key_of("x")).data == {"a": 1}
    # However much is stored, it is the key file that is written.
    after = digest(tmp_path)
    assert all(after[name] == found for name, found in others.items() if "snapshot" in name)


def test_who_has_the_store_open_goes_on_through_a_change_of_its_passphrase(disk):
    one, other = encrypted_engine(disk), encrypted_engine(disk)
    put(one, "a", b"1")
    assert other.get(key("a")).value == b"1"
    one.change_key(OTHER)
    put(other, "b", b"2")
    other.compact()
    put(other, "c", b"3")
    one.compact()
    assert content(one) == content(other)
    with pytest.raises(DecryptError):
        other.change_key(KEY)  # it does not know the key that is
    with pytest.raises(DecryptError):
        other.rekey()
    assert content(encrypted_engine(disk, OTHER)) == content(one)


def test_a_key_can_be_changed_only_where_there_is_one(disk):
    engine = make_engine(disk)
    put(engine, "a", b"1")
    before = disk.files()
    for operation in engine.rekey, lambda: engine.change_key(KEY):
        with pytest.raises(DecryptError):
            operation()
    after = disk.files()
    del before["sessions.compact"], after["sessions.compact"]  # who had the lock
    assert after == before


def test_a_power_cut_during_a_change_of_key_leaves_one_of_the_two(disk):
    put(encrypted_engine(disk), "a", b"1")
    engine = encrypted_engine(disk)
    stored = content(engine)
    opened_by = []

    def cut() -> None:
        for image in disk.crash_images(random.Random(1), samples=2):
            found = []
            for by in KEY, OTHER:
                try:
                    assert look(image, by) == stored
                    found.append(by)
                except DecryptError:
                    continue
            assert len(found) == 1
            opened_by.extend(found)

    disk.watch = cut
    engine.change_key(OTHER)
    assert {KEY, OTHER} == set(opened_by)


def the(suffix: str, files: dict[str, bytes]) -> str:
    """Return the one name that ends so."""
    (name,) = [name for name in files if name.endswith(suffix)]
    return name


# Another data key.


def data_keys(disk: SimDisk) -> list[int]:
    return [*KeyFile.decode(disk.files()["sessions.keys"], "").wrapped]


def test_after_a_rekey_nothing_is_left_under_the_old_data_key(disk):
    engine = encrypted_engine(disk)
    for number in range(50):
        put(engine, number, b"%d" % number)
    engine.compact()
    old = disk.files()
    stored = content(engine)
    engine.rekey()
    assert data_keys(disk) == [2]
    new = disk.files()
    with pytest.raises(DecryptError):
        look({**new, "sessions.keys": old["sessions.keys"]})
    assert look(new) == stored == content(engine)
    # And no value was taken over as it was sealed.
    before, after = (
        {entry[48:] for _, entry in entries_of(files, the(".snapshot", files)).values()}
        for files in (old, new)
    )
    assert len(before) == len(after) == 50
    assert not before & after


def test_two_that_have_the_store_open_go_on_through_a_rekey(disk):
    one, other = encrypted_engine(disk), encrypted_engine(disk)
    for number in range(5):
        put(one, number, b"before")
        assert other.get(key(number)).value == b"before"
        one.rekey()
        put(other, "other", b"%d" % number)
        other.compact()
        put(one, "one", b"%d" % number)
        other.rekey()
        assert content(one) == content(other)
    assert data_keys(disk) == [11]


def test_the_next_compaction_ends_a_rekey_that_was_cut_short(disk):
    engine = encrypted_engine(disk)
    put(engine, "a", b"1")
    files = engine._open.files
    files.keys.add(files.directory)  # and then it was killed
    abandon(engine)
    assert data_keys(disk) == [1, 2]
    again = encrypted_engine(disk)
    assert again.get(key("a")).value == b"1"
    again.compact()
    assert data_keys(disk) == [2]
    again.rekey()
    assert data_keys(disk) == [3]


def test_a_rekey_that_failed_is_done_again_without_a_third_key(disk):
    engine = encrypted_engine(disk)
    put(engine, "a", b"1")

    def fail(call: str) -> None:
        if call == "create" and "sessions.keys" in disk.names and len(data_keys(disk)) == 2:
            raise OSError(28, "No space left on device")

    disk.fault = fail
    for _ in range(3):
        with pytest.raises(StoreError):
            engine.rekey()
        assert data_keys(disk) == [1, 2]
    disk.fault = lambda call: None
    engine.rekey()
    assert data_keys(disk) == [2]
    assert content(engine) == {key("a"): (b"1", FAR)}


# Tampering.


def forged(record: bytes, salt: bytes) -> bytes:
    """Return *record* with the checksum that it should have."""
    head, payload = record[: form.CRC_OFFSET], record[form.RECORD_BYTES :]
    return head + struct.pack("<I", crc32(payload, crc32(head, crc32(salt)))) + payload


def with_crc(data: bytes) -> bytes:
    return data[:-4] + struct.pack("<I", crc32(data[:-4]))


class Sealed:
    """The files of a closed encrypted store with a snapshot and a log, and their parts."""

    def __init__(self, seed: int = 1, store: int = 1) -> None:
        disk = SimDisk()
        engine = make_engine(disk, encrypted_by=KEY, random_bytes=seeded_bytes(store))
        rng = random.Random(seed)
        self.older: dict[str, bytes] = {}
        for name in "abc":
            put(engine, name, rng.randbytes(30))
        engine.compact()
        self.first = disk.files()
        put(engine, "a", rng.randbytes(30))
        engine.compact()
        put(engine, "d", rng.randbytes(30))
        put(engine, "b", rng.randbytes(30))
        delete(engine, "c")
        touch(engine, "a", FAR + 1)
        put(engine, "e", rng.randbytes(30))
        self.stored = content(engine)
        engine.close()
        self.files = disk.files()
        self.wal, self.snapshot = the(".wal", self.files), the(".snapshot", self.files)
        self.log = self.files[self.wal]
        self.salt = form.decode_header(self.log, "", form.WAL_MAGIC)[0].salt
        self.records = self._records()

    def _records(self) -> list[bytes]:
        found, at = [], form.HEADER_BYTES
        while self.log[at]:
            end = at + form.RECORD_BYTES + struct.unpack_from("<I", self.log, at + 4)[0]
            found.append(self.log[at:end])
            at = end
        return found

    def with_records(self, records: list[bytes]) -> dict[str, bytes]:
        data = self.log[: form.HEADER_BYTES] + b"".join(records)
        return {**self.files, self.wal: data.ljust(len(self.log), b"\0")}


def assert_refused(files: dict[str, bytes], *errors: type[Exception]) -> None:
    before = dict(files)
    disk = SimDisk(files)
    with pytest.raises(errors or DecryptError):
        content(encrypted_engine(disk))
    changed = {name for name, data in disk.files().items() if before.get(name) != data}
    assert not {name for name in changed if not name.endswith((".live", ".compact"))}


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> Sealed:
    small_files(monkeypatch)
    return Sealed()


def test_a_record_with_a_flipped_bit_and_a_good_checksum_is_refused(sealed):
    tried = 0
    for number, record in enumerate(sealed.records):
        # Not magic and length: what they make of it is no record.
        for at in (2, 3, *range(8, form.CRC_OFFSET), *range(form.RECORD_BYTES, len(record))):
            changed = bytearray(record)
            changed[at] ^= 1 << at % 8
            records = [*sealed.records]
            records[number] = forged(bytes(changed), sealed.salt)
            assert_refused(sealed.with_records(records))
            tried += 1
    assert tried > 500


def test_a_record_that_was_moved_is_refused(sealed):
    records = sealed.records
    for at in range(len(records) - 1):
        for changed in (
            [*records[:at], *records[at + 1 :]],
            [*records[: at + 1], *records[at:]],
            [*records[:at], records[at + 1], records[at], *records[at + 2 :]],
        ):
            # Under the number of the place, too, which anybody can write there.
            numbered = [
                forged(it[:8] + records[n][8:16] + it[16:], sealed.salt)
                for n, it in enumerate(changed[: len(records)])
            ]
            assert_refused(sealed.with_records(changed))
            assert_refused(sealed.with_records(numbered), DecryptError, Corruption)


def test_a_record_of_another_file_is_refused(sealed):
    another_store = Sealed(store=2)
    engine = make_engine(SimDisk(sealed.first), encrypted_by=KEY)
    put(engine, "d", b"of an older generation")
    files = engine._opener.means.fs.files()
    older = files[the(".wal", files)][form.HEADER_BYTES :].rstrip(b"\0")
    for foreign in another_store.records[0], older:
        moved = forged(foreign[:8] + sealed.records[0][8:24] + foreign[24:], sealed.salt)
        assert_refused(sealed.with_records([moved, *sealed.records[1:]]), DecryptError, Corruption)


def test_a_record_made_without_the_key_is_refused(sealed):
    logout = form.encode_record(
        crc32(sealed.salt), None, form.DELETE, 0, key("a"), len(sealed.records) + 5, 0, 0
    )
    assert_refused(sealed.with_records([*sealed.records, logout]), DecryptError, Corruption)


def test_records_that_were_cut_off_after_a_clean_close_are_refused(sealed):
    for count in range(len(sealed.records)):
        assert_refused(sealed.with_records(sealed.records[:count]), Corruption)


def test_a_header_that_was_changed_is_refused(sealed):
    for name in sealed.wal, sealed.snapshot:
        data = sealed.files[name]
        for at in (10, *range(12, form.HEADER_BYTES - 4)):
            changed = bytearray(data[: form.HEADER_BYTES])
            changed[at] ^= 1
            files = {**sealed.files, name: with_crc(bytes(changed)) + data[form.HEADER_BYTES :]}
            assert_refused(files, DecryptError)


def test_a_log_made_without_the_key_can_put_no_other_out(sealed):
    header = form.decode_header(sealed.log, "", form.WAL_MAGIC)[0]
    for is_encrypted in False, True:
        forged_header = header._replace(
            generation=header.generation + 1,
            link=header.generation,
            is_encrypted=is_encrypted,
        )
        name = f"sessions.{header.generation + 1:016x}.wal"
        assert_refused({**sealed.files, name: forged_header.encode()})


def test_an_index_that_was_changed_is_refused(sealed):
    """Somebody's session must not live on because its expiry stands in the clear."""
    data = sealed.files[sealed.snapshot]
    footer = decode_footer(data[-FOOTER_BYTES:], "", 0)
    for at in range(footer.index_offset, len(data) - FOOTER_BYTES):
        changed = bytearray(data[footer.index_offset : -FOOTER_BYTES])
        changed[at - footer.index_offset] ^= 1
        index = bytes(changed)
        head = data[: footer.index_offset]
        again = footer._replace(index_crc=crc32(index), sha256=sha256(head + index).digest())
        assert_refused({**sealed.files, sealed.snapshot: head + index + again.encode()})


def test_a_footer_that_was_changed_is_refused(sealed):
    data = sealed.files[sealed.snapshot]
    for at in range(32, FOOTER_BYTES - 4):
        footer = bytearray(data[-FOOTER_BYTES:])
        footer[at] ^= 1
        changed = data[:-FOOTER_BYTES] + with_crc(bytes(footer))
        assert_refused({**sealed.files, sealed.snapshot: changed}, DecryptError, Corruption)


def entries_of(files: dict[str, bytes], name: str) -> dict[bytes, tuple[int, bytes]]:
    """Return where each key's entry lies in a snapshot, and its bytes."""
    data, found, at = files[name], {}, form.HEADER_BYTES
    footer = decode_footer(data[-FOOTER_BYTES:], "", 0)
    for _ in range(footer.entry_count):
        end = at + ENTRY_BYTES + struct.unpack_from("<I", data, at + 40)[0]
        found[data[at : at + 32]] = at, data[at:end]
        at = end
    return found


def entry_forged(entry: bytes, store: bytes) -> bytes:
    head, value = entry[: ENTRY_BYTES - 4], entry[ENTRY_BYTES:]
    return head + struct.pack("<I", crc32(value, crc32(head, crc32(store)))) + value


def test_an_entry_that_was_changed_or_moved_is_refused(sealed):
    name = sealed.snapshot
    store = sealed.files[name][12:28]
    entries = entries_of(sealed.files, name)
    (a_at, a), (_, b) = entries[key("a")], entries[key("b")]
    _, old = entries_of(sealed.first, the(".snapshot", sealed.first))[key("a")]
    assert len(old) == len(a) == len(b)
    attempts = {
        "an older version of it": old,
        "under the new number": entry_forged(old[:32] + a[32:40] + old[40:], store),
        "another's value": entry_forged(a[:48] + b[48:], store),
        "a flipped bit": entry_forged(a[:70] + bytes([a[70] ^ 1]) + a[71:], store),
    }
    for what, entry in attempts.items():
        data = sealed.files[name]
        changed = data[:a_at] + entry + data[a_at + len(a) :]
        engine = encrypted_engine({**sealed.files, name: changed})
        with pytest.raises(DecryptError):
            engine.get(key("a"))
            pytest.fail(what)
        with pytest.raises(DecryptError):
            content(engine)
        # What nobody has touched is there.
        assert engine.get(key("d")) is not None


def test_an_older_file_in_the_place_of_a_newer_one_is_refused(sealed):
    old_snapshot, old_wal = the(".snapshot", sealed.first), the(".wal", sealed.first)
    for new, old in (sealed.snapshot, old_snapshot), (sealed.wal, old_wal):
        assert_refused({**sealed.files, new: sealed.first[old]}, DecryptError, Corruption)
    both = {
        old_snapshot: sealed.first[old_snapshot],
        old_wal: sealed.first[old_wal],
        "sessions.keys": sealed.files["sessions.keys"],
        "sessions.live": sealed.files["sessions.live"],
    }
    assert_refused(both, Corruption)


def test_a_key_file_that_was_changed_or_is_of_another_store_is_refused(sealed):
    keys = sealed.files["sessions.keys"]
    for at in range(len(keys) - 4):
        changed = bytearray(keys)
        changed[at] ^= 1
        assert_refused(
            {**sealed.files, "sessions.keys": with_crc(bytes(changed))}, DecryptError, Corruption
        )
    another = Sealed(store=2).files["sessions.keys"]
    assert_refused({**sealed.files, "sessions.keys": another})


def test_an_older_key_file_brings_no_old_passphrase_back(disk):
    engine = encrypted_engine(disk)
    put(engine, "a", b"1")
    old = disk.files()["sessions.keys"]
    engine.change_key(OTHER)
    engine.rekey()
    engine.close()
    assert_refused({**disk.files(), "sessions.keys": old})


def test_a_slot_that_was_forged_counts_for_nothing(sealed):
    live = form.Slot(sealed.log[12:28], 99, 1 << 30)
    for slot in live.encode(), live.encode(lambda data: b"t" * 16), bytes(64):
        assert look({**sealed.files, "sessions.live": slot}) == sealed.stored


def test_tampering_under_a_running_process_is_refused_by_readers_and_writers(disk):
    engine = encrypted_engine(disk)
    put(engine, "a", b"1")
    inode = disk.names[the(".wal", disk.files())]
    data = bytes(inode.content).rstrip(b"\0")
    salt = data[36:52]
    record = data[form.HEADER_BYTES :]
    inode.write(forged(record, salt), len(data))
    for operation in (
        lambda: engine.get(key("a")),
        lambda: put(engine, "b", b"2"),
        engine.verify,
    ):
        with pytest.raises(DecryptError):
            operation()


def test_what_is_whole_is_got_out_of_a_store_that_was_tampered_with(sealed, quiet):
    changed = bytearray(sealed.records[2])
    changed[-1] ^= 1
    records = [*sealed.records]
    records[2] = forged(bytes(changed), sealed.salt)
    engine = encrypted_engine(sealed.with_records(records))
    kept, salvaged = engine.salvage()
    assert [hole.path.rpartition("/")[2] for hole in salvaged.holes] == [sealed.wal]
    assert kept[key("e")].value == sealed.stored[key("e")][0]
    assert salvaged.doubtful > 0


# Nonces.


def nonces_in(data: bytes) -> list[bytes]:
    """Return the nonce of each record of a log."""
    found, at = [], form.HEADER_BYTES
    while at < len(data) and data[at]:
        found.append(data[at + form.RECORD_BYTES : at + form.RECORD_BYTES + 12])
        at += form.RECORD_BYTES + struct.unpack_from("<I", data, at + 4)[0]
    return found


@pytest.mark.slow
def test_every_record_has_a_nonce_of_its_own(tmp_path):
    path = str(tmp_path / "data")
    engine = make_engine(path=path, wal_limit=1 << 30, encrypted_by=KEY)
    for number in range(NONCES):
        put(engine, number % 1000, b"x", sync=False)

    def in_a_fork() -> int:
        for number in range(50):
            put(engine, number, b"child", sync=False)
        engine.close()
        return 0

    for _ in range(20):
        assert in_child(in_a_fork) == 0
        put(engine, "parent", b"x")
    (log,) = Path(path).glob("*.wal")
    nonces = nonces_in(log.read_bytes())
    print(f"{len(nonces)} nonces")
    assert len(nonces) == NONCES + 20 * 51
    assert len(set(nonces)) == len(nonces)
    engine.close()


@pytest.mark.parametrize("repairs", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_tail_that_is_torn_and_written_anew_gets_other_nonces(disk, repairs, quiet):
    engine = encrypted_engine(disk)
    put(engine, 0, b"x")
    inode = disk.names[the(".wal", disk.files())]
    seen: set[bytes] = set()
    for number in range(repairs):
        end = len(bytes(inode.content).rstrip(b"\0"))
        put(engine, "torn", b"x" * 100, sync=False)
        torn = bytes(inode.content)[end:].rstrip(b"\0")
        abandon(engine)
        # A killed writer has left half of it; then the same record is written there again.
        inode.write(bytes(len(torn) - 50), end + 50)
        engine = encrypted_engine(disk)
        engine.get(key(0))
        inode = disk.names[max(name for name in disk.names if name.endswith(".wal"))]
        now = nonces_in(bytes(inode.content))
        assert torn[form.RECORD_BYTES : form.RECORD_BYTES + 12] not in now
        seen.add(torn[form.RECORD_BYTES : form.RECORD_BYTES + 12])
        assert len(seen) == number + 1
    assert len(set(now)) == len(now)


def test_two_copies_of_a_directory_that_both_go_on_use_no_nonce_twice(disk):
    """As when a virtual machine is set back to an older state."""
    engine = encrypted_engine(disk)
    put(engine, "a", b"1")
    engine.close()
    twins = [disk.twin(), disk.twin()]
    for twin in twins:
        other = make_engine(twin, encrypted_by=KEY, random_bytes=os.urandom)
        for number in range(100):
            put(other, number, b"x")
    one, two = (
        set(nonces_in(files[the(".wal", files)])) for files in (twin.files() for twin in twins)
    )
    assert len(one & two) == 2  # the put and the mark from before
    assert len(one) == len(two) > 100


# Crashes, damage, failures, kills: all that a plain store withstands.


@pytest.mark.long
@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize("seed", range(CRASH_SEEDS))
@pytest.mark.parametrize("hunt", HUNTS)
def test_no_crash_loses_what_was_acknowledged_or_shown(hunt, seed, monkeypatch):
    """Changes of the data key are among what is done."""
    small_files(monkeypatch)
    counts = hunt(Workload(1000 * HUNTS.index(hunt) + seed, steps=60))
    print(f"{hunt.__name__} seed {seed}: {counts}")
    assert counts["points"] > 50
    assert counts["images"] > 50


@pytest.mark.long
@pytest.mark.usefixtures("encrypted", "quiet")
def test_no_damage_goes_unnoticed(monkeypatch):
    small_files(monkeypatch)
    counts = every_flip([1])
    print(counts)
    assert counts["refused"] > counts["harmless"]


@pytest.mark.usefixtures("encrypted", "quiet")
def test_a_record_dropped_doubled_or_swapped_is_refused(monkeypatch):
    small_files(monkeypatch)
    assert every_lost_record() > 15


@pytest.mark.slow
@pytest.mark.usefixtures("encrypted", "quiet")
@pytest.mark.parametrize("sweep", [every_errno, every_sync])
def test_any_call_may_fail_and_nothing_is_lost(sweep: Callable[[range], int], monkeypatch):
    small_files(monkeypatch)
    assert sweep(range(3)) > 100


@pytest.mark.slow
@pytest.mark.usefixtures("encrypted")
def test_no_acknowledged_write_is_lost_to_kills_while_the_data_key_is_changed(tmp_path):
    path = str(tmp_path / "data")
    rng = random.Random(3)
    acknowledged = [0] * COUNTERS
    engine = make_engine(path=path, wal_limit=1 << 16, lock_timeout=30)
    rekeys = 0
    kills = int(os.environ.get("LITESESS_KILLS", "50")) // 2
    for number in range(kills):
        writers = [Writer(path, (0, 300), 2 * number + which) for which in range(2)]
        if number % 2:  # the others are killed while they open the store, on a slow disk
            writers[0].wait()
        end = time.monotonic() + rng.uniform(0.02, 0.1)
        while time.monotonic() < end:
            engine.rekey()
            rekeys += 1
        for writer in writers:
            status = writer.kill(signal.SIGKILL)
            assert os.WIFSIGNALED(status), f"kill {number}: a writer failed by itself"
            acknowledged = list(map(max, acknowledged, writer.acknowledged))
        found = stored_counters(path)
        assert all(map(int.__le__, acknowledged, found)), f"kill {number}: {found}"
    print(f"{kills} kills of two, {rekeys} rekeys, {sum(acknowledged)} acknowledged, 0 lost")
    assert sum(acknowledged) >= kills // 2
    assert rekeys >= kills
    engine.close()
