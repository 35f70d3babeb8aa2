"""One thread removes expired sessions from all stores of the process."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from litesess import MemoryStore, Record, SessionMiddleware, StoreFailed, StoreFull, WALStore
from litesess.ids import key_of
from litesess.stores import collector as module
from litesess.stores.collector import Collector
from litesess.testing import FakeClock
from tests.tools.apps import SECRET, Site, environ_of, hello, serve, write


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def gc_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "litesess-gc"]


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    for store in list(collector._schedules):
        collector.forget(store)
    collector._wake.set()  # the last store may have gone by itself
    until(lambda: collector._thread is None)


class Ageing(MemoryStore):
    """A memory store whose passes can be waited for and made to fail."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.passes = 0
        self.failures = []

    def collect(self) -> int:
        self.passes += 1
        if self.failures:
            raise self.failures.pop(0)
        return super().collect()


def test_expired_sessions_go_by_themselves(collector):
    store = Ageing(gc_interval=0.01)
    store.create(key_of("a"), Record({}, 0.0, time.time() + 0.05))
    store.create(key_of("b"), Record({}, 0.0, time.time() + 1000))
    collector.watch(store)
    until(lambda: len(store._engine._entries) == 1)
    assert store.load(key_of("b")) is not None


def test_an_error_in_a_pass_is_one_line_when_it_begins_and_when_it_ends(collector, caplog):
    """On a full disk each pass logged a traceback."""
    store = Ageing(gc_interval=0.01)
    store.failures = [StoreFailed("the disk is gone")] * 3 + [StoreFull("the disk is full")] * 2
    collector.watch(store)
    until(lambda: store.passes >= 8)
    store.failures = [StoreFailed("the disk is gone again")]
    until(lambda: not store.failures)
    now = store.passes
    until(lambda: store.passes > now + 1)
    lines = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    told = ["disk is gone", "disk is full", "removed again", "gone again", "removed again"]
    assert [part in line for part, line in zip(told, lines, strict=True)] == [True] * 5
    assert "Traceback" not in caplog.text


def test_an_error_that_is_none_of_ours_is_logged_with_its_traceback(collector, caplog):
    store = Ageing(gc_interval=0.01)
    store.failures = [ZeroDivisionError("a fault of ours")]
    collector.watch(store)
    until(lambda: store.passes >= 2)
    assert caplog.text.count("Traceback") == 1


def test_several_stores_share_one_daemon_thread(collector):
    before = len(gc_threads())
    stores = [Ageing(gc_interval=0.01) for _ in range(3)]
    for store in stores:
        collector.watch(store)
        collector.watch(store)
    until(lambda: all(store.passes for store in stores))
    new = gc_threads()[before:]
    assert len(new) == 1
    assert new[0].daemon


def test_the_thread_ends_with_the_last_store(collector):
    first, second = Ageing(gc_interval=0.01), Ageing(gc_interval=0.01)
    collector.watch(first)
    collector.watch(second)
    collector.forget(first)
    until(lambda: second.passes)
    assert collector._thread is not None
    second.close()
    until(lambda: collector._thread is None)


def test_a_store_that_nobody_uses_any_more_is_not_kept(collector):
    collector.watch(Ageing(gc_interval=0.01))
    until(lambda: collector._thread is None)


def test_an_interval_of_centuries_is_no_error(collector):
    store = Ageing(gc_interval=1e11)
    died = threading.Event()
    before, threading.excepthook = threading.excepthook, lambda _arguments: died.set()
    try:
        collector.watch(store)
        assert not died.wait(0.2)
    finally:
        threading.excepthook = before


def test_a_store_without_an_interval_is_left_alone(collector):
    store = Ageing(gc_interval=None)
    collector.watch(store)
    assert collector._thread is None


def test_a_clock_that_jumps_ends_no_session(collector, caplog):
    clock = FakeClock()
    store = Ageing(gc_interval=0.02, clock=clock)
    store.create(key_of("a"), Record({}, clock(), clock() + 86_400))
    collector.watch(store)
    clock.advance(10 * 365 * 86_400)
    until(lambda: "the clock jumped" in caplog.text)
    assert len(store._engine._entries) == 1
    clock.advance(-10 * 365 * 86_400)
    until(lambda: caplog.text.count("the clock jumped") == 2)
    assert store.load(key_of("a")) is not None


def test_an_automatic_compaction_after_a_jump_ends_no_session(tmp_path):
    clock = FakeClock()
    store = WALStore(tmp_path / "data", clock=clock, gc_interval=None)
    store.create(key_of("a"), Record({}, clock(), clock() + 100))
    clock.advance(10 * 365 * 86_400)
    store._collect_if_steady()
    clock.advance(-10 * 365 * 86_400)
    assert store.load(key_of("a")) is not None
    store.close()


def test_the_log_is_compacted_after_a_pass_if_asked(collector, tmp_path):
    store = WALStore(tmp_path / "data", gc_interval=0.01, compact_after_gc=True)
    store.create(key_of("a"), Record({}, 0.0, time.time() + 1000))
    collector.watch(store)
    until(lambda: list((tmp_path / "data").glob("*.snapshot")))
    collector.forget(store)
    store.close()


def test_the_first_request_starts_it_and_closing_the_app_ends_it():
    before = len(gc_threads())
    site = Site(MemoryStore())
    assert len(gc_threads()) == before
    serve(site.middleware, environ_of() | {"test.action": None, "test.shape": None})
    assert len(gc_threads()) == max(before, 1)
    assert site.store in module._collector._schedules
    site.middleware.close()
    assert site.store not in module._collector._schedules
    until(lambda: len(gc_threads()) <= before)


def test_a_store_without_a_middleware_is_collected_by_a_call_or_by_the_same_thread(tmp_path):
    """As docs/deploy.rst, "Without the middleware", says."""
    clock = FakeClock()
    for store in (
        MemoryStore(clock=clock, gc_interval=0.01),
        WALStore(tmp_path / "data", clock=clock, gc_interval=0.01),
    ):
        store.create(key_of("a"), Record({}, clock(), clock() + 5))
        clock.advance(5)
        assert store.collect() == 1
        heard = []
        store.listeners.append(lambda event, heard=heard: heard.append(event.name))
        module.watch(store)
        store.create(key_of("b"), Record({}, clock(), clock()))
        until(lambda heard=heard: heard == ["created", "expired"])
        store.close()
        until(lambda store=store: store not in module._collector._schedules)


def test_making_a_middleware_starts_no_thread(tmp_path):
    before = set(threading.enumerate())
    SessionMiddleware(hello, secret=SECRET, store=WALStore(tmp_path / "data"))
    assert set(threading.enumerate()) <= before


def test_a_session_that_is_used_meanwhile_is_not_collected(tmp_path):
    clock = FakeClock()
    store = WALStore(tmp_path / "data", clock=clock)
    site = Site(store, clock=clock)
    site.visit(write(a=1))
    key = next(key for key, _ in store.records())
    clock.advance(86_400)
    expired = store._engine.expired

    def expired_then_touched(now):
        keys = list(expired(now))
        clock.advance(-10)
        store.touch(key, clock() + 1000)
        clock.advance(10)
        return iter(keys)

    store._engine.expired = expired_then_touched
    assert store.collect() == 0
    assert store.load(key) is not None
    site.middleware.close()
