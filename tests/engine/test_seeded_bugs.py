"""The crash tests and sweeps find each of these bugs, put in on purpose: so they can fail."""

from __future__ import annotations

import pytest

from litesess.engine import Engine, chain, check, compaction, opening, recovery
from litesess.engine import format as form
from litesess.engine.append import Appender
from litesess.engine.commit import Committer
from litesess.engine.log import Log
from litesess.errors import LitesessError, StoreFailed
from tests.tools.crashes import HUNTS, Workload
from tests.tools.engines import small_files
from tests.tools.schedules import ContendedLock, explore, starting_points
from tests.tools.simdisk import SimDisk
from tests.tools.sweeps import every_flip, every_lost_record, every_salvage, every_sync


def lie_about(*suffixes: str):
    """A disk whose sync of some files, or of the directory, only pretends."""

    def make() -> SimDisk:
        disk = SimDisk()
        disk.is_lying = lambda name: any(name.endswith(suffix) for suffix in suffixes)
        return disk

    return make


def lie_about_directory(kind: str):
    def make() -> SimDisk:
        disk = SimDisk()
        disk.is_lying = lambda name: (
            name == ""
            and any(op == "rename" and names.endswith(kind) for op, names, _ in disk.pending_names)
        )
        return disk

    return make


def never_sync(monkeypatch) -> None:
    monkeypatch.setattr(Log, "sync", lambda _self: None)


def lie_about_the_seal() -> SimDisk:
    disk = SimDisk()

    def is_lying(name: str) -> bool:
        writes = disk.names[name].pending if name.endswith(".wal") else []
        return bool(writes) and writes[-1][1][2:3] == bytes([form.SEAL])

    disk.is_lying = is_lying
    return disk


def drop_before_publishing(monkeypatch) -> None:
    real = compaction._publish

    def publish(files, current, *rest):
        directory, names = files.directory, files.directory.names
        directory.unlink(
            names.wal(table.log.header.generation) for table in current.view.tables[1:]
        )
        return real(files, current, *rest)

    monkeypatch.setattr(compaction, "_publish", publish)


def check_no_sum(monkeypatch) -> None:
    monkeypatch.setattr(form, "crc32", lambda _data, _value=0: 0)


def go_on_in_a_crashed_log(monkeypatch) -> None:
    monkeypatch.setattr(chain.Chain, "was_closed", lambda _chain, _slot: True)


def trust_names_at_reopen(monkeypatch) -> None:
    real = recovery.open_store

    def open_store(files, *rest):
        fs = files.directory.fs
        sync_directory, fs.sync_directory = fs.sync_directory, lambda _directory: None
        try:
            return real(files, *rest)
        finally:
            fs.sync_directory = sync_directory

    monkeypatch.setattr(opening, "open_store", open_store)


def write_the_slot_before_the_sync(monkeypatch) -> None:
    def finish(self):
        current = self._follower.catch_up()
        header = current.log.header
        return form.Slot(header.store, header.generation, current.table.end)

    monkeypatch.setattr(Committer, "finish", finish)
    # ... which only matters for what was not synced for itself.
    real = Committer.transact
    monkeypatch.setattr(
        Committer, "transact", lambda self, plan, *, sync: real(self, plan, sync=False)
    )


def split_groups(monkeypatch) -> None:
    real = Log.encode

    def encode(self, kind, flags, payload, sequence, durable, offset):
        if kind != form.GROUP:
            return real(self, kind, flags, payload, sequence, durable, offset)
        record = form.Record(0, 0, kind, flags, sequence, 0, payload)
        return b"".join(
            real(self, one, flag, part, sequence + at, durable, offset)
            for at, (one, flag, part) in enumerate(form.members(record))
        )

    monkeypatch.setattr(Log, "encode", encode)


def erase_nothing(monkeypatch) -> None:
    monkeypatch.setattr(recovery, "_copy", lambda _files, chain: chain.current)


def write_on_after_a_failed_sync(monkeypatch) -> None:
    def poison(self, _error, _log):
        return StoreFailed("sync failed")

    monkeypatch.setattr(Appender, "_poison", poison)


def know_no_watermark(monkeypatch) -> None:
    monkeypatch.setattr(chain, "_judge", lambda *_found: None)


def fall_back_to_an_older_state(monkeypatch) -> None:
    def replay_what_is_good(table, _slot):
        replayed = chain.Replayed(table)
        for found in chain.find_records(table.log):
            replayed.table.apply(found)
        return replayed

    monkeypatch.setattr(chain, "_replay", replay_what_is_good)


def check_no_sequence(monkeypatch) -> None:
    class Agreeable(int):
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    def decode(*arguments):
        found = real_decode(*arguments)
        return found._replace(sequence=Agreeable(found.sequence)) if len(found) == 7 else found

    real_decode = form.decode_record
    monkeypatch.setattr(form, "decode_record", decode)


def note_what_is_not_synced(monkeypatch) -> None:
    real = Committer._mark

    def mark(self, *, always):
        sync, Log.sync = Log.sync, lambda _log: None
        try:
            return real(self, always=always)
        finally:
            Log.sync = sync

    monkeypatch.setattr(Committer, "_mark", mark)


def grow_without_a_sync(monkeypatch) -> None:
    def reserve(_self, current, end):
        if not current.log.has_room(end):
            current.log.reserved = current.log.grow(end)

    monkeypatch.setattr(Appender, "reserve", reserve)


def write_behind_the_end(monkeypatch) -> None:
    monkeypatch.setattr(Appender, "reserve", lambda _self, _current, _end: None)


def take_a_cut_for_a_crash(monkeypatch) -> None:
    monkeypatch.setattr(Log, "was_cut", lambda _self, _end, _torn: False)


def take_any_slot_for_a_close(monkeypatch) -> None:
    monkeypatch.setattr(form, "IN_USE", 0)


def miss_no_log(monkeypatch) -> None:
    monkeypatch.setattr(check, "_begins_at", lambda _base, _log: True)
    monkeypatch.setattr(check, "_accounts_for", lambda _log, _generation: True)
    monkeypatch.setattr(check, "_missing", lambda _files, _generation: None)
    real = check._Findings.add_hole
    monkeypatch.setattr(check._Findings, "add_hole", lambda self, hole: hole and real(self, hole))


def lock_nothing(monkeypatch) -> None:
    monkeypatch.setattr(Appender, "_lock_end", lambda self, _timeout: self._follower.catch_up())


def write_where_it_ended(monkeypatch) -> None:
    real = Appender._lock_end

    def lock_end(self, timeout):
        self._follower.catch_up, follow = lambda: self._follower.current, self._follower.catch_up
        try:
            return real(self, timeout)
        finally:
            self._follower.catch_up = follow

    monkeypatch.setattr(Appender, "_lock_end", lock_end)


def read_what_was_followed(monkeypatch) -> None:
    def get(self, key):
        return self._opened().follower.current.view.get(key)

    monkeypatch.setattr(Engine, "get", get)


def open_at_once(monkeypatch) -> None:
    real = ContendedLock.acquire

    def acquire(self, fd, timeout, **how):
        disk = self._world.disk
        return disk.open_files[fd] is disk.root or real(self, fd, timeout, **how)

    monkeypatch.setattr(ContendedLock, "acquire", acquire)


CRASH_BUGS = {
    "a commit is not synced": (SimDisk, never_sync),
    "a seal is not synced": (lie_about_the_seal, None),
    "a new log is not synced before it gets its name": (lie_about(".wal.tmp"), None),
    "the directory is not synced after a new log": (lie_about_directory(".wal"), None),
    "a snapshot is not synced": (lie_about(".snapshot.tmp"), None),
    "the directory is not synced after a snapshot": (lie_about_directory(".snapshot"), None),
    "logs are dropped before the snapshot is published": (SimDisk, drop_before_publishing),
    "no checksum is checked": (SimDisk, check_no_sum),
    "a crashed log is gone on with as it is": (SimDisk, go_on_in_a_crashed_log),
    "the directory is not synced at reopen": (SimDisk, trust_names_at_reopen),
    "the slot is written before the sync": (SimDisk, write_the_slot_before_the_sync),
    "a group is written as several records": (SimDisk, split_groups),
    "the slot says more than is synced": (SimDisk, note_what_is_not_synced),
    "a record lies where the file's length is not durable": (SimDisk, grow_without_a_sync),
    "a record ends at the end of the file": (SimDisk, write_behind_the_end),
}
SWEEP_BUGS = {
    "writing goes on after a failed sync": (every_sync, write_on_after_a_failed_sync),
    "no watermark is known": (every_flip, know_no_watermark),
    "damage is passed over": (every_flip, fall_back_to_an_older_state),
    "no sequence is checked": (every_lost_record, check_no_sequence),
    "a log that was cut is taken for torn": (every_flip, take_a_cut_for_a_crash),
    "a store in use is taken for closed": (every_flip, take_any_slot_for_a_close),
    "salvage misses no log": (every_salvage, miss_no_log),
}
SCHEDULE_BUGS = {
    "the log is not locked": lock_nothing,
    "the log is not followed before it is written": write_where_it_ended,
    "the log is not followed before it is read": read_what_was_followed,
    "opening is not guarded": open_at_once,
}


#: Each takes some seconds to be found.
LONG = {
    "a seal is not synced",
    "no watermark is known",
    "a log that was cut is taken for torn",
    "a store in use is taken for closed",
}


def each(bugs):
    """Run a test for each of *bugs*."""
    names = [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in bugs]
    return pytest.mark.parametrize("name", names)


def test_at_least_twenty_bugs_are_seeded():
    assert len(CRASH_BUGS) + len(SWEEP_BUGS) + len(SCHEDULE_BUGS) >= 20


@each(CRASH_BUGS)
def test_the_crash_tests_find_that(name, monkeypatch):
    small_files(monkeypatch)
    make_disk, seed_bug = CRASH_BUGS[name]
    if seed_bug:
        seed_bug(monkeypatch)
    for seed in range(12):
        for hunt in HUNTS:
            try:
                hunt(Workload(seed, 60, make_disk()))
            except Exception as error:  # noqa: BLE001  # what was broken on purpose may raise anything, and is to
                print(f"found by {hunt.__name__} seed {seed}: {error!r}")
                return
    pytest.fail("not found")


@each(SWEEP_BUGS)
def test_a_sweep_finds_that(name, monkeypatch):
    small_files(monkeypatch)
    sweep, seed_bug = SWEEP_BUGS[name]
    seed_bug(monkeypatch)
    with pytest.raises((AssertionError, LitesessError, LookupError)):
        sweep()


@each(SCHEDULE_BUGS)
def test_a_schedule_finds_that(name, monkeypatch):
    small_files(monkeypatch)
    points = starting_points()
    SCHEDULE_BUGS[name](monkeypatch)
    for seed in range(20_000):
        try:
            explore(seed, points)
        except AssertionError as error:
            print(f"found after {seed + 1} schedules: {error}")
            return
    pytest.fail("not found")
