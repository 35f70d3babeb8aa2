"""Requests that come with the id from before another request has changed it.

The browser had sent them before it knew of the new id, and takes the last answer's cookie.
"""

from __future__ import annotations

from typing import Any

import pytest

from litesess import SessionGone
from litesess.stores import LATE_FOR, MOVED_FOR
from tests.tools.apps import COOKIE, Boom, Site, WatchedMemoryStore, look, write

#: Each way to get another id.
CHANGES = {
    "rotate": lambda session: session.rotate(),
    "login": lambda session: session.login("ada"),
    "owner": lambda session: setattr(session, "owner", "ada"),
    "regenerate": lambda session: (session.regenerate(), session.update(fresh=1)),
    "clear": lambda session: (session.clear(), session.update(fresh=1)),
}

#: Each way to write.
WRITES = {
    "value": write(polls=1),
    "count": lambda session: session.update(polls=session.get("polls", 0) + 1),
    "flash": lambda session: session.flash("hello"),
    "token": lambda session: session.new_csrf_token(),
    "token to check": lambda session: session.get_csrf_token(),
    "save": lambda session: (session.update(polls=1), session.save()),
    "reload": lambda session: (session.update(polls=1), session.reload(), session.update(polls=2)),
    "touch": lambda session: session.touch(),
    "atomic": lambda session: session.atomic(write(polls=1)),
    "rotate": lambda session: (session.rotate(), session.update(polls=1)),
    "cookie": lambda session: setattr(session.cookie, "max_age", 50),
    "no owner": lambda session: setattr(session, "owner", None),
    "what can't be stored": lambda session: session.update(polls=object()),
}


@pytest.fixture
def site(each_store, clock):
    site = Site(each_store, clock=clock)
    site.visit(write(count=1))
    yield site
    site.middleware.close()


def state(site: Site) -> Any:
    return [(key, record.data, record.owner) for key, record in site.store.records()]


@pytest.mark.parametrize("writing", WRITES)
@pytest.mark.parametrize("change", CHANGES)
def test_what_a_late_poll_writes_is_dropped_and_its_answer_sets_no_cookie(site, change, writing):
    """wardencommunity/warden#14, CodeIgniter#4672: the poll's cookie logged the user out."""
    tab = site.new_tab()
    site.visit(CHANGES[change])
    before = state(site)
    seen = site.visit(look, by=tab)
    assert (seen.value, seen.set_cookies) == ({}, [])
    late = site.visit(WRITES[writing], by=tab)
    assert (late.status, late.body, late.set_cookies) == ("200 OK", b"hello", [])
    assert state(site) == before
    assert len(before) == 1


@pytest.mark.parametrize(
    "options", [{"save_uninitialized": True}, {"rolling": True}, {"resave": True}]
)
@pytest.mark.parametrize("action", [None, look, write(polls=1)])
def test_no_option_lets_a_late_request_begin_a_session(clock, options, action):
    site = Site(clock=clock, **options)
    site.visit(write(count=1))
    tab = site.new_tab()
    site.visit(CHANGES["login"])
    before = state(site)
    assert site.visit(action, by=tab).set_cookies == []
    assert state(site) == before


def test_a_late_request_reads_what_it_has_written(site):
    tab = site.new_tab()
    site.visit(CHANGES["rotate"])
    assert site.visit(lambda s: (s.update(a=1), s.is_new, look(s))[1:], by=tab).value == (
        True,
        {"a": 1},
    )


def test_what_is_dropped_is_counted_and_told(site):
    heard = []
    site.store.listeners.append(lambda event: heard.append(event.name))
    tab = site.new_tab()
    site.visit(CHANGES["rotate"])
    site.visit(look, by=tab)
    assert site.store.tally.discarded == 0
    site.visit(write(a=1), by=tab)
    assert site.store.tally.discarded == 1
    assert heard == ["rotated", "discarded"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_request_is_late_for_a_minute_and_then_its_cookie_is_an_unknown_one(site, change):
    tab = site.new_tab()
    site.visit(CHANGES[change])
    site.clock.advance(LATE_FOR - 1)
    assert site.visit(write(a=1), by=tab).said == ""
    site.clock.advance(1)
    assert site.visit(write(a=1), by=tab).said == "set"
    assert site.visit(look, by=tab).value == {"a": 1}


def test_a_session_that_began_without_another_is_unknown_by_a_deleted_id(site):
    tab = site.new_tab()
    site.visit(lambda session: session.destroy())
    assert site.visit(write(a=1), by=tab).said == "set"


def test_a_live_session_beside_a_former_id_is_the_requests(clock):
    site = Site(clock=clock)
    site.visit(write(count=1))
    former = site.header
    site.visit(CHANGES["login"])
    both = site.visit(write(b=2), cookie=f"{former}; {site.header}")
    assert both.set_cookies == []
    assert site.visit(look).value == {"count": 1, "b": 2}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("end", [lambda s: s.destroy(), lambda s: s.logout(), lambda s: s.clear()])
def test_a_late_logout_ends_the_session(site, change, end):
    tab = site.new_tab()
    site.visit(CHANGES[change])
    assert site.visit(end, by=tab).said == "expired"
    assert site.data == []


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "begin",
    [
        lambda s: (s.regenerate(), s.update(late=1)),
        lambda s: (s.clear(), s.update(late=1)),
        lambda s: (s.clear(), s.update(late=1), s.save()),
    ],
)
def test_a_late_fresh_start_takes_the_place_of_the_session(site, change, begin):
    tab = site.new_tab()
    site.visit(CHANGES[change])
    assert site.visit(begin, by=tab).said == "set"
    assert site.data == [{"late": 1}]
    assert site.visit(look, by=tab).value == {"late": 1}


def test_a_late_login_by_the_owner_key_is_one(each_store, clock):
    for owner_key in "user", lambda session: session.get("user"):
        site = Site(each_store, clock=clock, owner_key=owner_key)
        site.visit(write(count=1))
        tab = site.new_tab()
        site.visit(write(user="ada"))
        assert site.visit(write(user="bob"), by=tab).said == "set"
        assert site.visit(lambda s: (s.owner, look(s)), by=tab).value == ("bob", {"user": "bob"})
        assert site.visit(lambda s: s.owner).value == "ada"


def test_a_late_login_inside_of_atomic_is_one(each_store, clock):
    site = Site(each_store, clock=clock, owner_key="user")
    site.visit(write(count=1))
    tab = site.new_tab()
    site.visit(write(user="ada"))
    assert site.visit(lambda s: s.atomic(write(user="bob")), by=tab).said == "set"
    assert site.visit(lambda s: s.owner, by=tab).value == "bob"
    assert site.visit(lambda s: s.owner).value == "ada"


def test_a_late_login_that_fails_inside_of_atomic_is_none(clock):
    site = Site(clock=clock, owner_key="user")
    site.visit(write(count=1))
    tab = site.new_tab()
    site.visit(write(user="ada"))
    before = state(site)

    def fail(session):
        session["user"] = "bob"
        raise Boom

    def act(session):
        with pytest.raises(Boom):
            session.atomic(fail)
        return session.owner, look(session)

    late = site.visit(act, by=tab)
    assert (late.value, late.set_cookies) == ((None, {}), [])
    assert state(site) == before


def test_a_late_request_after_its_headers_have_left_is_dropped_too(site):
    tab = site.new_tab()
    site.visit(CHANGES["login"])
    before = state(site)

    def stream(environ, start_response):
        session = environ["litesess.session"]
        look(session)
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        session["b"] = 1
        yield b"c"

    late = site.visit(shape=stream, by=tab)
    assert (late.body, late.set_cookies) == (b"ac", [])
    assert state(site) == before


class Forgetful:
    """A store of somebody else's, which does not know when a session was moved."""

    def moved_at(self, key):
        return None


def test_a_store_that_does_not_know_has_a_new_session_begin(clock):
    store = type("Other", (Forgetful, WatchedMemoryStore), {})(clock=clock)
    site = Site(store, clock=clock)
    site.visit(write(count=1))
    tab = site.new_tab()
    site.visit(CHANGES["login"])
    assert site.visit(write(a=1), by=tab).said == "set"


def test_a_session_that_is_there_costs_no_further_look(clock):
    asked = []
    site = Site(clock=clock)
    site.store.moved_at = asked.append
    site.visit(write(count=1))
    site.visit(look)
    site.visit(look, by=site.new_browser())
    assert asked == []
    site.visit(lambda s: s.destroy(), by=site.new_tab())
    site.visit(look)
    assert len(asked) == 1


# Logouts that come late.


@pytest.mark.parametrize("seconds", [1, LATE_FOR + 10, MOVED_FOR - 1])
@pytest.mark.parametrize("change", CHANGES)
def test_a_slow_request_that_logs_out_ends_the_session_whatever_its_id_is(site, change, seconds):
    """CodeIgniter PR#1283: a request of 70 s ended with a logout that did nothing."""
    tab = site.new_tab()

    def log_out(session):
        look(session)
        site.visit(CHANGES[change], by=tab)
        site.clock.advance(seconds)
        session.destroy()

    site.visit(log_out)
    assert site.data == []
    assert site.visit(look, by=tab).value == {}


def test_a_logout_that_finds_no_session_is_logged_and_told(site, caplog):
    heard = []
    site.store.listeners.append(lambda event: heard.append((event.name, event.data)))
    tab = site.new_tab()

    def log_out(session):
        look(session)
        site.visit(CHANGES["rotate"], by=tab)
        site.clock.advance(MOVED_FOR)
        session.destroy()

    with caplog.at_level("INFO", "litesess"):
        site.visit(log_out)
    assert "a logout has found no session" in caplog.text
    assert heard[-1] == ("missed", {"count": 1})
    assert COOKIE not in site.browser.cookies


def test_a_logout_without_a_session_or_of_one_that_is_known_to_be_gone_is_not_told(site, caplog):
    heard = []
    site.store.listeners.append(lambda event: heard.append(event.name))
    stranger = site.new_browser()
    site.visit(lambda session: session.destroy(), by=stranger)

    def log_out(session):
        look(session)
        site.visit(lambda other: other.destroy(), by=site.new_tab())
        with pytest.raises(SessionGone):
            session.reload()
        session.destroy()

    site.visit(log_out)
    assert heard == ["destroyed"]
