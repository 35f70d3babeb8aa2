"""What was deleted leaves the disk, and the memory of the workers, of a site that hardly writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from litesess import MemoryStore, Record, WALStore
from litesess.ids import key_of
from litesess.stores.collector import _Schedule
from litesess.stores.fallback import FallbackStore
from litesess.testing import FakeClock

DAY = 86_400.0
SECRET_VALUE = "the last words of ada"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def age(path: Path, made_at: float) -> None:
    """Set the time at which the store was compacted."""
    for name in path.glob("*.snapshot"):
        os.utime(name, (made_at, made_at))


def is_on_disk(path: Path, text: str = SECRET_VALUE) -> bool:
    return any(text.encode() in each.read_bytes() for each in path.iterdir())


def fill(store: WALStore, clock: FakeClock, *names: object, value: str = "x") -> None:
    for name in names:
        store.create(key_of(str(name)), Record({"v": value}, clock(), clock() + 3 * DAY))


def run_pass(store: WALStore) -> None:
    """Let the collector have its turn."""
    monotonic = FakeClock(0)
    schedule = _Schedule(store, monotonic)
    schedule.run(store, monotonic)


def test_what_was_destroyed_is_off_the_disk_within_a_day(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        fill(store, clock, "ada", value=SECRET_VALUE)
        fill(store, clock, "bob")
        store.compact()
        age(tmp_path, clock())
        with WALStore(tmp_path, clock=clock) as other:  # by whomever
            other.delete(key_of("ada"))
        clock.advance(DAY - 1)
        run_pass(store)
        assert is_on_disk(tmp_path)
        clock.advance(1)
        run_pass(store)
        assert not is_on_disk(tmp_path)
        assert store.load(key_of("bob")) is not None
        assert store.stats().compactions == 2


def test_a_store_that_was_never_compacted_does_not_wait(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        fill(store, clock, "ada", value=SECRET_VALUE)
        store.delete(key_of("ada"))
        run_pass(store)
        assert not is_on_disk(tmp_path)


def test_what_has_expired_is_off_the_disk_too(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        fill(store, clock, "ada", value=SECRET_VALUE)
        age(tmp_path, clock())
        clock.advance(4 * DAY)
        run_pass(store)
        assert not is_on_disk(tmp_path)


def test_a_session_that_was_moved_leaves_its_former_values_no_longer(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        fill(store, clock, "ada", value=SECRET_VALUE)
        store.compact()
        age(tmp_path, clock())
        store.replace(key_of("ada"), key_of("new"), Record({}, clock(), clock() + 3 * DAY))
        clock.advance(DAY)
        run_pass(store)
        assert not is_on_disk(tmp_path)


def test_nothing_is_written_where_nothing_was_deleted(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        fill(store, clock, "ada")
        age(tmp_path, clock())
        clock.advance(2 * DAY)
        run_pass(store)
        assert store.stats().compactions == 0


@pytest.mark.parametrize(("interval", "count"), [(None, 0), (0, 1), (60, 1)])
def test_the_interval_is_the_users(tmp_path, clock, interval, count):
    with WALStore(tmp_path, clock=clock, compact_interval=interval) as store:
        fill(store, clock, "ada")
        age(tmp_path, clock())
        store.delete(key_of("ada"))
        clock.advance(60)
        run_pass(store)
        run_pass(store)
        assert store.stats().compactions == count


def test_a_snapshot_from_the_future_is_made_anew(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        fill(store, clock, "ada", "bob")
        store.compact()
        age(tmp_path, clock() + 400 * DAY)
        store.delete(key_of("ada"))
        run_pass(store)
        assert store.stats().compactions == 2


def test_after_a_storm_of_expired_sessions_the_memory_is_given_back(tmp_path, clock):
    with WALStore(tmp_path, clock=clock, durable=False, wal_limit=1 << 26) as store:
        for number in range(5000):
            store.create(key_of(str(number)), Record({}, clock(), clock() + 100))
        store.compact()
        age(tmp_path, clock())
        fill(store, clock, "ada")
        clock.advance(100)
        run_pass(store)
        view = store._engine._open.reader.current().view
        assert [len(table.puts) for table in view.tables] == [0]
        assert view.snapshot.count == 1


def test_of_two_stores_each_has_its_own_interval(tmp_path, clock):
    with WALStore(tmp_path, clock=clock, compact_interval=0) as new:
        both = FallbackStore(new, MemoryStore(clock=clock))
        fill(new, clock, "ada")
        new.delete(key_of("ada"))
        run_pass(both)
        assert new.stats().compactions == 1
