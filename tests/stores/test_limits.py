"""How many sessions there may be, and how much one may hold."""

from __future__ import annotations

import random
import time

import pytest

from litesess import ConfigError, Corruption, EncodeError, Record, WALStore
from litesess.engine import UNCOUNTED, Clear, Delete, Put
from litesess.engine.view import View
from litesess.errors import LimitReached
from litesess.stores import MOVED_FOR
from tests.tools.apps import Site, WatchedMemoryStore, WatchedWALStore, look, write
from tests.tools.engines import FAR, change, delete, key, make_engine, put
from tests.tools.simdisk import SimDisk


@pytest.fixture(params=["memory", "wal"])
def site(request, tmp_path, clock):
    options = {"clock": clock, "max_sessions": 5}
    is_memory = request.param == "memory"
    store = (
        WatchedMemoryStore(**options)
        if is_memory
        else WatchedWALStore(tmp_path / "data", **options)
    )
    site = Site(store, clock=clock)
    yield site
    site.store.close()


def fill(site, number):
    browsers = [site.new_browser() for _ in range(number)]
    for browser in browsers:
        site.visit(write(a=1), by=browser)
    return browsers


def log_in(session):
    session.login("7")


def test_at_max_sessions_the_visitors_session_that_ends_first_makes_room_for_another(site, clock):
    browsers = fill(site, 5)
    clock.advance(100)
    for browser in browsers[1:]:
        site.visit(look, by=browser)  # used since
    heard = listen(site.store)
    assert site.visit(write(a=2)).said == "set"
    assert site.visit(look).value == {"a": 2}
    assert [site.visit(look, by=browser).value for browser in browsers] == [{}, *[{"a": 1}] * 4]
    assert len(site.store) == 5
    assert heard == ["created", "evicted"]


def listen(store):
    heard = []
    store.listeners.append(lambda event: heard.append(event.name))
    return heard


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_flood_ends_no_login_and_meets_no_error(tmp_path, clock, is_compacted):
    store = WALStore(tmp_path / "data", clock=clock, max_sessions=50, durable=False)
    site = Site(store, clock=clock)
    users = [site.new_browser() for _ in range(30)]
    for number, browser in enumerate(users):
        site.visit(lambda session, n=number: session.login(n), by=browser)
    for number in range(400):
        assert site.visit(write(a=1), by=site.new_browser()).said == "set"
        if is_compacted and number % 50 == 0:
            store.compact()
    assert len(store) == store.stats().live == 50
    assert [site.visit(lambda s: s.owner, by=browser).value for browser in users] == [
        str(number) for number in range(30)
    ]
    assert store.stats().refused == 0
    store.close()


def test_if_all_are_logins_a_page_is_served_without_a_session_and_that_is_counted_and_logged(
    site, clock, caplog
):
    users = [site.new_browser() for _ in range(6)]
    for browser in users:
        assert site.visit(log_in, by=browser).said == "set"
    for _ in range(3):
        response = site.visit(write(a=1))
        assert (response.status, response.set_cookies) == ("200 OK", [])
    assert site.visit(lambda s: (s.update(a=1), s.save(), look(s))).value[-1] == {"a": 1}
    assert site.visit(lambda s: (s.regenerate(), s.update(a=1))).set_cookies == []
    assert site.store.tally.refused == 6  # the one that was saved was tried again at the end
    assert caplog.text.count("max_sessions=5") == 1
    clock.advance(60)
    site.visit(write(a=1))
    assert caplog.text.count("max_sessions=5") == 2
    assert len(site.store) == 6
    with pytest.raises(LimitReached, match="max_sessions=5"):
        site.store.create(key(1).hex(), Record({}, clock(), clock() + 5))
    # A logout makes room at once.
    for browser in users[:2]:
        site.visit(lambda session: session.destroy(), by=browser)
    assert site.visit(write(a=1)).said == "set"


def test_sessions_that_another_process_has_begun_make_room_too(tmp_path, clock):
    options = {"clock": clock, "max_sessions": 5}
    with WALStore(tmp_path, **options) as one, WALStore(tmp_path, **options) as other:
        for number in range(40):
            store = (one, one, one, other)[number % 4]
            assert store.create(key(number).hex(), Record({}, clock(), clock() + 9))
            other.update(key(number).hex(), {"a": 1}, [])
        assert len(one) == len(other) == 5


def test_what_a_damaged_session_takes_up_is_left_alone(tmp_path, clock):
    with WALStore(tmp_path, clock=clock, max_sessions=2) as store:
        for number in range(2):
            store.create(key(number).hex(), Record({}, clock(), clock() + 9))
        get = View.get

        def damaged(view, raw):
            if raw == key(0):
                raise Corruption("x", 0, "rotten")
            return get(view, raw)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(View, "get", damaged)
            for number in range(2, 6):
                assert store.create(key(number).hex(), Record({}, clock(), clock() + 9))
        assert store.load(key(0).hex()) is not None


def test_a_user_who_logs_in_is_let_in(site):
    fill(site, 5)
    site.visit(lambda session: (session.login("7"), session.update(user="ada")))
    assert site.visit(look).value == {"user": "ada"}
    assert len(site.store) == 6


def test_those_that_are_there_may_be_changed_and_rotated(site):
    (browser, *_) = fill(site, 5)
    site.visit(write(b=2), by=browser)
    site.visit(lambda session: session.rotate(), by=browser)
    assert site.visit(look, by=browser).value == {"a": 1, "b": 2}


def test_an_expired_session_counts_until_it_is_collected_and_makes_room_first(site, clock):
    fill(site, 5)
    clock.advance(86_401)
    heard = listen(site.store)
    site.visit(write(a=1))
    assert site.visit(look).value == {"a": 1}
    assert heard == ["created", "expired"]
    assert site.store.collect() == 4


def test_a_logout_makes_room(site):
    (browser, *_) = fill(site, 5)
    site.visit(lambda session: session.destroy(), by=browser)
    site.visit(write(a=1))
    assert site.visit(look).value == {"a": 1}


def test_a_session_that_begins_anew_needs_no_room(site):
    for number in range(5):
        site.visit(lambda session, n=number: session.login(n), by=site.new_browser())
    site.visit(log_in)
    site.visit(lambda session: (session.clear(), session.update(a=1)))
    assert site.visit(look).value == {"a": 1}
    site.visit(lambda session: (session.regenerate(), session.update(b=2)))
    assert site.visit(look).value == {"b": 2}
    assert len(site.store) == 6


def test_a_session_that_would_take_the_place_of_one_that_has_ended_needs_room(site):
    for number in range(4):
        site.visit(lambda session, n=number: session.login(n), by=site.new_browser())
    site.visit(write(a=1))
    tab = site.new_tab()

    def end_and_fill(session):
        look(session)
        site.visit(lambda other: other.destroy(), by=tab)
        site.visit(log_in, by=site.new_browser())
        session.regenerate()
        session["b"] = 2

    response = site.visit(end_and_fill)
    assert (response.status, response.set_cookies) == ("200 OK", [])
    assert len(site.store) == 5


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
        assert len(store) == 1
