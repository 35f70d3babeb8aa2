"""What becomes of a session at the end of a request."""

from __future__ import annotations

import itertools
import logging
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from litesess import (
    ConfigError,
    EncodeError,
    LitesessError,
    MemoryStore,
    Record,
    Session,
    SessionGone,
    StoreError,
    StoreFailed,
    StoreFull,
)
from litesess.ids import key_of, new_id
from litesess.testing import FakeClock
from litesess.web import visit_of
from litesess.web.cookie import CookieSigner
from tests.tools.apps import (
    COOKIE,
    KEY,
    SECRET,
    Boom,
    Site,
    WatchedMemoryStore,
    WatchedWALStore,
    environ_of,
    hello,
    look,
    write,
)


@pytest.fixture(params=["memory", "wal"])
def store(request, clock, tmp_path):
    """A store that can be watched, and touches whenever it can."""
    options = {"clock": clock, "touch_interval": 0}
    if request.param == "wal":
        yield (store := WatchedWALStore(tmp_path / "data", durable=False, **options))
    else:
        yield (store := WatchedMemoryStore(**options))
    store.close()


@pytest.fixture
def site(store, clock):
    """A site whose visitor has a session."""
    site = Site(store, clock=clock)
    site.visit(write(user="ada", cart=[1]))
    store.calls.clear()
    return site


def signed(session_id, secret=SECRET):
    """Return the Cookie header that carries an id."""
    return f"{COOKIE}={CookieSigner(COOKIE, [secret.encode()]).sign(session_id)}"


# The decision table.

STATES = ["none", "forged", "dead", "live"]
ACTIONS = {
    "ignore": None,
    "read": look,
    "write": write(a=1),
    "write nothing new": lambda s: s.update(a=1) or s.pop("a"),
    "set max_age": lambda s: setattr(s.cookie, "max_age", 500),
    "touch": lambda s: s.touch(),
    "save": lambda s: s.save(),
    "write and save": lambda s: s.update(a=1) or s.save(),
    "save and write": lambda s: s.save() or s.update(a=1),
    "regenerate": lambda s: s.regenerate(),
    "regenerate and save": lambda s: s.regenerate() or s.save(),
    "rotate": lambda s: s.rotate(),
    "destroy": lambda s: s.destroy(),
}
FLAGS = [False, True]


def expected(state, action, save_uninitialized, resave, rolling, max_age):
    """Return the writes, and what the response says of the cookie."""
    is_known = state == "live"
    is_looked_up = rolling or resave or (save_uninitialized and not is_known)
    if action == "ignore" and not is_looked_up:
        return {}, ""
    if action == "destroy":
        said = "expired" if state in ("live", "dead") else ""
        return ({"delete": 1} if is_known else {}), said
    # Modified: the id or the data differs from what was loaded.  A new id is what it is.
    is_other_id = "regenerate" in action or (action == "rotate" and is_known)
    is_modified = is_other_id or action in ("write", "write and save", "save and write")
    is_cookie_changed = action == "set max_age" and is_known
    saves = 1 if "save" in action else 0
    # Save at the end.
    is_same_as_saved = action in ("save", "write and save", "regenerate and save")
    if not is_known and not save_uninitialized and not saves:
        is_saved_at_end = is_modified
    elif is_known and not saves:
        is_saved_at_end = resave or is_modified or is_cookie_changed
    else:
        is_saved_at_end = not is_same_as_saved
    # Explicitly asked for, or at the end: a new record first, then updates of it.
    total = saves + is_saved_at_end
    if not is_known:
        first = "create"
    elif "regenerate" in action:
        first = "replace"
    else:
        first = "rotate" if action == "rotate" else "update"
    writes = {}
    for name in [first, "update"][:total] if total else []:
        writes[name] = writes.get(name, 0) + 1
    if is_known and not total:
        writes = {"touch": 1}
    # Send the cookie.
    if not is_known or is_other_id:
        is_sent = bool(total) and (save_uninitialized or is_modified or bool(saves))
    else:
        has_end = max_age is not None
        is_sent = rolling or is_cookie_changed or (has_end and (is_modified or action == "touch"))
    return writes, "set" if is_sent else ""


@pytest.mark.parametrize("max_age", [None, 1000])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES)
def test_what_is_written_and_said_follows_the_decision_rules(state, action, max_age):
    wrong = {}
    for flags in itertools.product(FLAGS, FLAGS, FLAGS):
        names = ("save_uninitialized", "resave", "rolling")
        options = dict(zip(names, flags, strict=True))
        clock = FakeClock()
        store = WatchedMemoryStore(clock=clock, touch_interval=0)
        site = Site(store, clock=clock, cookie={"max_age": max_age}, **options)
        if state == "live":
            site.visit(write(user="ada"))
        clock.advance(10)
        header = {"none": None, "live": None, "dead": signed("dead" * 8), "forged": f"{COOKIE}=x"}
        store.calls.clear()
        response = site.visit(ACTIONS[action], cookie=header[state])
        got = store.writes, response.said
        if got != expected(state, action, *flags, max_age):
            wrong[flags] = got, expected(state, action, *flags, max_age)
    assert wrong == {}


def test_destroying_a_session_that_was_dead_already_expires_its_cookie():
    site = Site()
    assert site.visit(lambda s: s.destroy(), cookie=signed("dead" * 8)).said == "expired"


def test_one_response_sets_one_cookie(site):
    response = site.visit(lambda s: (s.save(), s.rotate(), s.save(), s.update(a=1), s.touch()))
    assert len(response.set_cookies) == 1


def test_a_dead_cookie_is_left_alone(site):
    site.store.clear()
    response = site.visit(look)
    assert (response.value, response.said) == ({}, "")


def test_an_id_that_is_not_stored_is_never_adopted(site):
    """CVE-2024-38513 (Fiber), Flask-Session before 0.7: the client chose the id."""
    chosen = new_id()
    site.visit(write(a=1), cookie=signed(chosen))
    assert site.store.load(key_of(chosen)) is None
    assert len(site.store) == 2


def test_two_visitors_have_two_sessions(site):
    site.visit(write(user="bob"), by=site.new_browser())
    assert {data["user"] for data in site.data} == {"ada", "bob"}


def test_a_bad_signature_costs_no_look_up(site):
    site.visit(look, cookie=f"{COOKIE}={site.cookie[:-4]}AAAA")
    assert site.store.calls["load"] == 0


def test_a_good_signature_costs_one_look_up(site):
    site.visit(look)
    site.visit(look, cookie=signed(new_id()))
    assert site.store.calls["load"] == 2


def test_a_session_that_is_only_read_costs_one_look_up_and_one_touch(site, clock):
    clock.advance(10)
    site.visit(look)
    assert site.store.calls == {"load": 1, "touch": 1}


def test_a_session_is_written_whenever_it_was_changed_and_only_then(site):
    writes = [site.writes_of(action) for action in (write(n=1), look, write(n=2), write(n=2))]
    assert writes == [{"update": 1}, {}, {"update": 1}, {}]


def test_a_request_that_does_not_look_costs_nothing(site):
    response = site.visit()
    assert response.all("Set-Cookie") == response.all("Vary") == []
    assert not site.store.calls


def test_the_cookie_follows_the_data_when_it_has_an_end(clock):
    site = Site(clock=clock, cookie={"max_age": 100})
    said = [site.visit(action).said for action in (write(n=1), write(n=2), look, write(n=3))]
    assert said == ["set", "set", "", "set"]


def test_rolling_moves_the_end_with_each_response(clock):
    site = Site(clock=clock, cookie={"max_age": 100}, rolling=True)
    first = site.visit(write(a=1)).attributes["expires"]
    clock.advance(1)
    assert site.visit().attributes["expires"] > first


def test_rolling_sends_the_same_cookie_with_each_response(clock):
    site = Site(clock=clock, rolling=True)
    site.visit(write(a=1))
    before = site.cookie
    assert site.visit(look).said == site.visit().said == "set"
    assert site.cookie == before


def test_the_whole_life_reads_the_same_in_every_request(store, clock):
    site = Site(store, clock=clock, cookie={"max_age": 2000})
    lives = []
    for number in range(3):
        lives.append(site.visit(lambda s: s.cookie.original_max_age).value)
        site.visit(write(n=number))
        clock.advance(100)
    assert lives == [2000.0] * 3
    assert {type(life) for life in lives} == {float}


def test_only_what_the_app_changed_of_the_cookie_is_stored(store, clock):
    site = Site(store, clock=clock, cookie={"max_age": 2000, "priority": "high"})
    site.visit(write(a=1))
    assert [record.cookie for _, record in store.records()] == [None]
    site.visit(lambda session: setattr(session.cookie, "max_age", 5))
    assert [record.cookie for _, record in store.records()] == [{"max_age": 5.0}]


def test_cookie_and_record_end_in_the_same_second(store, clock):
    site = Site(store, clock=clock, cookie={"max_age": 100})
    store.once["create"] = lambda: clock.advance(7)
    attributes = site.visit(write(a=1)).attributes
    ((_, record),) = store.records()
    store.once["update"] = lambda: clock.advance(7)
    site.visit(write(a=2))
    assert attributes["expires"] == "Tue, 14 Nov 2023 22:15:00 GMT"
    assert record.expires_at == 1_700_000_100


def test_cookie_and_record_end_in_the_same_second_after_a_slow_touch(store, clock):
    site = Site(store, clock=clock, cookie={"max_age": 100}, rolling=True)
    site.visit(write(a=1))
    clock.advance(10)
    store.once["touch"] = lambda: clock.advance(7)
    attributes = site.visit(look).attributes
    ((_, record),) = store.records()
    assert attributes["expires"] == "Tue, 14 Nov 2023 22:15:10 GMT"
    assert record.expires_at == 1_700_000_110


# resave.


def test_resave_of_what_another_request_changed_leaves_that_alone(store, clock):
    site = Site(store, clock=clock, resave=True)
    site.visit(write(n=1))
    site.visit(lambda session: (dict(session), site.visit(write(n=2), by=site.new_tab())))
    assert site.data == [{"n": 2}]


def test_resave_does_not_bring_back_what_was_destroyed(store, clock):
    site = Site(store, clock=clock, resave=True, rolling=True)
    site.visit(write(n=1))
    response = site.visit(
        lambda session: (dict(session), site.visit(lambda s: s.destroy(), by=site.new_tab()))
    )
    assert (response.said, site.data) == ("", [])


def test_resave_of_a_session_that_nobody_looked_at_varies_by_nothing(clock):
    site = Site(clock=clock, resave=True)
    site.visit(write(n=1))
    assert site.visit().all("Vary") == []


# Touches.


def test_a_touch_keeps_what_another_request_wrote(site, clock):
    clock.advance(10)
    site.visit(lambda session: (dict(session), site.visit(write(n=2), by=site.new_tab())))
    assert site.data[0]["n"] == 2


def test_a_touch_brings_nothing_back(site, clock):
    clock.advance(10)
    site.visit(lambda session: (dict(session), site.visit(Session.destroy, by=site.new_tab())))
    assert site.data == []


def test_a_touch_that_fails_costs_nobody_the_page(site, clock, caplog):
    clock.advance(10)
    site.store.failing["touch"] = StoreFull("disk full")
    assert site.visit(look).body == b"hello"
    assert "life was not prolonged" in caplog.text


@pytest.mark.parametrize(("seconds", "touches"), [(59, 0), (60, 1)])
def test_touches_are_throttled_to_one_a_minute(clock, seconds, touches):
    site = Site(clock=clock)
    site.visit(write(a=1))
    clock.advance(seconds)
    site.visit(look)
    assert site.store.calls["touch"] == touches


def test_a_used_session_lives_on_and_an_unused_one_ends(clock):
    site = Site(clock=clock, cookie={"max_age": 100})
    site.visit(write(a=1))
    for _ in range(5):
        clock.advance(80)
        assert site.visit(look).value == {"a": 1}
    clock.advance(100)
    assert site.visit(look).value == {}
    assert site.data == []


@pytest.mark.parametrize("touch_interval", ["auto", 0, 50, 60, 300, 1e9])
def test_a_used_session_lives_on_whatever_the_touch_interval(clock, touch_interval):
    store = WatchedMemoryStore(clock=clock, touch_interval=touch_interval)
    site = Site(store, clock=clock, cookie={"max_age": 100})
    site.visit(write(a=1))
    for _ in range(5):
        clock.advance(50)
        site.visit(look)
    assert site.visit(look).value == {"a": 1}


def test_an_expired_session_gets_another_id(site, clock):
    before = site.cookie
    clock.advance(86_400)
    assert site.visit(write(a=1)).said == "set"
    assert site.cookie != before
    assert site.data == [{"a": 1}]


def test_what_a_store_wrongly_returns_expired_is_not_believed(clock):
    class Forgetful(MemoryStore):
        def load(self, key):
            return Record({"user": "ada"}, clock() - 200, clock() - self.late)

    store = Forgetful(clock=clock)
    site = Site(store, clock=clock)
    store.late = -1
    assert site.visit(look, cookie=signed(new_id())).value == {"user": "ada"}
    store.late = 0
    assert site.visit(look, cookie=signed(new_id())).value == {}


# The absolute timeout.


@pytest.fixture
def capped(store, clock):
    site = Site(store, clock=clock, absolute_timeout=100, cookie={"max_age": 80})
    site.visit(write(a=1))
    return site


def test_an_absolute_timeout_is_never_extended(capped, clock):
    clock.advance(60)
    assert capped.visit(write(a=2)).value is None
    clock.advance(39)
    assert capped.visit(look).value == {"a": 2}
    clock.advance(1)
    assert capped.visit(look).value == {}


def test_the_cookie_does_not_outlive_the_absolute_timeout(capped, clock):
    clock.advance(60)
    assert capped.visit(write(a=2)).attributes["max-age"] == "40"


def test_an_absolute_timeout_does_not_begin_anew_by_rotation(capped, clock):
    clock.advance(60)
    capped.visit(lambda session: session.rotate())
    clock.advance(40)
    assert capped.visit(look).value == {}


def test_an_absolute_timeout_begins_anew_with_a_regenerated_session(capped, clock):
    clock.advance(60)
    capped.visit(lambda session: session.regenerate() or session.update(a=3))
    clock.advance(60)
    assert capped.visit(look).value == {"a": 3}


def test_an_absolute_timeout_set_later_ends_sessions_that_are_there(clock):
    site = Site(clock=clock)
    site.visit(write(a=1))
    clock.advance(200)
    restarted = Site(site.store, clock=clock, absolute_timeout=100)
    assert restarted.visit(look, by=None, cookie=site.header).value == {}


# What a store can't do.


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("create", write(a=1)),
        ("update", write(a=1)),
        ("rotate", lambda s: s.rotate()),
        ("replace", lambda s: s.regenerate()),
        ("delete", lambda s: s.destroy()),
        ("load", look),
    ],
)
def test_an_operation_that_fails_leaves_as_it_is(site, operation, action):
    error = site.store.failing[operation] = StoreFailed("broken")
    by = site.new_browser() if operation == "create" else None
    with pytest.raises(StoreFailed) as error_info:
        site.visit(action, by=by)
    assert error_info.value is error


@pytest.mark.parametrize("operation", ["update", "rotate", "replace", "delete"])
def test_after_a_failure_the_session_is_as_it_was(site, operation):
    actions = {
        "update": write(a=1),
        "rotate": lambda s: s.rotate(),
        "replace": lambda s: s.regenerate(),
        "delete": lambda s: s.destroy(),
    }
    site.store.failing[operation] = StoreFull("disk full")
    with pytest.raises(StoreFull):
        site.visit(actions[operation])
    assert site.visit(look).value == {"user": "ada", "cart": [1]}


def test_a_destroy_that_fails_leaves_the_session_usable(site):
    def log_out(session):
        site.store.failing["delete"] = StoreFailed("broken")
        with pytest.raises(StoreFailed):
            session.destroy()
        session["still"] = "here"

    assert site.visit(log_out).said == ""
    assert site.data[0]["still"] == "here"


def test_a_response_varies_by_cookie_though_the_session_could_not_be_loaded(site):
    def ask(session):
        site.store.failing["load"] = StoreFailed("broken")
        with pytest.raises(StoreFailed):
            dict(session)

    assert site.visit(ask).all("Vary") == ["Cookie"]


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\0" * 12, b"\0" * 16 + b"\xff" * 20])
def test_a_record_that_cant_be_decoded_is_logged_and_absent(clock, caplog, garbage):
    site = Site(clock=clock)
    site.visit(write(a=1))
    spoil(site, lambda _value: garbage)
    if garbage != b"\0" * 12:  # an empty session
        assert site.visit(write(a=2)).said == "set"
        assert "can't be decoded" in caplog.text


def test_a_value_that_cant_be_decoded_is_logged_and_absent(clock, caplog):
    site = Site(clock=clock)
    site.visit(write(a={"x": 1}))
    spoil(site, lambda value: value.replace(b'"x"', b'"~y'))
    assert site.visit(lambda session: session.get("a")).value is None
    assert "can't be decoded" in caplog.text


def test_a_session_with_a_value_that_cant_be_decoded_can_be_looked_through(clock):
    site = Site(clock=clock)
    site.visit(write(a={"x": 1}, b=2))
    spoil(site, lambda value: value.replace(b'"x"', b'"~y'))
    assert site.visit(look).value == {"b": 2}


WAYS = {
    "in": lambda session: "a" in session,
    "get": lambda session: session.get("a", "absent") != "absent",
    "[]": lambda session: session["a"],
    "iteration": lambda session: list(session),
    "len": lambda session: len(session),
    "truth": lambda session: bool(session),
    "keys": lambda session: "a" in session.keys(),  # noqa: SIM118
    "items": lambda session: list(session.items()),
    "dict": lambda session: dict(session),
    "pop": lambda session: session.pop("a"),
    "popitem": lambda session: session.popitem(),
}


@pytest.mark.parametrize("first", WAYS)
def test_each_way_to_look_for_a_value_that_cant_be_decoded_finds_it_absent(clock, first):
    def ask(session):
        for way in first, *WAYS:
            try:
                assert not WAYS[way](session), way
            except KeyError:
                assert way in {"[]", "pop", "popitem"}

    site = Site(clock=clock)
    site.visit(write(a={"x": 1}))
    spoil(site, lambda value: value.replace(b'"x"', b'"~y'))
    site.visit(ask)
    # Another release may know how to read it.
    spoil(site, lambda value: value.replace(b'"~y', b'"x"'))
    assert site.visit(look).value == {"a": {"x": 1}}


@pytest.mark.parametrize(
    "work",
    [
        lambda session: session.update(a=2),
        lambda session: session.setdefault("a", 2),
        lambda session: (session.get("a"), session.update(a=2)),
    ],
)
def test_a_value_that_cant_be_decoded_can_be_replaced(clock, work):
    site = Site(clock=clock)
    site.visit(write(a={"x": 1}, b=1))
    spoil(site, lambda value: value.replace(b'"x"', b'"~y'))
    site.visit(work)
    assert site.visit(look).value == {"a": 2, "b": 1}


def test_a_value_that_cant_be_decoded_outlives_what_is_done_to_the_others(clock):
    site = Site(clock=clock)
    site.visit(write(a={"x": 1}, b=1))
    spoil(site, lambda value: value.replace(b'"x"', b'"~y'))
    site.visit(lambda session: (dict(session), session.pop("b")))
    spoil(site, lambda value: value.replace(b'"~y', b'"x"'))
    assert site.visit(look).value == {"a": {"x": 1}}


def test_clear_in_an_atomic_change_takes_a_value_that_cant_be_decoded_too(clock):
    site = Site(clock=clock)
    site.visit(write(a={"x": 1}, b=1))
    spoil(site, lambda value: value.replace(b'"x"', b'"~y'))
    site.visit(lambda s: (dict(s), s.atomic(lambda s: (s.clear(), s.update(c=1)))))
    assert b"~y" not in b"".join(record.frames.get("a", b"") for _, record in site.store.records())
    assert site.visit(look).value == {"c": 1}


def spoil(site, change):
    """Change the bytes that a memory store keeps for its only session."""
    entries = site.store._engine._entries
    ((key, entry),) = entries.items()
    entries[key] = entry._replace(value=change(entry.value))


@pytest.mark.parametrize("value", [object(), float("nan"), {1: {2, object()}}])
def test_a_value_that_cant_be_stored_stops_all_that_comes_with_it(site, value):
    with pytest.raises(EncodeError) as error_info:
        site.visit(write(fine=1, broken=value))
    assert error_info.value.key_path.startswith("broken")
    assert site.data == [{"user": "ada", "cart": [1]}]


def test_a_session_too_large_is_refused_naming_its_largest_key(site):
    with pytest.raises(EncodeError, match="limit 65536") as error_info:
        site.visit(write(small="x" * 1000, large="x" * 65_000))
    assert error_info.value.key_path == "large"
    assert site.visit(write(large="x" * 64_000)).status == "200 OK"


def test_what_is_removed_makes_room(site):
    site.visit(write(large="x" * 60_000))
    site.visit(lambda s: (s.pop("large"), s.update(other="x" * 60_000)))
    assert set(site.data[0]) == {"user", "cart", "other"}


# genid.


def test_an_id_of_the_apps_making_gets_the_environ():
    site = Site(genid=lambda environ: environ["PATH_INFO"].strip("/") + "-" * 30)
    response = site.visit(write(a=1), "/apple")
    assert site.store.load(key_of("apple" + "-" * 30)).data == {"a": 1}
    assert f"{COOKIE}={site.cookie}" == signed("apple" + "-" * 30)
    assert response.said == "set"


def test_no_id_is_made_for_a_session_that_is_not_stored():
    site = Site(genid=lambda _environ: pytest.fail("called"))
    site.visit(look)


@pytest.mark.parametrize("made", ["", None, 5, b"apple", "a b", "a;b", "caf\u00e9", "a" * 129])
def test_what_is_no_id_is_refused_in_that_request(made):
    site = Site(genid=lambda _environ: made)
    with pytest.raises(ConfigError, match="genid"):
        site.visit(write(a=1))
    assert site.data == []


def test_a_taken_id_is_passed_over():
    made = iter(["apple", "apple", "pear"])
    site = Site(genid=lambda _environ: next(made))
    site.visit(write(user="ada"))
    site.visit(write(user="bob"), by=site.new_browser())
    assert site.store.load(key_of("apple")).data == {"user": "ada"}
    assert site.store.load(key_of("pear")).data == {"user": "bob"}


def test_ids_that_are_always_taken_are_an_error_and_overwrite_nobody():
    made = iter(["apple", "pear"])
    site = Site(genid=lambda _environ: next(made, "apple"))
    stranger, other = site.new_browser(), site.new_browser()
    site.visit(write(user="ada"), by=stranger)
    site.visit(write(user="eve"), by=other)
    for browser in (site.browser, other):
        with pytest.raises(ConfigError, match="taken"):
            site.visit(lambda s: (s.update(user="bob"), s.rotate(), s.handle), by=browser)
    assert site.data == [{"user": "ada"}, {"user": "eve"}]


@pytest.mark.parametrize("renew", ["rotate", "regenerate"])
def test_an_id_taken_while_a_session_moves_to_it_overwrites_nobody(renew):
    made = iter(["apple", "pear", "pear", "plum"])
    site = Site(genid=lambda _environ: next(made))
    site.visit(write(user="ada"))

    def move(session):
        getattr(session, renew)()  # to pear, which is free
        site.visit(write(user="bob"), by=site.new_browser())  # takes pear

    site.visit(move)
    assert site.store.load(key_of("pear")).data == {"user": "bob"}


def test_two_overlapping_new_sessions_with_one_id_end_as_two():
    made = iter(["apple", "apple", "pear"])
    site = Site(genid=lambda _environ: next(made))

    def overlap(session):
        session["user"] = "ada"
        assert session.handle
        site.visit(write(user="bob"), by=site.new_browser())

    site.visit(overlap)
    assert sorted(data["user"] for data in site.data) == ["ada", "bob"]


# Several live cookies.


def both(site):
    """Return the header of a client that has two live sessions."""
    other = site.new_browser()
    site.visit(write(user="bob"), by=other)
    return f"{site.header}; {COOKIE}={other.cookies[COOKIE]}"


def test_two_live_sessions_are_none_and_are_warned_of(site, caplog):
    response = site.visit(look, cookie=both(site))
    assert response.value == {}
    assert "cookies of 2 sessions" in caplog.text
    # The only scope that this host has, but for paths, is the one that we set ours in.
    assert response.set_cookies == []


def both_of(site, *names, path="/", **values):
    """Return the Cookie header of a browser that carries the sessions of several users."""
    headers = []
    for name in names:
        browser = site.new_browser()
        site.visit(lambda s, name=name: (s.login(name), s.update(values)), path, by=browser)
        headers.append(f"{COOKIE}={browser.cookies[COOKIE]}")
    return "; ".join(headers)


def scopes_of(response):
    """Return the domains and paths of the cookies that a response expires, and what it sets."""
    expired, kept = set(), []
    for cookie in response.set_cookies:
        value, *attributes = cookie.split("; ")
        found = dict(part.partition("=")[::2] for part in attributes)
        if "Max-Age" in found and found["Max-Age"] == "0":
            expired.add((found.get("Domain"), found["Path"]))
        else:
            kept.append(value)
    return expired, kept


WWW = {"HTTP_HOST": "www.example.com:8080"}


def test_strays_are_expired_in_all_scopes_but_our_own_and_no_session_begins(site):
    header = both_of(site, "ada", "mallory")
    stored = len(site.store)
    response = site.visit(write(a=1), "/shop", cookie=header, **WWW)
    expired, kept = scopes_of(response)
    assert (None, "/") not in expired
    assert {("www.example.com", "/"), ("example.com", "/"), ("example.com", "/shop")} <= expired
    assert not any(domain == "com" for domain, _ in expired)
    assert kept == []
    assert len(site.store) == stored


def test_save_beside_strays_stores_nothing(site):
    header = both_of(site, "ada", "mallory")
    stored = len(site.store)
    response = site.visit(lambda s: (s.update(a=1), s.save()), cookie=header, **WWW)
    assert scopes_of(response)[1] == []
    assert len(site.store) == stored


@pytest.mark.parametrize(
    "end",
    [
        lambda s: s.destroy(),
        lambda s: s.logout(),
        lambda s: s.clear(),
        lambda s: (s.clear(), s.save()),
        lambda s: s.regenerate(),
        lambda s: (s.destroy(), s.regenerate()),
        lambda s: s.login("eve"),
        lambda s: setattr(s, "owner", "eve"),
        lambda s: (s.update(a=1), s.login("eve"), s.save()),
    ],
    ids=["destroy", "logout", "clear", "clear and save", "regenerate", "destroy and regenerate",
         "login", "owner", "saved login"],
)  # fmt: skip
@pytest.mark.parametrize("names", [("ada", "mallory"), ("ada", "ada"), ("ada",) * 6])
def test_all_sessions_of_a_request_end_when_one_ends_or_a_user_logs_in(site, end, names):
    header = both_of(site, *names)
    response = site.visit(end, cookie=header, **WWW)
    assert site.store.find("ada") == site.store.find("mallory") == []
    expired, kept = scopes_of(response)
    assert {("www.example.com", "/"), ("example.com", "/")} <= expired
    # Our own scope is expired, or holds the new session.
    assert ((None, "/") in expired) != bool(kept)


def test_a_login_beside_strays_is_logged_in_at_the_next_request(site):
    header = both_of(site, "ada", "mallory")
    response = site.visit(lambda s: s.login("ada"), cookie=header)
    _, (new,) = scopes_of(response)
    assert site.visit(lambda s: s.owner, cookie=new).value == "ada"


def test_of_two_sessions_of_one_owner_the_newer_is_the_session(site, clock):
    old = both_of(site, "ada", number=1)
    clock.advance(10)
    header = f"{both_of(site, 'ada', number=2)}; {old}"
    response = site.visit(look, cookie=header, **WWW)
    assert response.value["number"] == 2
    expired, kept = scopes_of(response)
    assert ("example.com", "/") in expired
    assert kept == []


def test_two_anonymous_sessions_are_none(site):
    header = "; ".join(
        f"{COOKIE}={browser.cookies[COOKIE]}"
        for browser in (site.new_browser(), site.new_browser())
        if site.visit(write(a=1), by=browser)
    )
    assert site.visit(look, cookie=header).value == {}


def test_of_more_than_four_candidates_none_is_looked_up(site):
    header = both_of(site, *["ada"] * 5)
    site.store.calls.clear()
    assert site.visit(look, cookie=header).value == {}
    assert site.store.calls == {}


def test_four_candidates_are_looked_up_at_once(site, monkeypatch):
    asked = []
    load_all = site.store.load_all
    monkeypatch.setattr(site.store, "load_all", lambda keys: asked.append(keys) or load_all(keys))
    site.visit(look, cookie=both_of(site, *["ada"] * 4))
    assert [len(keys) for keys in asked] == [4]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]:80", "localhost", "a" * 300 + ".com", ".", "a..b", "x_y z.com", "", "-a.b",
     "." * 8000, "a." * 4000],
)  # fmt: skip
def test_a_host_that_is_no_dns_name_has_no_parent_domains(site, host):
    header = both_of(site, "ada", "mallory")
    expired, _ = scopes_of(site.visit(look, "/shop", cookie=header, HTTP_HOST=host))
    assert {domain for domain, _ in expired} <= {None}


def test_a_response_has_at_most_twenty_cookies(site):
    header = both_of(site, "ada", "mallory")
    deep = {"HTTP_HOST": ".".join("abcdefghijklmnop") + ".example.com."}
    response = site.visit(lambda s: s.login("ada"), "/a" * 3000, cookie=header, **deep)
    assert len(response.set_cookies) == 20
    assert scopes_of(response)[1]
    assert ("example.com", "/") in scopes_of(response)[0]


@pytest.mark.parametrize(
    ("trust_proxy", "forwarded"),
    [
        (True, "evil.org, www.example.com"),
        (2, "evil.org, www.example.com, 10.0.0.2"),
        (2, "www.example.com"),
    ],
)
def test_the_host_that_a_trusted_proxy_names_counts(clock, trust_proxy, forwarded):
    site = Site(clock=clock, trust_proxy=trust_proxy)
    header = both_of(site, "ada", "mallory")
    proxied = {"HTTP_HOST": "10.0.0.1", "HTTP_X_FORWARDED_HOST": forwarded}
    expired, _ = scopes_of(site.visit(look, cookie=header, **proxied))
    assert ("example.com", "/") in expired
    assert not any(domain == "evil.org" for domain, _ in expired)


def test_the_scope_that_is_configured_is_left_alone(clock):
    site = Site(clock=clock, cookie={"domain": ".example.com", "path": "/app"})
    header = both_of(site, "ada", "bob", path="/app")
    expired, kept = scopes_of(site.visit(write(user="eve"), "/app", cookie=header, **WWW))
    assert ("example.com", "/app") not in {(d and d.lstrip("."), p) for d, p in expired}
    assert {(None, "/app"), ("www.example.com", "/app"), ("example.com", "/")} <= expired
    assert kept == []


def test_of_a_live_and_a_dead_session_the_live_one_wins(site):
    header = f"{signed(new_id())}; {site.header}; {COOKIE}=junk"
    assert site.visit(look, cookie=header).value["user"] == "ada"
    header = f"{site.header}; {signed(new_id())}"
    assert site.visit(look, cookie=header).value["user"] == "ada"


# A secure cookie over plain http.

NEW_SESSIONS = {
    "write": write(a=1),
    "save": lambda s: s.save(),
    "save what was written": lambda s: (s.update(a=1), s.save()),
    "owner": lambda s: setattr(s, "owner", 7),
    "regenerate": lambda s: s.regenerate(),
}


@pytest.mark.parametrize("action", NEW_SESSIONS.values(), ids=NEW_SESSIONS)
def test_a_cookie_that_cant_be_sent_makes_no_record_and_one_warning(caplog, action):
    site = Site(cookie={"secure": True})
    for _ in range(3):
        assert site.visit(action).said == ""
    assert site.data == []
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "trust_proxy" in record.getMessage()


def test_a_cookie_that_cant_be_sent_is_no_error_of_a_streaming_app(caplog):
    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"

    site = Site(cookie={"secure": True})
    for _ in range(2):
        site.visit(shape=shape)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_session_regenerated_where_it_cant_be_told_leaves_no_record(clock):
    site = Site(clock=clock, cookie_name=COOKIE, cookie={"secure": True})
    site.visit(write(a=1), https=True)
    site.visit(lambda session: session.regenerate())
    assert site.data == []


# The session taken out of the environ.


def unset(environ, start_response):
    environ[KEY]["user"] = "eve"
    del environ[KEY]
    return hello(environ, start_response)


def set_to_none(environ, start_response):
    environ[KEY]["user"] = "eve"
    environ[KEY] = None
    return hello(environ, start_response)


def unset_unread(environ, start_response):
    del environ[KEY]
    return hello(environ, start_response)


def unset_streaming(environ, start_response):
    environ[KEY]["user"] = "eve"
    environ[KEY].rotate()
    del environ[KEY]
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"destroyed\n"
    yield b"hits: 2"


UNSETTING = [unset, set_to_none, unset_unread, unset_streaming]


@pytest.mark.parametrize("shape", UNSETTING)
def test_unset_keep_drops_the_requests_changes(site, shape):
    site.visit(look)
    site.store.calls.clear()
    response = site.visit(shape=shape)
    assert (response.said, site.store.writes) == ("", {})
    assert site.visit(look).value["user"] == "ada"


@pytest.mark.parametrize("shape", UNSETTING)
def test_unset_destroy_deletes_the_session_and_expires_its_cookie(store, clock, shape):
    site = Site(store, clock=clock, unset="destroy")
    site.visit(write(user="ada"))
    response = site.visit(shape=shape)
    assert response.said == "expired"
    assert site.data == []


@pytest.mark.parametrize("shape", UNSETTING)
def test_unset_destroy_of_a_new_session_does_nothing(shape):
    site = Site(unset="destroy")
    response = site.visit(shape=shape)
    assert (response.said, site.store.writes) == ("", {})


@pytest.mark.parametrize("unset_option", ["keep", "destroy"])
def test_unset_of_a_new_session_is_no_error(unset_option, caplog):
    Site(unset=unset_option).visit(shape=unset_streaming)
    assert caplog.records == []


def test_unset_destroy_that_fails_sends_nothing(store, clock):
    site = Site(store, clock=clock, unset="destroy")
    site.visit(write(user="ada"))
    store.failing["delete"] = StoreFailed("broken")
    with pytest.raises(StoreFailed):
        site.visit(shape=unset)


def test_the_body_goes_on_behind_an_unset_session(store, clock):
    site = Site(store, clock=clock, unset="destroy")
    site.visit(write(user="ada"))
    assert site.visit(shape=unset_streaming).body == b"destroyed\nhits: 2"
    assert site.data == []


def test_unset_destroy_while_the_body_streams_deletes_the_session(store, clock):
    def shape(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        del environ[KEY]
        yield b"b"

    site = Site(store, clock=clock, unset="destroy")
    site.visit(write(user="ada"))
    site.visit(shape=shape)
    assert site.data == []


def test_unset_destroy_expires_the_cookie_with_its_own_attributes(clock):
    cookie = {"path": "/app", "domain": "example.com", "secure": True, "samesite": "none"}
    site = Site(clock=clock, unset="destroy", cookie={**cookie, "partitioned": True})
    site.visit(write(user="ada"), "/app", https=True)
    attributes = site.visit(shape=unset, path="/app", https=True).attributes
    expected = {"path": "/app", "domain": "example.com", "secure": "", "samesite": "None"}
    assert expected.items() <= attributes.items()
    assert "partitioned" in attributes
    assert attributes["max-age"] == "0"


def test_a_destroyed_session_expires_the_cookie_as_it_was_sent(clock):
    site = Site(clock=clock)
    site.visit(lambda s: (s.update(a=1), setattr(s.cookie, "path", "/app")))
    assert site.visit(lambda s: s.destroy(), "/app").attributes["path"] == "/app"


# Overlapping requests.


@pytest.mark.parametrize("late", [write(a=1), lambda s: s["cart"].append(2), lambda s: s.rotate()])
def test_a_request_that_began_before_a_logout_brings_nothing_back(site, late):
    def slow(session):
        dict(session)
        site.visit(lambda s: s.destroy(), by=site.new_tab())
        late(session)

    response = site.visit(slow)
    assert (response.body, response.all("Set-Cookie"), site.data) == (b"hello", [], [])
    assert site.store.tally.discarded == 1


@pytest.mark.parametrize("rolling", FLAGS)
def test_a_request_that_only_read_before_a_logout_sends_no_cookie(store, clock, rolling):
    site = Site(store, clock=clock, rolling=rolling)
    site.visit(write(a=1))
    clock.advance(100)
    response = site.visit(lambda s: (dict(s), site.visit(lambda s: s.destroy(), by=site.new_tab())))
    assert (response.said, site.data) == ("", [])


def test_saving_after_a_logout_elsewhere_says_so(site):
    def slow(session):
        session["a"] = 1
        site.visit(lambda s: s.destroy(), by=site.new_tab())
        with pytest.raises(SessionGone):
            session.save()

    site.visit(slow)
    assert site.data == []


def test_overlapping_requests_that_change_different_keys_both_win(site):
    def outer(session):
        session["outer"] = 1
        del session["cart"]
        site.visit(write(inner=1, user="bob"), by=site.new_tab())

    site.visit(outer)
    assert site.data == [{"user": "bob", "outer": 1, "inner": 1}]


def test_of_overlapping_requests_that_change_one_key_the_last_to_end_wins(site):
    def outer(session):
        session["user"] = "eve"
        site.visit(write(user="bob"), by=site.new_tab())

    site.visit(outer)
    assert site.data == [{"user": "eve", "cart": [1]}]


def test_a_rotation_takes_along_what_another_request_wrote_meanwhile(site):
    def outer(session):
        session.rotate()
        site.visit(write(inner=1), by=site.new_tab())

    site.visit(outer)
    assert site.visit(look).value == {"user": "ada", "cart": [1], "inner": 1}


def test_threads_that_change_different_keys_all_win(site):
    begun = threading.Barrier(4)

    def request(number, tab):
        site.visit(lambda s: (dict(s), begun.wait(10), s.update({f"k{number}": number})), by=tab)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(request, number, site.new_tab()) for number in range(4)]:
            done.result(20)
    assert {f"k{number}" for number in range(4)} <= set(site.data[0])


def test_a_thread_that_began_before_a_logout_brings_nothing_back(site):
    read, destroyed = threading.Event(), threading.Event()
    responses = []

    def slow(session):
        dict(session)
        read.set()
        assert destroyed.wait(10)
        session["late"] = 1

    tab = site.new_tab()
    thread = threading.Thread(target=lambda: responses.append(site.visit(slow, by=tab)))
    thread.start()
    assert read.wait(10)
    site.visit(lambda s: s.destroy())
    destroyed.set()
    thread.join(20)
    assert responses[0].said == ""
    assert site.data == []
    assert site.store.tally.discarded == 1


# Strangers.


def test_ten_thousand_invented_cookies_leave_the_store_empty():
    site = Site()
    real = signed(new_id()).partition("=")[2]
    for number in range(2500):
        at = number % len(real)
        for value in (f"{number}", real[:at], real[:at] + "A" + real[at:], signed(new_id())[13:]):
            environ = environ_of(HTTP_COOKIE=f"{COOKIE}={value}")
            session = site.manager.open(environ)
            assert dict(session) == {}
            assert visit_of(session).commit() == []
            assert visit_of(session).decorate([], []) == [("Vary", "Cookie")]
    assert site.store.writes == {}
    assert len(site.store) == 0


def test_an_exception_commits_nothing(site):
    def fail(session):
        session["a"] = 1
        session.regenerate()
        raise Boom

    with pytest.raises(Boom):
        site.visit(fail)
    assert site.store.writes == {}
    assert site.visit(look).value["user"] == "ada"


# Secrets stay secret.


def test_a_request_that_was_abandoned_commits_nothing(site):
    def fail(session):
        session["half"] = "done"
        visit_of(session).is_abandoned = True

    def body(environ, start_response):
        fail(environ[KEY])
        yield from hello(environ, start_response)
        environ[KEY]["late"] = True

    assert site.visit(fail).said == site.visit(shape=body).said == ""
    assert site.data == [{"user": "ada", "cart": [1]}]


def test_no_id_cookie_or_secret_is_in_a_log_a_repr_or_an_error(site, caplog):
    caplog.set_level(logging.DEBUG)
    ids = [site.visit(lambda s: s.id).value]
    values = [SECRET, site.cookie]
    shown = []

    def misbehave(session):
        ids.append(session.id)
        shown.extend(
            map(repr, (session, session.cookie, visit_of(session).record, site.manager.options))
        )
        session.rotate()
        ids.append(session.id)
        site.visit(lambda s: s.destroy(), by=site.new_tab())

    def attempt(action, **request):
        try:
            site.visit(action, **request)
        except LitesessError as error:
            shown.append("".join(traceback.format_exception(error)))

    attempt(misbehave)
    attempt(write(a=1))
    values.append(site.cookie)
    attempt(look, by=site.new_browser(), cookie=both(site))
    attempt(write(a=object()))
    attempt(look, cookie=f"{COOKIE}={site.cookie}x")
    attempt(look, cookie=f"{COOKIE}={signed(new_id(), SECRET[::-1])}")
    for operation in ("create", "load", "touch"):
        site.store.failing[operation] = StoreError("broken")
        attempt(write(a=1))
    with pytest.raises(ConfigError) as error_info:
        Site(secret="x" + SECRET[:10])
    shown += [str(error_info.value), repr(site.middleware), repr(site.manager), repr(site.store)]
    assert len(caplog.records) >= 2
    everything = "\n".join([*shown, caplog.text])
    for secret in (*ids, *values, SECRET[:10]):
        assert secret not in everything


# Several processes.


def test_a_memory_store_in_several_processes_is_warned_of_once(caplog):
    site = Site()
    for _ in range(3):
        site.visit(look, **{"wsgi.multiprocess": True})
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "use WALStore" in caplog.text
