"""MemoryStore: what the contract suite does not say of it."""

from __future__ import annotations

import sys
import threading

import pytest

from litesess import ConfigError, MemoryStore, Record, StoreClosed, VersionConflict
from litesess.ids import key_of
from litesess.stores.base import Store

KEY, OTHER = key_of("first"), key_of("second")


@pytest.fixture
def store(clock):
    with MemoryStore(clock=clock) as store:
        yield store


def put(store, clock, key=KEY, **data):
    assert store.create(key, Record(data, clock(), clock() + 100))


def test_it_is_a_store_whose_repr_shows_nothing(store):
    assert isinstance(store, Store)
    assert repr(store) == "<MemoryStore>"


def test_its_defaults():
    store = MemoryStore()
    assert (store.ttl, store.gc_interval, store.touch_interval) == (86_400, 300, "auto")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ttl", 0),
        ("ttl", "1d"),
        ("gc_interval", 0),
        ("touch_interval", "never"),
        ("touch_interval", -1),
        ("clock", None),
        ("path", "data"),
    ],
)
def test_a_wrong_option_is_named(name, value):
    with pytest.raises(ConfigError, match=name):
        MemoryStore(**{name: value})


@pytest.mark.parametrize("value", ["auto", 0, 5, 0.5])
def test_touch_interval_takes_auto_or_seconds(value):
    assert MemoryStore(touch_interval=value).touch_interval == value


@pytest.mark.parametrize(
    ("touch_interval", "gain", "life", "is_worth"),
    [
        ("auto", 60, 86_400, True),
        ("auto", 59.9, 86_400, False),
        ("auto", 10, 100, True),
        ("auto", 9.9, 100, False),
        (5, 5, 86_400, True),
        (5, 4.9, 86_400, False),
        (0, 0.001, 86_400, True),
        (0, 0, 86_400, False),
        (0, -5, 86_400, True),
        ("auto", -60, 86_400, True),
        ("auto", -59.9, 86_400, False),
    ],
)
def test_a_touch_is_worth_it_from_the_touch_interval_on(touch_interval, gain, life, is_worth):
    store = MemoryStore(touch_interval=touch_interval)
    assert store.worth_touching(1000.0, 1000.0 + gain, life) is is_worth


def between_lines(look):
    """Trace the calling thread: *look* before each line of litesess that it comes to."""

    def trace(frame, event, _):
        if "litesess" not in frame.f_code.co_filename:
            return None
        if event == "line":
            sys.settrace(None)
            look()
            sys.settrace(trace)
        return trace

    return trace


@pytest.mark.parametrize("owner", ["7", "8", None])
def test_a_reader_finds_a_session_at_every_moment_of_its_change(store, clock, owner):
    put(store, clock)
    store.update(KEY, {"n": 1}, (), owner="7")
    seen = []
    tracer_before = sys.gettrace()
    sys.settrace(between_lines(lambda: seen.append((store.load(KEY), len(list(store.find("7")))))))
    try:
        store.update(KEY, {"n": 2}, (), owner=owner)
    finally:
        sys.settrace(tracer_before)
    assert len(seen) > 20
    assert all(found is not None for found, _ in seen)
    if owner == "7":
        assert {count for _, count in seen} == {1}


def test_two_stores_share_nothing(store, clock):
    put(store, clock)
    assert MemoryStore(clock=clock).load(KEY) is None


@pytest.mark.parametrize("key", ["", "apple", "A" * 64, "a" * 63, "a" * 65, f"{'a' * 64}\n"])
def test_a_key_that_is_none_is_refused_and_not_shown(store, key):
    with pytest.raises(ValueError, match="64 hex digits") as error_info:
        store.load(key)
    assert not key or key not in str(error_info.value)


OPERATIONS = {
    "load": lambda store: store.load(KEY),
    "create": lambda store: store.create(KEY, Record({}, 0, 1)),
    "update": lambda store: store.update(KEY, {}, []),
    "touch": lambda store: store.touch(KEY, 1),
    "rotate": lambda store: store.rotate(KEY, OTHER, {}, []),
    "replace": lambda store: store.replace(KEY, OTHER, Record({}, 0, 1)),
    "delete": lambda store: store.delete(KEY),
    "records": lambda store: list(store.records()),
    "find": lambda store: store.find("7"),
    "delete_owner": lambda store: store.delete_owner("7"),
    "clear": lambda store: store.clear(),
    "collect": lambda store: store.collect(),
    "len": len,
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_each_operation_on_a_closed_store_says_so(store, operation):
    store.close()
    with pytest.raises(StoreClosed):
        operation(store)


def test_leaving_with_closes_it(clock):
    with MemoryStore(clock=clock) as store:
        put(store, clock)
    with pytest.raises(StoreClosed):
        store.load(KEY)


def test_compacting_is_harmless(store, clock):
    put(store, clock, a=1)
    store.compact()
    assert store.load(KEY).data == {"a": 1}


def test_sessions_may_come_and_go_while_they_are_listed(store, clock):
    for number in range(10):
        put(store, clock, key_of(str(number)))
    listed = 0
    for key, _ in store.records():
        store.delete(key)
        put(store, clock, key_of(f"new {listed}"))
        listed += 1
    assert listed == 10


def test_of_many_threads_that_create_one_key_one_succeeds(store, clock):
    start = threading.Barrier(8)
    created = []

    def create(number):
        start.wait(10)
        if store.create(KEY, Record({"by": number}, clock(), clock() + 100)):
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load(KEY).data == {"by": created[0]}
    assert len(created) == 1


def test_of_many_threads_that_update_one_version_one_succeeds(store, clock):
    put(store, clock)
    version = store.load(KEY).version
    start = threading.Barrier(8)
    conflicts = []

    def update(number):
        start.wait(10)
        try:
            store.update(KEY, {"by": number}, [], if_version=version)
        except VersionConflict:
            conflicts.append(number)

    threads = [threading.Thread(target=update, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conflicts) == 7
