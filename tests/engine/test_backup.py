"""Backups of a store that is in use."""

from __future__ import annotations

import os
import random
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litesess import ConfigError, Corruption, DecryptError, Record, StoreError, WALStore
from litesess.engine import Engine
from litesess.engine.backup import back_up
from litesess.engine.directory import Directory
from litesess.ids import key_of
from tests.tools.engines import FAR, content, make_engine, put, small_files
from tests.tools.simdisk import SimDisk

KEY = bytes(range(32))


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def store(request, tmp_path):
    with WALStore(tmp_path / "data", encryption_key=request.param) as store:
        yield store


def again(store: WALStore, path: Path, **options: Any) -> WALStore:
    keys = store._engine._opener._keys
    return WALStore(path, encryption_key=KEY if keys.is_encrypted else None, **options)


def fill(store: WALStore, first: int, last: int) -> None:
    for number in range(first, last):
        store.create(key_of(str(number)), Record({"n": number}, 1.0, FAR))


def numbers(store: WALStore) -> set[int]:
    return {record.data["n"] for _, record in store.records()}


def test_a_backup_is_a_store_with_what_there_was(store, tmp_path):
    fill(store, 0, 20)
    store.compact()
    fill(store, 20, 40)
    verification = store.backup(tmp_path / "copies" / "backup")
    fill(store, 40, 50)
    assert verification.entries == 20
    assert verification.records >= 20
    with again(store, tmp_path / "copies" / "backup") as copy:
        assert numbers(copy) == set(range(40))
        copy.delete(key_of("3"))
        copy.compact()
        assert numbers(copy) == set(range(40)) - {3}
    assert numbers(store) == set(range(50))


def test_a_backup_of_an_empty_store_is_one(store, tmp_path):
    store.backup(tmp_path / "backup")
    with again(store, tmp_path / "backup") as copy:
        assert numbers(copy) == set()


def test_a_backup_opens_as_after_a_clean_close(store, tmp_path, caplog):
    fill(store, 0, 5)
    store.backup(tmp_path / "backup")
    logs = {item.name for item in (tmp_path / "backup").glob("*.wal")}
    with again(store, tmp_path / "backup") as copy:
        assert numbers(copy) == set(range(5))
        assert {item.name for item in (tmp_path / "backup").glob("*.wal")} == logs


def test_what_was_acknowledged_before_a_backup_is_in_it_whatever_is_written_meanwhile(
    store, tmp_path
):
    acknowledged = 0
    is_over = threading.Event()

    def write() -> None:
        nonlocal acknowledged
        while not is_over.is_set():
            fill(store, acknowledged, acknowledged + 1)
            acknowledged += 1
            if acknowledged % 50 == 0:
                store.compact()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            before = acknowledged
            store.backup(tmp_path / f"backup {number}")
            with again(store, tmp_path / f"backup {number}") as copy:
                found = numbers(copy)
                assert found == set(range(len(found)))
                assert len(found) >= before
    finally:
        is_over.set()
        writer.join()


def test_a_directory_that_holds_a_store_is_refused_and_left_alone(store, tmp_path):
    fill(store, 0, 3)
    store.backup(tmp_path / "backup")
    before = {item: item.read_bytes() for item in (tmp_path / "backup").iterdir()}
    for target in tmp_path / "backup", store.path:
        with pytest.raises(StoreError, match="holds a store already"):
            store.backup(target)
    assert before == {item: item.read_bytes() for item in (tmp_path / "backup").iterdir()}
    assert numbers(store) == {0, 1, 2}


def test_a_target_that_cant_be_made_is_refused(store, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="not a directory"):
        store.backup(tmp_path / "file" / "backup")


def test_an_encrypted_backup_is_opened_by_the_same_key_alone(tmp_path):
    with WALStore(tmp_path / "data", encryption_key=KEY) as store:
        fill(store, 0, 3)
        store.backup(tmp_path / "backup")
    with pytest.raises(DecryptError):
        WALStore(tmp_path / "backup", encryption_key=bytes(32))
    with WALStore(tmp_path / "backup", encryption_key=KEY) as copy:
        assert numbers(copy) == {0, 1, 2}


def copy_to(engine: Engine, disk: SimDisk) -> None:
    """Back up onto another simulated disk."""
    opened = engine._open
    directory = Directory.open(disk, "/copy", opened.files.directory.names)
    target = replace(opened.files, directory=directory)
    back_up(opened.files, opened.follower, target, lambda: None)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_backup_that_fails_at_any_call_leaves_nothing_and_harms_nothing(
    monkeypatch, is_encrypted, request
):
    small_files(monkeypatch)
    if is_encrypted:
        request.getfixturevalue("encrypted")
    engine = make_engine(SimDisk())
    put(engine, "a", b"1")
    engine.compact()
    put(engine, "b", b"2")
    stored = content(engine)
    whole = SimDisk()
    copy_to(engine, whole)
    for at in range(2, whole.calls + 1):
        disk = SimDisk()

        def fault(call: str, disk: SimDisk = disk, at: int = at) -> None:
            # Where there is no mapped memory the index is read.
            if disk.calls >= at and call != "map":
                disk.fault = lambda _call: None
                raise OSError(28, "No space left on device")

        disk.fault = fault
        with pytest.raises(StoreError, match=r"/copy(/[^:]*)?: No space"):
            copy_to(engine, disk)
        assert not disk.files(), f"call {at}"
        assert content(engine) == stored
    assert whole.calls > 20
    assert content(make_engine(SimDisk(whole.files()))) == stored


def test_a_backup_is_complete_at_once_or_refused(monkeypatch):
    """A power cut in the midst of it leaves nothing that passes for the whole."""
    small_files(monkeypatch)
    engine = make_engine(SimDisk())
    for name in range(8):
        put(engine, name, b"x")
    engine.compact()
    put(engine, "last", b"y")
    stored = content(engine)
    copy = SimDisk()
    seen = {"whole": 0, "refused": 0, "nothing": 0}

    def cut() -> None:
        for image in copy.crash_images(random.Random(1), samples=1):
            try:
                found = content(make_engine(SimDisk(image)))
            except StoreError:
                seen["refused"] += 1
                continue
            assert found in (stored, {})
            seen["whole" if found else "nothing"] += 1

    copy.watch = cut
    copy_to(engine, copy)
    print(seen)
    assert seen["whole"]
    assert seen["refused"]


def test_a_copy_whose_files_vanished_while_it_was_made_is_no_new_store(store, tmp_path):
    fill(store, 0, 3)
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    for name in ("sessions.live", "sessions.compact"):
        shutil.copy2(f"{store.path}/{name}", copy)
    before = sorted(os.listdir(copy))
    for read_only in (False, True):
        with again(store, copy, read_only=read_only) as copied:
            with pytest.raises((Corruption, DecryptError), match="is missing"):
                fill(copied, 0, 1)
            with pytest.raises((Corruption, DecryptError)):
                len(copied)
    (copy / "sessions.live").write_bytes(b"")  # of a store that an earlier litesess had open
    with again(store, copy) as copied, pytest.raises(Corruption, match=r"compact .*copy anew"):
        fill(copied, 0, 1)
    assert sorted(os.listdir(copy)) == before
    # The operator who means it says so.
    (copy / "sessions.compact").unlink()
    with again(store, copy) as copied:
        assert numbers(copied) == set()


def test_a_store_that_was_never_there_is_made_though_a_crash_left_its_first_files(store, tmp_path):
    """The key file and the presence file come before the first log."""
    fill(store, 0, 1)
    (tmp_path / "new").mkdir(mode=0o700)
    (tmp_path / "new" / "sessions.live").touch(0o600)  # the slot is written after the log
    with suppress(FileNotFoundError):
        shutil.copy2(f"{store.path}/sessions.keys", tmp_path / "new")
    with again(store, tmp_path / "new") as new:
        assert numbers(new) == set()
