"""What listeners are told of sessions."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import tracemalloc
from contextlib import nullcontext

import pytest

from litesess import ConfigError, MemoryStore, Record, WALStore, events
from litesess.events import NAMES
from litesess.ids import handle_of, key_of
from litesess.stores import packed
from litesess.stores.expiring import DELETE_BATCH
from tests.tools.apps import Site, WatchedMemoryStore, WatchedWALStore, write


@pytest.fixture(params=["memory", "wal"])
def store(request, tmp_path, clock):
    if request.param == "memory":
        store = WatchedMemoryStore(clock=clock, max_per_owner=2)
    else:
        store = WatchedWALStore(tmp_path / "data", clock=clock, max_per_owner=2)
    yield store
    store.close()


@pytest.fixture
def told():
    return []


@pytest.fixture
def site(store, clock, told):
    return Site(store, clock=clock, on_event=told.append)


def names(told):
    return [event.name for event in told]


def log_in(session):
    session.owner = "7"
    session["user"] = "ada"


def test_a_sessions_life_is_told(site, told):
    handle = site.visit(lambda s: s.update(a=1) or s.handle).value
    site.visit(write(b=2))
    site.visit(log_in)
    site.visit(lambda s: s.regenerate() or s.update(c=3))
    site.visit(lambda s: s.destroy())
    assert names(told) == ["created", "rotated", "destroyed", "created", "destroyed"]
    created, rotated, ended, again, destroyed = told
    assert (created.handle, created.owner, created.data) == (handle, None, {"a": 1})
    assert (rotated.former_handle, rotated.owner) == (handle, "7")
    assert rotated.data == {"a": 1, "b": 2, "user": "ada"}
    assert (ended.handle, ended.owner) == (rotated.handle, "7")
    assert (again.former_handle, again.owner, again.data) == (rotated.handle, None, {"c": 3})
    assert (destroyed.handle, destroyed.data) == (again.handle, {"c": 3})


def test_nothing_is_told_of_requests_that_change_nothing(site, told, clock):
    site.visit(lambda s: dict(s))
    site.visit(write(a=1))
    told.clear()
    site.visit(lambda s: dict(s))
    clock.advance(100)
    site.visit(lambda s: s.touch())
    assert told == []


def test_an_expiry_is_told_once_when_it_is_removed(site, told, store, clock):
    site.visit(lambda s: s.update(a=1))
    site.visit(log_in)
    told.clear()
    clock.advance(86_401)
    assert told == []
    assert store.collect() == 1  # the mark of the rotation is no session
    store.collect()
    assert [(event.name, event.owner, event.data["user"]) for event in told] == [
        ("expired", "7", "ada")
    ]


def test_a_session_that_had_expired_before_it_was_deleted_is_told_of_as_expired(told, store, clock):
    store.listeners.append(told.append)
    store.create(key_of("a"), Record({"a": 1}, clock(), clock() + 5))
    clock.advance(6)
    assert not store.delete(key_of("a"))
    assert names(told) == ["created", "expired"]


def test_who_has_to_go_is_told_of(site, told, clock):
    for _ in range(3):
        site.visit(log_in, by=site.new_browser())
        clock.advance(1)
    assert names(told) == ["created", "created", "created", "evicted"]
    assert told[3].handle == told[0].handle
    assert told[3].data == {"user": "ada"}


def test_what_an_operator_ends_is_told_of(site, told, store):
    for _ in range(2):
        site.visit(log_in, by=site.new_browser())
    told.clear()
    store.delete_owner("7")
    assert names(told) == ["destroyed", "destroyed"]


def test_a_late_write_is_told_of(site, told):
    site.visit(log_in)

    def slow(session):
        dict(session)
        site.visit(lambda s: s.destroy(), by=site.new_tab())
        session["late"] = 1

    site.visit(slow)
    assert names(told) == ["created", "destroyed", "discarded"]
    assert (told[2].handle, told[2].owner) == (told[0].handle, "7")


def test_a_listener_gets_data_of_its_own(site, told):
    site.visit(lambda s: s.update(cart=[1]))
    told[0].data["cart"].append(2)
    assert told[0].data == {"cart": [1]}
    assert site.visit(lambda s: s["cart"]).value == [1]


def test_a_listener_that_fails_is_logged_and_harms_nothing(store, clock, told, caplog):
    def fail(event):
        raise RuntimeError("out of order")

    site = Site(store, clock=clock, on_event=fail)
    store.listeners.append(told.append)
    assert site.visit(write(a=1)).said == "set"
    assert site.visit(lambda s: s["a"]).value == 1
    assert names(told) == ["created"]
    (record,) = caplog.records
    assert "a listener failed at created of session" in record.message
    assert "out of order" in caplog.text


def test_a_listener_may_use_the_store_even_from_within_the_collector(store, clock):
    found = []

    def ask(event):
        if event.name == "expired":
            found.append(len(store))
            store.create(key_of("audit"), Record({"of": event.handle}, clock(), clock() + 99))
            store.compact()

    store.listeners.append(ask)
    store.create(key_of("a"), Record({}, clock(), clock() + 5))
    clock.advance(6)
    store.collect()
    assert found == [0]
    assert store.load(key_of("audit")).data == {"of": handle_of(key_of("a"))}


def test_a_listener_runs_while_others_write(tmp_path, clock):
    """No lock is held that a request could need, not even in a compaction."""
    with WALStore(tmp_path / "data", clock=clock, wal_limit=1 << 16) as store:
        store.create(key_of("old"), Record({}, clock(), clock() + 5))
        clock.advance(6)
        done = threading.Event()

        def wait_for_another(event):
            if event.name != "expired":
                return

            def write():
                store.compact()
                with WALStore(tmp_path / "data", clock=clock) as other:
                    other.create(key_of("meanwhile"), Record({}, clock(), clock() + 99))
                    other.compact()
                done.set()

            thread = threading.Thread(target=write)
            thread.start()
            thread.join(20)

        store.listeners.append(wait_for_another)
        for number in range(400):  # until a background compaction has collected
            store.create(key_of(f"n{number}"), Record({"x": "y" * 400}, clock(), clock() + 99))
        assert done.wait(20)


def test_each_expiry_is_told_once_by_all_processes_together(tmp_path, clock):
    with WALStore(tmp_path / "data", clock=clock) as store:
        for number in range(300):
            store.create(key_of(str(number)), Record({}, clock(), clock() + 5))
    clock.advance(6)
    forking = multiprocessing.get_context("fork")
    answers = forking.Queue()

    def collect():
        heard = []
        with WALStore(tmp_path / "data", clock=clock) as store:
            store.listeners.append(lambda event: heard.append(event.handle))
            for _ in range(20):
                store.collect()
        answers.put(heard)

    processes = [forking.Process(target=collect) for _ in range(4)]
    for process in processes:
        process.start()
    heard = [handle for _ in processes for handle in answers.get(timeout=60)]
    for process in processes:
        process.join()
    assert sorted(heard) == sorted(handle_of(key_of(str(number))) for number in range(300))


# Of many at once.


def expire_many(store, clock, count):
    for number in range(count):
        record = Record({"x": "y" * 1000}, clock(), clock() + 5, owner="ada")
        store.create(key_of(str(number)), record)
    clock.advance(6)


@pytest.fixture
def most_alive(store):
    """Return what lets a listener note how many events are in memory, at most."""

    def watch(name):
        most = [0, 0]

        def note(event):
            if event.name == name:
                most[0] += 1
                if most[0] % 25 == 1:
                    alive = sum(type(each) is events.Event for each in gc.get_objects())
                    most[1] = max(most[1], alive)

        store.listeners.append(note)
        return most

    gc.freeze()  # so that what was there before is not gone through each time
    yield watch
    gc.unfreeze()


@pytest.fixture(params=["memory", "wal"])
def roomy(request, tmp_path, clock):
    """Return a store without max_per_owner."""
    if request.param == "memory":
        store = MemoryStore(clock=clock)
    else:
        # No compaction comes of itself: collect() would leave the work to it.
        store = WALStore(tmp_path / "data", clock=clock, durable=False, wal_limit=1 << 26)
    yield store
    store.close()


class TestMany:
    @pytest.fixture
    def store(self, roomy):
        return roomy

    def test_of_many_expiries_few_are_in_memory_at_once(self, store, clock, most_alive):
        most = most_alive("expired")
        expire_many(store, clock, 600)
        assert store.collect() == 600
        assert most[0] == 600
        assert most[1] <= 2 * DELETE_BATCH

    def test_of_many_that_an_operator_ends_few_are_in_memory_at_once(
        self, store, clock, most_alive
    ):
        most = most_alive("destroyed")
        clock.advance(-6)
        expire_many(store, clock, 600)
        clock.advance(-6)
        assert store.delete_owner("ada") == 600
        assert most[0] == 600
        assert most[1] <= 2 * DELETE_BATCH

    @pytest.mark.parametrize("listener", ["none", "deaf", "signal that nobody receives", "muted"])
    def test_where_nobody_hears_of_it_no_expired_session_is_decoded(
        self, store, clock, monkeypatch, listener
    ):
        """Where blinker was imported, as in all Flask apps, all of them were kept in memory."""
        expire_many(store, clock, 200)
        decoded = []
        unpack = packed.unpack
        monkeypatch.setattr(packed, "unpack", lambda *value: decoded.append(1) or unpack(*value))
        if listener == "deaf":
            store.listeners.append(Deaf())
        elif listener == "signal that nobody receives":
            pytest.importorskip("flask")
            from litesess.integrations.flask.signals import send_signals  # noqa: PLC0415

            send_signals(store)
        elif listener == "muted":
            store.listeners.append(print)
        with events.muted() if listener == "muted" else nullcontext():
            assert store.collect() == 200
        assert decoded == []

    @pytest.mark.parametrize("listener", [None, lambda _event: None], ids=["unheard", "heard"])
    def test_a_collection_takes_no_more_memory_for_more_sessions(self, store, clock, listener):
        if listener is not None:
            store.listeners.append(listener)
        peaks = []
        for count in 300, 1200:
            expire_many(store, clock, count)
            gc.collect()
            tracemalloc.start()
            assert store.collect() == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        # A list of their keys, and no session of 1 000 bytes.
        assert peaks[1] - peaks[0] < 900 * 500


class Deaf:
    """Hears of nothing that has expired."""

    def __call__(self, event):
        raise AssertionError(event)

    def hears(self, name):
        return name != "expired"


def test_a_listener_may_wait_for_another_that_collects_or_compacts(tmp_path, clock):
    """No lock is held while it is told of what a collection has removed."""
    with WALStore(tmp_path / "data", clock=clock) as store:
        expire_many(store, clock, 120)
        waited = []

        def wait_for_another(event):
            if event.name != "expired" or waited:
                return
            waited.append(event)
            thread = threading.Thread(target=lambda: waited.append(store.collect()))
            thread.start()
            thread.join(20)
            thread = threading.Thread(target=lambda: waited.append(store.compact()))
            thread.start()
            thread.join(20)

        store.listeners.append(wait_for_another)
        removed = store.collect()
        assert waited[2] is None
        assert removed + waited[1] == 120
        assert len(store) == 0


def test_neither_values_nor_owners_are_in_an_events_repr(site, told):
    site.visit(log_in)
    assert repr(told[0]) == f"<Event created {told[0].handle}>"


def test_what_is_no_listener_is_refused(clock):
    with pytest.raises(ConfigError, match="on_event is of type int"):
        Site(MemoryStore(clock=clock), clock=clock, on_event=7)


def test_all_names_of_events_are_documented():
    for name in NAMES:
        assert f"\n{name} " in events.__doc__
