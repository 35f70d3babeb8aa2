"""Files changed by somebody without the key, between and behind the operations that trust them.

He may rewrite any file, at any time, with checksums that are right, and put old pieces back.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from pathlib import Path

import pytest

from litesess import (
    ConfigError,
    Corruption,
    DecryptError,
    Record,
    StoreError,
    StoreFull,
    WALStore,
)
from litesess.crypto import EncryptionKey
from litesess.engine import FileSystem
from litesess.engine import format as form
from litesess.ids import key_of
from litesess.keyfile import KeyFile
from tests.tools.engines import FAR, content, key, make_engine, put, small_files
from tests.tools.simdisk import SimDisk

KEY = bytes(range(32))
OLD, NEW = "the old passphrase", "the new passphrase"


def raw(name: str) -> bytes:
    return bytes.fromhex(key_of(name))


def session(name: str, **how: object) -> Record:
    return Record({"user": name}, 1.0, how.pop("expires_at", FAR), **how)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def the(path: Path, kind: str) -> Path:
    """Return the newest file of a kind."""
    return max(path.glob(f"*.{kind}"))


def patch(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)


# A key in a snapshot, which stands in the clear.


@pytest.mark.parametrize("encryption_key", [None, KEY], ids=["plain", "encrypted"])
def test_a_logout_is_not_undone_by_hiding_the_entry_from_the_compaction(path, encryption_key):
    """As another's the changed key would be kept, and then be changed back."""
    with WALStore(path, encryption_key=encryption_key) as store:
        for name in "abcdef":
            store.create(key_of(name), session(name))
        store.compact()
        store.delete(key_of("c"))
    file = the(path, "snapshot")
    at = file.read_bytes().index(raw("c")) + 31
    patch(file, at, bytes([raw("c")[31] ^ 1]))
    with WALStore(path, encryption_key=encryption_key) as store:
        store.compact()
        assert store.load(key_of("c")) is None
    assert raw("c")[:31] not in the(path, "snapshot").read_bytes()


@pytest.mark.parametrize("encryption_key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("at", [0, 31])
def test_a_changed_key_hides_no_session_from_a_walk(path, encryption_key, at):
    """Logging out everywhere must not leave one that comes back when the key does."""
    store = WALStore(path, encryption_key=encryption_key)
    for name in "abc":
        store.create(key_of(name), session(name, owner="mallory"))
    store.compact()
    file = the(path, "snapshot")
    patch(file, file.read_bytes().index(raw("c")) + at, bytes([raw("c")[at] ^ 1]))
    for walk in (
        lambda: [*store.records()],
        lambda: store.find("mallory"),
        lambda: store.delete_owner("mallory"),
        lambda: len(store),
        store.verify,
    ):
        with pytest.raises((Corruption, DecryptError)):
            walk()
    store.close()


# An index that was proven when it was opened, and is mapped memory since.


def test_a_forged_expiry_is_not_signed_into_the_next_snapshot(path, clock):
    store = WALStore(path, encryption_key=KEY, clock=clock)
    expires_at = clock() + 2.125
    for name in "abc":
        store.create(key_of(name), session(name, expires_at=expires_at if name == "c" else FAR))
    store.compact()
    file = the(path, "snapshot")
    patch(file, file.read_bytes().rindex(struct.pack("<d", expires_at)), struct.pack("<d", 5e9))
    clock.advance(3)
    store.create(key_of("x"), session("x"))
    for look in store.compact, store.verify:
        with pytest.raises((DecryptError, Corruption)):
            look()
    store.close()
    with pytest.raises((DecryptError, Corruption)):
        WALStore(path, encryption_key=KEY, clock=clock)


# A record of the same log in another place.


def test_an_older_record_is_not_believed_in_the_place_of_a_newer_one(path):
    with WALStore(path, encryption_key=KEY) as store:
        store.create(key_of("c"), Record({"role": "admin"}, 1.0, FAR))
        log = the(path, "wal")
        end = len(log.read_bytes().rstrip(b"\0"))
        store.update(key_of("c"), {"role": "guest"}, [])
        store.create(key_of("x"), session("x"))
        assert store.load(key_of("x")) is not None  # another was read last
        patch(log, end, log.read_bytes()[form.HEADER_BYTES : end])
        with pytest.raises(DecryptError):
            store.load(key_of("c"))
        with pytest.raises(DecryptError):
            store.compact()


# A data key that a rekey has replaced.


def test_a_stolen_key_file_put_back_does_not_bring_the_old_data_key_back(path):
    store = WALStore(path, encryption_key=OLD)
    store.create(key_of("c"), session("c"))
    stolen = (path / "sessions.keys").read_bytes()
    store.change_key(NEW)
    worker = WALStore(path, encryption_key=NEW)
    assert worker.load(key_of("c")) is not None
    store.rekey()
    assert worker.load(key_of("c")) is not None
    current = (path / "sessions.keys").read_bytes()
    (path / "sessions.keys").write_bytes(stolen)
    for process in store, worker:
        process.create(key_of("secret"), session("secret"))
        with pytest.raises(DecryptError, match="older one"):
            process.compact()
    (path / "sessions.keys").write_bytes(current)
    worker.compact()
    assert worker.load(key_of("secret")) is not None
    worker.close()
    store.close()
    with pytest.raises(DecryptError):
        WALStore(path, encryption_key=OLD)
    WALStore(path, encryption_key=NEW)


def test_a_file_made_under_a_data_key_that_was_dropped_is_not_trusted(monkeypatch):
    """Who has stolen that could make one."""
    small_files(monkeypatch)
    disk = SimDisk()
    one, other = (make_engine(disk, encrypted_by=EncryptionKey(KEY)) for _ in range(2))
    put(one, "a", b"1")
    assert other.get(key("a")) is not None
    stolen = disk.files()
    one.rekey()
    assert other.get(key("a")) is not None
    thief = SimDisk(stolen)
    forger = make_engine(thief, encrypted_by=EncryptionKey(KEY))
    for _ in range(4):
        put(forger, "a", b"forged")
        forger.compact()
    put(forger, "a", b"forged")
    forger.close()
    for name in list(disk.names):
        if name.endswith((".wal", ".snapshot")):
            disk.unlink(0, name)
    for name, data in thief.files().items():
        if name.endswith((".wal", ".snapshot")):
            fd = disk.create(0, name)
            disk.pwrite(fd, data, 0)
    for engine in one, other:
        with pytest.raises(StoreError):
            put(engine, "b", b"2")
            assert engine.get(key("a")).value == b"1"
        with pytest.raises(StoreError):
            engine.verify()


# Salvage.


def test_an_old_record_behind_the_end_brings_no_logout_back_by_salvage(path, tmp_path):
    with WALStore(path, encryption_key=KEY) as store:
        store.create(key_of("c"), session("c"))
        log = the(path, "wal")
        end = len(log.read_bytes().rstrip(b"\0"))
        store.delete(key_of("c"))
    data = log.read_bytes()
    patch(log, len(data.rstrip(b"\0")), data[form.HEADER_BYTES : end])
    with WALStore(tmp_path / "target", encryption_key=KEY) as target:
        salvaged = target.salvage(path, encryption_key=KEY)
        assert target.load(key_of("c")) is None
    assert (salvaged.kept, len(salvaged.holes) > 0) == (0, True)


@pytest.mark.parametrize("encryption_key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("at", [20, 40, 60])
def test_a_log_whose_header_is_damaged_makes_all_before_it_doubtful(
    path, tmp_path, encryption_key, at
):
    """It may have held their deletion; and the store can't even be opened by its constructor."""
    with WALStore(path, encryption_key=encryption_key) as store:
        for name in "abc":
            store.create(key_of(name), session(name))
        store.compact()
        store.delete(key_of("c"))
    log = the(path, "wal")
    patch(log, at, bytes([log.read_bytes()[at] ^ 1]))
    with pytest.raises((Corruption, DecryptError)):
        WALStore(path, encryption_key=encryption_key)
    with WALStore(tmp_path / "target", encryption_key=encryption_key) as target:
        salvaged = target.salvage(path, encryption_key=encryption_key)
        assert list(target.records()) == []
    assert (salvaged.kept, salvaged.doubtful) == (0, 3)
    assert [hole.path for hole in salvaged.holes][-1] == str(log)


def test_what_was_encrypted_is_not_salvaged_into_the_clear(path, tmp_path):
    with WALStore(path, encryption_key=KEY) as store:
        store.create(key_of("c"), session("c"))
    with (
        WALStore(tmp_path / "target") as target,
        pytest.raises(ConfigError, match="is not encrypted"),
    ):
        target.salvage(path, encryption_key=KEY)


# Backups, while compactions fail and files go.


class FullForSnapshots(FileSystem):
    """No room for a snapshot, for a while."""

    is_full = False

    def create(self, directory: int, name: str) -> int:
        if self.is_full and ".snapshot" in name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return FileSystem.create(directory, name)


def test_a_store_is_backed_up_also_when_a_compaction_has_failed(path, tmp_path):
    """The sealed log that waits for the next one is copied with its SEAL."""
    fs = FullForSnapshots()
    engine = make_engine(fs, str(path))
    put(engine, "a", b"1")
    fs.is_full = True
    with pytest.raises(StoreFull):
        engine.compact()
    fs.is_full = False
    put(engine, "b", b"2")
    engine.back_up(str(tmp_path / "copy"))
    assert content(make_engine(path=str(tmp_path / "copy"))) == content(engine)
    engine.close()


def test_who_opens_a_store_while_it_is_compacted_reads_the_new_snapshot(path, monkeypatch):
    """Else it would hold on to files that are gone, and could not copy them."""
    one = make_engine(path=str(path))
    put(one, "a", b"1")
    listings = []
    real = FileSystem.list

    def list_and_compact(directory: int) -> list[str]:
        found = real(directory)
        if threading.current_thread() is threading.main_thread() and not listings:
            listings.append(found)
            thread = threading.Thread(target=one.compact)  # published when this was listed
            thread.start()
            thread.join()
        return found

    other = make_engine(path=str(path))
    monkeypatch.setattr(FileSystem, "list", staticmethod(list_and_compact))
    assert other.get(key("a")).value == b"1"
    monkeypatch.undo()
    assert listings
    other.back_up(f"{path}-copy")
    assert other.stats().snapshot_bytes > 0
    assert content(make_engine(path=f"{path}-copy")) == content(other)
    one.close()
    other.close()


def test_a_backup_says_which_side_failed(path, tmp_path):
    engine = make_engine(path=str(path))
    put(engine, "a", b"1")
    engine.compact()
    the(path, "snapshot").unlink()
    with pytest.raises(StoreError, match=str(path)):
        engine.back_up(str(tmp_path / "copy"))
    assert list((tmp_path / "copy").iterdir()) == []
    engine.close()


def test_a_backup_leaves_alone_what_it_did_not_make(path, tmp_path):
    (tmp_path / "copy").mkdir(mode=0o700)
    (tmp_path / "copy" / "sessions.live").write_bytes(b"")
    with WALStore(path) as store, pytest.raises(StoreError, match="holds a store already"):
        store.backup(tmp_path / "copy")
    assert [item.name for item in (tmp_path / "copy").iterdir()] == ["sessions.live"]


# The key file.


def test_a_key_file_that_is_replaced_while_it_is_opened_is_not_missing(path, monkeypatch):
    with WALStore(path, encryption_key=KEY) as store:
        store.create(key_of("c"), session("c"))
    file = path / "sessions.keys"
    real, replaced = os.fstat, []

    def replace_and_look(fd: int) -> os.stat_result:
        if not replaced and os.readlink(f"/proc/self/fd/{fd}").endswith("sessions.keys"):
            copy = path / "copy"
            copy.write_bytes(file.read_bytes())
            copy.chmod(0o600)
            replaced.append(copy.replace(file))
        return real(fd)

    monkeypatch.setattr(os, "fstat", replace_and_look)
    with WALStore(path, encryption_key=KEY) as store:
        assert store.load(key_of("c")) is not None
    assert replaced


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_damaged_key_file_is_found_by_verify_and_by_backup(path, tmp_path, is_gone):
    """Processes that know the data key don't need it; the next ones do."""
    with WALStore(path, encryption_key=KEY) as store:
        store.create(key_of("c"), session("c"))
        file = path / "sessions.keys"
        if is_gone:
            file.unlink()
        else:
            patch(file, 100, bytes([file.read_bytes()[100] ^ 1]))
        for look in store.verify, lambda: store.backup(tmp_path / "copy"):
            with pytest.raises(StoreError):
                look()
        assert list((tmp_path / "copy").iterdir()) == []


def test_a_backup_that_its_own_key_would_not_open_is_refused(path, tmp_path):
    store, other = (WALStore(path, encryption_key=KEY) for _ in range(2))
    store.create(key_of("c"), session("c"))
    assert other.load(key_of("c")) is not None
    store.change_key(NEW)
    with pytest.raises(DecryptError):
        other.backup(tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []
    store.backup(tmp_path / "copy")
    WALStore(tmp_path / "copy", encryption_key=NEW)
    store.close()
    other.close()


def test_after_a_rekey_and_another_passphrase_the_others_compact_on(path):
    one, other = (WALStore(path, encryption_key=OLD) for _ in range(2))
    one.create(key_of("c"), session("c"))
    assert other.load(key_of("c")) is not None
    one.rekey()
    assert other.load(key_of("c")) is not None
    one.change_key(NEW)
    for number in range(3):
        other.create(key_of(str(number)), session("c"))
        other.compact()
        assert len(one) == number + 2
    one.close()
    other.close()


@pytest.mark.parametrize("call", ["rename", "sync_directory"])
def test_a_change_of_key_that_failed_can_be_done_again(monkeypatch, call):
    small_files(monkeypatch)
    disk = SimDisk()
    engine = make_engine(disk, encrypted_by=EncryptionKey(KEY))
    put(engine, "a", b"1")
    new = EncryptionKey(bytes(32))

    def fail(name: str) -> None:
        if name == call:
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = fail
    with pytest.raises(StoreError):
        engine.change_key(new)
    disk.fault = lambda name: None
    engine.change_key(new)
    engine.rekey()
    put(engine, "b", b"2")
    assert len(content(make_engine(SimDisk(disk.files()), encrypted_by=new))) == 2


def test_a_key_of_a_plain_store_cant_be_changed_and_nothing_alarms(path):
    with WALStore(path) as store:
        store.create(key_of("c"), session("c"))
        for change in store.rekey, lambda: store.change_key(NEW):
            with pytest.raises(DecryptError, match="the store is not encrypted"):
                change()


def test_a_refused_passphrase_is_in_no_exception(path):
    """Also not in one that was the context of another: crash reporters send those."""
    secret = "a passphrase with \ud800 in it"
    with pytest.raises(ConfigError) as caught:
        WALStore(path, encryption_key=secret)
    error: BaseException | None = caught.value
    while error is not None:
        assert secret not in repr(vars(error)) + repr(error.args)
        assert not isinstance(error, UnicodeError)
        error = error.__context__


# The last generation.


def test_a_file_of_the_last_generation_is_refused_and_stops_no_thread(path):
    with WALStore(path) as store:
        store.create(key_of("c"), session("c"))
        (path / f"sessions.{'f' * 16}.wal").write_bytes(b"planted")
        with pytest.raises(Corruption, match="last generation"):
            store.compact()
        assert store.load(key_of("c")) is not None


def test_a_store_made_anew_beside_an_old_key_file_has_another_data_key(path):
    """Else two stores would seal records of the same numbers under one key."""
    with WALStore(path, encryption_key=KEY) as store:
        store.create(key_of("c"), session("c"))
    before = (path / "sessions.keys").read_bytes()
    for item in path.iterdir():
        if not item.name.endswith(".keys"):
            item.unlink()
    with WALStore(path, encryption_key=KEY) as store:
        store.create(key_of("d"), session("d"))
    after = (path / "sessions.keys").read_bytes()
    assert [*KeyFile.decode(before, "").wrapped] == [1]
    assert [*KeyFile.decode(after, "").wrapped] == [2]
    (path / "sessions.keys").write_bytes(before)
    with pytest.raises(DecryptError):
        WALStore(path, encryption_key=KEY)
