"""How many sessions there may be, and how much one may hold."""

from __future__ import annotations

import random
import time

import pytest

from litesess import ConfigError, EncodeError, Record, StoreFull, WALStore
from litesess.engine import UNCOUNTED, Clear, Delete, Put
from litesess.stores import MOVED_FOR
from tests.tools.apps import Site, WatchedWALStore, look, write
from tests.tools.engines import FAR, change, delete, key, make_engine, put
from tests.tools.simdisk import SimDisk


@pytest.fixture
def site(tmp_path, clock):
    site = Site(WatchedWALStore(tmp_path / "data", clock=clock, max_sessions=5), clock=clock)
    yield site
    site.store.close()


def fill(site, number):
    browsers = [site.new_browser() for _ in range(number)]
    for browser in browsers:
        site.visit(write(a=1), by=browser)
    return browsers


def test_beyond_max_sessions_no_anonymous_session_is_begun_and_nobody_is_put_out(site):
    browsers = fill(site, 5)
    with pytest.raises(StoreFull, match="max_sessions=5"):
        site.visit(write(a=1))
    assert [site.visit(look, by=browser).value for browser in browsers] == [{"a": 1}] * 5
    assert site.visit(look).value == {}


def test_who_logs_in_is_let_in(site):
    fill(site, 5)

    def log_in(session):
        session.owner = "7"
        session["user"] = "ada"

    site.visit(log_in)
    assert site.visit(look).value == {"user": "ada"}
    assert len(site.store) == 6


def test_those_that_are_there_may_be_changed_and_rotated(site):
    (browser, *_) = fill(site, 5)
    site.visit(write(b=2), by=browser)
    site.visit(lambda session: session.rotate(), by=browser)
    assert site.visit(look, by=browser).value == {"a": 1, "b": 2}


def test_an_expired_session_counts_until_it_is_collected(site, clock):
    fill(site, 5)
    clock.advance(86_401)
    with pytest.raises(StoreFull):
        site.visit(write(a=1))
    assert site.store.collect() == 5
    site.visit(write(a=1))
    assert site.visit(look).value == {"a": 1}


def test_a_logout_makes_room(site):
    (browser, *_) = fill(site, 5)
    site.visit(lambda session: session.destroy(), by=browser)
    site.visit(write(a=1))
    assert site.visit(look).value == {"a": 1}


@pytest.mark.parametrize("limit", [0, -1, True, 2.5, "many"])
def test_a_limit_that_is_none_is_refused(tmp_path, limit):
    with pytest.raises(ConfigError, match="max_sessions"):
        WALStore(tmp_path / "data", max_sessions=limit)


def test_entries_are_counted_right_whatever_is_done_to_them():
    rng = random.Random(4)
    disk = SimDisk()
    one, other = make_engine(disk), make_engine(disk)
    assert one.count() == 0
    expected: set[int] = set()
    kinds = {"put": 9, "aside": 5, "owned": 3, "delete": 6, "both": 2, "clear": 0.3, "compact": 1}
    for step in range(600):
        engine, name = rng.choice([one, other]), rng.randrange(12)
        kind = rng.choices([*kinds], [*kinds.values()])[0]
        if kind == "put":
            put(engine, name, b"x")
            expected.add(name)
        elif kind == "aside":
            change(engine, Put(key(name), b"x", FAR, UNCOUNTED))
            expected.discard(name)
        elif kind == "owned":
            change(engine, Put(key(name), b"x", FAR, bytes(range(16))))
            expected.add(name)
        elif kind == "delete":
            delete(engine, name)
            expected.discard(name)
        elif kind == "both":
            twin = (name + 1) % 12
            change(engine, Delete(key(name)), Put(key(twin), b"y", FAR))
            expected.discard(name)
            expected.add(twin)
        elif kind == "clear":
            change(engine, Clear())
            expected.clear()
        else:
            engine.compact()
        assert one.count() == len(expected), step
        if step % 7 == 0:
            assert other.count() == make_engine(disk).count() == len(expected), step


def test_former_keys_take_no_room(site, clock):
    store = site.store
    for number in range(4):
        store.create(key(number).hex(), Record({}, clock(), clock() + 9000))
    former = key(0).hex()
    for number in range(10, 30):
        assert store.rotate(former, key(number).hex(), {}, [])
        former = key(number).hex()
    assert len(store) == 4
    assert store.create(key(5).hex(), Record({}, clock(), clock() + 9000))
    assert len(store) == 5


def test_former_keys_are_no_live_sessions_and_no_expired_ones(tmp_path, clock):
    with WALStore(tmp_path / "data", clock=clock) as store:
        for number in range(3):
            store.create(key(number).hex(), Record({}, clock(), clock() + 5))
        store.create(key(3).hex(), Record({}, clock(), clock() + 9000))
        store.rotate(key(0).hex(), key(10).hex(), {}, [])
        store.rotate(key(3).hex(), key(13).hex(), {}, [], expires_at=clock() + 9000)
        for _ in "log", "snapshot":
            assert (store.stats().live, store.stats().expired) == (4, 0)
            clock.advance(5)
            assert (store.stats().live, store.stats().expired) == (1, 3)
            clock.advance(MOVED_FOR)
            assert (store.stats().live, store.stats().expired) == (1, 3)
            clock.advance(-5 - MOVED_FOR)
            store._engine.compact()
        clock.advance(5 + MOVED_FOR)
        assert store.collect() == 3
        assert (store.stats().live, store.stats().expired) == (1, 0)


def test_a_session_of_too_many_keys_is_refused():
    site = Site()
    with pytest.raises(EncodeError, match="1001 keys, limit 1000"):
        site.visit(lambda session: session.update({f"k{n}": 1 for n in range(1001)}))
    site.visit(lambda session: session.update({f"k{n}": 1 for n in range(1000)}))
    site.visit(lambda session: (session.pop("k0"), session.update(other=1)))
    assert len(site.visit(look).value) == 1000


def test_a_record_may_be_created_where_another_has_expired_though_the_store_is_full(tmp_path):
    with WALStore(tmp_path / "data", max_sessions=1) as store:
        now = time.time()
        store.create(key(1).hex(), Record({}, now - 10, now - 5))
        assert store.create(key(1).hex(), Record({}, now, now + 5))
        with pytest.raises(StoreFull):
            store.create(key(2).hex(), Record({}, now, now + 5))
