"""The promises of the README, at the level of requests, over every store."""

from __future__ import annotations

import logging
import threading
import traceback

import pytest

from litesess import (
    EncodeError,
    HeadersSent,
    MemoryStore,
    SessionGone,
    SessionMiddleware,
    StoreFailed,
    WALStore,
)
from litesess.testing import FakeClock
from tests.tools.apps import (
    KEY,
    SECRET,
    Boom,
    Site,
    environ_of,
    hello,
    look,
    serve,
    write,
)


@pytest.fixture
def site(each_store, clock):
    site = Site(each_store, clock=clock)
    yield site
    site.middleware.close()


def other_tab(site: Site):
    """A browser with the same cookie."""
    browser = site.new_browser()
    browser.cookies = dict(site.browser.cookies)
    return browser


# Logged out stays logged out.


@pytest.mark.parametrize(
    "late",
    [look, write(user="eve"), lambda s: s.update(s), lambda s: s.touch(), lambda s: s.rotate()],
    ids=["reader", "writer", "same value", "touch", "rotation"],
)
def test_a_request_under_way_never_undoes_a_logout(site, late):
    """CVE-2025-46336 (rack-session), express-session: the slow request stored it again."""
    site.visit(write(user="ada"))
    tab = other_tab(site)

    def slow(session):
        assert session["user"] == "ada"
        site.visit(lambda other: other.destroy(), by=tab)
        return late(session)

    response = site.visit(slow)
    assert (response.body, response.said) == (b"hello", "")
    assert site.data == []
    assert site.visit(look, cookie=site.header).value == {}


def test_a_late_write_is_counted(site):
    site.visit(write(user="ada"))
    tab = other_tab(site)

    def slow(session):
        assert session["user"]
        site.visit(lambda other: other.destroy(), by=tab)
        session["user"] = "eve"

    site.visit(slow)
    assert site.store.tally.discarded == 1


def test_a_late_request_does_not_delete_the_cookie_of_a_new_login(site):
    site.visit(write(user="ada"))
    old = other_tab(site)

    def slow(session):
        assert session["user"]
        site.visit(lambda other: other.destroy())
        site.visit(write(user="ada again"))
        session["late"] = True

    assert site.visit(slow, by=old).said == ""
    assert site.visit(look).value == {"user": "ada again"}


def test_a_logout_expires_the_cookie_and_its_replay_is_a_stranger(site):
    """CVE-2024-31999 (@fastify/secure-session): a copied cookie still worked."""
    site.visit(write(user="ada"))
    header = site.header
    assert site.visit(lambda session: session.destroy()).said == "expired"
    replay = site.visit(look, cookie=header)
    assert (replay.value, replay.said) == ({}, "")
    assert site.data == []


def test_a_logout_that_fails_does_not_look_like_one(site):
    site.visit(write(user="ada"))
    site.store.failing["delete"] = StoreFailed("the disk is gone")
    with pytest.raises(StoreFailed):
        site.visit(lambda session: session.destroy())
    site.store.failing.clear()
    assert site.visit(look).value == {"user": "ada"}


def test_after_a_logout_writing_says_that_the_session_is_gone(site):
    site.visit(write(user="ada"))

    def act(session):
        session.destroy()
        assert dict(session) == {}
        for work in (
            lambda: session.update(a=1),
            session.save,
            session.reload,
            session.rotate,
            session.clear,
            lambda: setattr(session, "owner", "7"),
        ):
            with pytest.raises(SessionGone):
                work()

    site.visit(act)
    assert site.data == []


def test_the_old_id_is_dead_after_a_rotation(site):
    """CVE-2022-25896 (Passport): the id from before the login stayed."""
    site.visit(write(user="ada"))
    old = site.header
    assert site.visit(lambda session: session.rotate()).said == "set"
    assert site.header != old
    assert site.visit(look, cookie=old).value == {}
    assert site.visit(look).value == {"user": "ada"}


def test_a_regenerated_session_is_empty_and_the_old_one_is_gone(site):
    site.visit(write(user="ada"))
    old = site.header
    response = site.visit(lambda session: (session.regenerate(), session.is_new, session.owner))
    assert response.value[1:] == (True, None)
    assert response.said == "set"
    assert site.data == [{}]
    assert site.visit(look, cookie=old).value == {}


@pytest.mark.parametrize("change", ["rotate", "regenerate"])
def test_an_exception_leaves_the_old_id_valid(site, change):
    site.visit(write(user="ada"))

    def act(session):
        getattr(session, change)()
        session["user"] = "eve"
        raise Boom

    with pytest.raises(Boom):
        site.visit(act)
    assert site.visit(look).value == {"user": "ada"}


def test_another_owner_gets_another_id_in_the_same_write(site):
    site.visit(write(cart=[1]))
    old = site.header
    site.store.calls.clear()
    site.visit(lambda session: setattr(session, "owner", 7))
    assert site.store.writes == {"rotate": 1}
    assert site.header != old
    assert site.visit(lambda session: (session.owner, dict(session))).value == ("7", {"cart": [1]})
    assert len(site.store.find("7")) == 1


# No lost updates.


def test_overlapping_requests_that_change_different_keys_both_win(site):
    site.visit(write(a=0, b=0))
    tab = other_tab(site)

    def slow(session):
        session["a"] += 1
        site.visit(write(b=5, c=6), by=tab)

    site.visit(slow)
    assert site.visit(look).value == {"a": 1, "b": 5, "c": 6}


def test_they_win_across_a_rotation_too(site):
    site.visit(write(a=0, b=0))
    tab = other_tab(site)

    def slow(session):
        session["a"] = 1
        session.rotate()
        site.visit(write(b=5), by=tab)

    site.visit(slow)
    assert site.visit(look).value == {"a": 1, "b": 5}


def test_they_win_if_the_other_one_rotates(site):
    site.visit(write(a=0, b=0))
    tab = other_tab(site)

    def slow(session):
        session["a"] = 1
        site.visit(lambda session: (session.rotate(), session.update(b=5)), by=tab)

    response = site.visit(slow)
    assert response.said == ""
    assert site.store.tally.discarded == 0
    assert site.visit(look, by=tab).value == {"a": 1, "b": 5}
    assert site.visit(look).value == {}  # the old id is dead


def test_a_logout_that_overlaps_a_rotation_sticks(site):
    site.visit(write(user="ada"))
    tab = other_tab(site)

    def log_out(session):
        assert session["user"] == "ada"
        site.visit(lambda session: session.rotate(), by=tab)
        session.destroy()

    site.visit(log_out)
    assert site.data == []
    assert site.visit(look, by=tab).value == {}


def log_out_by_regenerate(session):
    session.regenerate()


@pytest.mark.parametrize(
    "log_out", [lambda session: session.destroy(), log_out_by_regenerate], ids=["destroy", "anew"]
)
def test_a_logout_sticks_though_the_session_was_saved_behind_a_rotation(site, log_out):
    site.visit(write(user="ada"))
    tab = other_tab(site)

    def slow(session):
        session["late"] = 1
        site.visit(lambda session: session.rotate(), by=tab)
        session.save()
        log_out(session)

    site.visit(slow)
    assert all("user" not in data for data in site.data)
    assert site.visit(look, by=tab).value == {}


def test_what_began_before_a_login_has_no_part_in_it(site):
    site.visit(write(cart="mine"))
    tab = other_tab(site)

    def log_in(session):
        session.owner = "7"
        session.new_csrf_token()

    def slow(session):
        session.new_csrf_token()
        session["email"] = "eve@example.org"
        site.visit(log_in, by=tab)
        site.token = site.visit(lambda session: session.get_csrf_token(), by=tab).value

    assert site.visit(slow).said == ""
    assert site.store.tally.discarded == 1
    found = site.visit(look, by=tab).value
    assert "email" not in found
    assert found["_csrft_"] == site.token


def test_a_late_write_does_not_shorten_or_lengthen_what_others_have_set(site):
    site.visit(write(user="ada"))
    tab = other_tab(site)

    def remember(session):
        session.cookie.max_age = 30 * 86_400

    def slow(session):
        session["late"] = 1
        site.visit(remember, by=tab)

    site.visit(slow)
    site.clock.advance(20 * 86_400)
    assert site.visit(look).value == {"user": "ada", "late": 1}


def test_who_keeps_his_own_session_keeps_it_though_it_is_about_to_be_rotated(site):
    site.visit(lambda session: setattr(session, "owner", "7"))
    other = site.new_browser()
    site.visit(lambda session: setattr(session, "owner", "7"), by=other)

    def change_password(session):
        session.rotate()
        session["changed"] = True
        return site.store.delete_owner("7", keep=[session])

    assert site.visit(change_password).value == 1
    assert site.visit(look).value == {"changed": True}
    assert site.visit(lambda session: session.owner, by=other).value is None


def test_a_dead_id_is_not_announced_though_every_response_announces(clock):
    site = Site(clock=clock, rolling=True)
    site.visit(write(user="ada"))
    tab = other_tab(site)

    def slow(session):
        look(session)
        site.visit(lambda session: session.rotate(), by=tab)

    assert site.visit(slow).said == ""
    assert site.visit(look, by=tab).value == {"user": "ada"}


def test_when_a_session_was_seen_last_is_never_too_late_where_its_end_does_not_move(clock):
    began_at = clock()
    site = Site(clock=clock, absolute_timeout=90_000)
    site.visit(write(a=1))
    clock.advance(50_000)
    site.visit(look)
    clock.advance(10)
    seen_at = site.visit(lambda session: session.last_seen_at).value
    assert began_at <= seen_at <= clock() - 10
    fixed = Site(clock=clock)

    def end_then(session):
        session["a"] = 1
        session.cookie.expires = clock() + 1000

    fixed.visit(end_then)
    written_at = clock()
    clock.advance(100)
    assert fixed.visit(lambda session: session.last_seen_at).value == written_at


def test_a_request_with_the_old_id_is_shown_nothing_that_came_after_the_rotation(site):
    site.visit(write(cart="mine"))
    tab = other_tab(site)

    def slow(session):
        session["cart"] = "more"
        site.visit(lambda session: (session.rotate(), session.update(card="4711")), by=tab)
        session.save()
        return dict(session)

    assert site.visit(slow).value == {}
    assert site.visit(look, by=tab).value == {"cart": "more", "card": "4711"}


def test_a_rotation_that_overlaps_another_gets_nothing(site):
    """Whoever planted an id, and logs in with it while his victim does, must not get hers."""
    site.visit(write(cart="planted"))
    tab = other_tab(site)

    def slow(session):
        session["user"] = "eve"
        session.rotate()
        site.visit(lambda session: (session.rotate(), session.update(user="ada")), by=tab)

    response = site.visit(slow)
    assert response.said == ""
    assert site.visit(look, by=tab).value == {"cart": "planted", "user": "ada"}
    assert site.visit(look).value == {}
    assert len(site.data) == 1


def test_a_reader_undoes_nothing(site):
    site.visit(write(a=0))
    tab = other_tab(site)

    def slow(session):
        assert session["a"] == 0
        site.visit(write(a=9), by=tab)

    site.store.calls.clear()
    site.visit(slow)
    assert site.store.writes == {"update": 1}
    assert site.visit(look).value == {"a": 9}


def test_threads_that_write_different_keys_all_win(site):
    site.visit(write(start=1))
    header = site.header

    def work(number: int) -> None:
        for step in range(5):
            site.visit(write(**{f"k{number}_{step}": step}), by=site.new_browser(), cookie=header)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.data[0]) == 31


# It just persists.


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s["list"].append(3), [1, [2], 3]),
        (lambda s: s["list"][1].append(3), [1, [2, 3]]),
        (lambda s: s["list"].reverse(), [[2], 1]),
        (lambda s: s["list"].pop(), [1]),
        (lambda s: s.setdefault("list", []).extend([5, 6]), [1, [2], 5, 6]),
    ],
)
def test_a_change_in_place_is_noticed_at_any_depth(site, change, expected):
    site.visit(write(list=[1, [2]]))
    assert site.writes_of(change) == {"update": 1}
    assert site.visit(look).value == {"list": expected}


@pytest.mark.parametrize(
    "same",
    [
        look,
        write(user="ada", cart=[1, {"a": 1, "b": 2}]),
        lambda s: s["cart"].append(s["cart"].pop()),
        lambda s: s["cart"].__setitem__(1, {"a": 1, "b": 2}),
        lambda s: s.pop("user") and s.update(user="ada"),
    ],
)
def test_an_equal_value_is_no_change(site, same):
    site.visit(write(user="ada", cart=[1, {"a": 1, "b": 2}]))
    assert site.writes_of(same) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["recent"].update(a=s["recent"].pop("a")),
        lambda s: s.update(recent={"b": 1, "a": 1}),
    ],
)
def test_another_order_of_a_dict_is_a_change(site, change):
    """Harvard django-auth-lti: of the pages that were viewed last, the wrong one was forgotten."""
    site.visit(write(recent={"a": 1, "b": 1}))
    site.visit(change)
    assert list(site.visit(look).value["recent"]) == ["b", "a"]


@pytest.mark.parametrize("other", [1, 1.0, "1", True, [1], None])
def test_an_equal_value_of_another_type_is_a_change(site, other):
    site.visit(write(x=1))
    assert bool(site.writes_of(write(x=other))) is (type(other) is not int)


def test_a_value_that_cant_be_stored_is_named_and_nothing_is_half_written(site):
    site.visit(write(user="ada"))
    with pytest.raises(EncodeError) as caught:
        site.visit(write(user="eve", cart=[{"price": object()}]))
    assert caught.value.key_path == "cart[0].price"
    assert site.visit(look).value == {"user": "ada"}
    site.visit(write(user="bob"))
    assert site.visit(look).value == {"user": "bob"}


def test_a_session_too_large_is_refused_and_its_largest_key_named(site):
    site.visit(write(user="ada"))
    with pytest.raises(EncodeError, match="limit 65536") as caught:
        site.visit(write(small="x", large="x" * 66_000))
    assert caught.value.key_path == "large"
    assert site.visit(look).value == {"user": "ada"}


# Acknowledged is durable.


def test_the_store_has_committed_before_the_server_hears_of_the_response(site):
    order = []
    site.store.once["create"] = lambda: order.append("store")

    def start_response(*_arguments):
        order.append("server")

    environ = environ_of() | {"test.action": write(a=1), "test.shape": None, "test.result": []}
    site.middleware(environ, start_response)
    assert order == ["store", "server"]


@pytest.mark.parametrize("operation", ["create", "update", "rotate", "replace"])
def test_a_commit_that_fails_raises_and_nothing_is_sent(site, operation):
    if operation != "create":
        site.visit(write(a=1))
    site.store.failing[operation] = StoreFailed("the disk is gone")
    action = {
        "create": write(a=1),
        "update": write(a=2),
        "rotate": lambda s: s.rotate(),
        "replace": lambda s: s.regenerate(),
    }[operation]
    sent = []
    environ = environ_of() | {"test.action": action, "test.shape": None, "test.result": []}
    if operation != "create":
        environ["HTTP_COOKIE"] = site.header
    with pytest.raises(StoreFailed):
        site.middleware(environ, lambda *arguments: sent.append(arguments))
    assert sent == []


def test_a_touch_that_fails_is_logged_and_the_page_is_served(site, caplog):
    site.visit(write(a=1))
    site.clock.advance(3600)
    site.store.failing["touch"] = StoreFailed("the disk is gone")
    assert site.visit(look).body == b"hello"
    assert "not prolonged" in caplog.text


# Nothing for nothing.


def test_a_request_that_does_not_look_at_its_session_costs_nothing(site):
    site.visit(write(a=1))
    site.store.calls.clear()
    site.clock.advance(3600)
    response = site.visit(None)
    assert site.store.calls == {}
    assert (response.said, response.all("Vary")) == ("", [])


def test_a_visitor_whose_session_is_not_written_leaves_nothing(site):
    response = site.visit(look)
    assert (response.said, site.data) == ("", [])
    assert response.all("Vary") == ["Cookie"]


def test_invented_and_forged_cookies_leave_the_store_empty(site):
    """CVE-2015-5143 (Django): each invented id left a record."""
    known = site.manager.signer
    for number in range(10_000):
        value = known.sign(f"invented{number}") if number % 2 else f"forged{number:090}"
        environ = environ_of(HTTP_COOKIE=f"litesess.sid={value}") | {
            "test.action": look,
            "test.shape": None,
            "test.result": [],
        }
        site.middleware(environ, lambda *_arguments: None)
    assert len(site.store) == 0
    assert site.store.writes == {}


def test_touches_are_throttled(site):
    site.visit(write(a=1))
    assert site.writes_of(look) == {}
    site.clock.advance(59)
    assert site.writes_of(look) == {}
    site.clock.advance(2)
    assert site.writes_of(look) == {"touch": 1}
    site.clock.advance(86_399)
    assert site.visit(look).value == {"a": 1}


def test_a_session_expires_exactly_at_its_end(site):
    """CVE-2018-1000814 (aiohttp-session), CVE-2022-2888 (OctoPrint), CVE-2022-3362 (rdiffweb)."""
    site.visit(write(a=1))
    site.clock.advance(86_400)
    response = site.visit(look)
    assert (response.value, response.said) == ({}, "")
    assert site.data == []


def test_an_absolute_timeout_is_never_extended(tmp_path):
    clock = FakeClock()
    site = Site(clock=clock, absolute_timeout=100)
    site.visit(write(a=1))
    for _ in range(9):
        clock.advance(11)
        assert site.visit(write(a=clock())).value is None
    assert site.visit(look).value == {"a": clock()}
    clock.advance(1)
    assert site.visit(look).value == {}


# A stolen disk, a log file and a traceback yield no cookie.


def test_an_absolute_timeout_begins_anew_with_another_owner(clock):
    site = Site(clock=clock, absolute_timeout=100)
    site.visit(lambda session: setattr(session, "owner", "7"))
    clock.advance(90)
    site.visit(lambda session: setattr(session, "owner", "8"))
    clock.advance(90)
    assert site.visit(lambda session: session.owner).value == "8"
    clock.advance(10)
    assert site.visit(lambda session: session.owner).value is None


def test_when_a_session_was_seen_last_is_known_to_within_a_touch(site):
    site.visit(write(a=1))
    began_at = site.clock()
    site.clock.advance(30)
    assert site.visit(lambda session: session.last_seen_at).value == began_at
    site.clock.advance(100)
    site.visit(look)
    seen_at = site.clock()
    site.clock.advance(500)
    assert site.visit(lambda session: session.last_seen_at).value == seen_at
    assert site.visit(lambda session: session.last_seen_at, by=site.new_browser()).value is None


def test_no_id_cookie_or_secret_is_in_any_log_repr_or_error(site, caplog):
    caplog.set_level(logging.DEBUG)
    texts = []

    def act(session):
        texts.extend([repr(session), repr(site.middleware), repr(site.store), repr(session.cookie)])
        return session.id

    site.visit(write(password="hunter2hunter2"))
    session_id = site.visit(act).value
    tab = other_tab(site)
    texts += [repr(record) for _, record in site.store.records()]
    texts.append(repr(site.manager.options))
    for failing in "load", "update":
        site.store.failing[failing] = StoreFailed("the disk is gone")
        try:
            site.visit(write(a=1))
        except StoreFailed:
            texts.append(traceback.format_exc())
        site.store.failing.clear()

    def slow(session):
        assert session["password"]
        site.visit(lambda other: other.destroy(), by=tab)
        session["late"] = 1

    cookie = site.cookie
    site.visit(slow)
    everything = "\n".join([caplog.text, *texts])
    for secret in session_id, cookie, SECRET, "hunter2hunter2":
        assert secret not in everything


# What comes after the headers.


def streaming(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    environ["test.late"](environ[KEY])
    yield b"second"


def test_what_is_changed_while_the_body_streams_is_committed_at_its_end(site):
    site.visit(write(a=1))
    response = site.visit(shape=streaming, **{"test.late": write(a=2)})
    assert (response.body, response.said) == (b"firstsecond", "")
    assert site.visit(look).value == {"a": 2}


@pytest.mark.parametrize("late", [write(a=1), lambda s: s.regenerate(), lambda s: s.save()])
def test_what_cant_be_announced_any_more_is_refused(site, late):
    with pytest.raises(HeadersSent):
        site.visit(shape=streaming, **{"test.late": late})
    assert site.data == []


def test_a_rotation_behind_the_headers_is_refused_and_the_session_lives(site):
    site.visit(write(a=1))
    with pytest.raises(HeadersSent):
        site.visit(shape=streaming, **{"test.late": lambda s: s.rotate()})
    assert site.visit(look).value == {"a": 1}


def test_two_middlewares_side_by_side_keep_two_sessions(tmp_path):
    def app(environ, start_response):
        environ["inner.session"]["x"] = 1
        environ[KEY]["y"] = 2
        return hello(environ, start_response)

    inner_store, outer_store = MemoryStore(), WALStore(tmp_path / "data")
    inner = SessionMiddleware(
        app, secret=SECRET, store=inner_store, cookie_name="inner", environ_key="inner.session"
    )
    outer = SessionMiddleware(inner, secret=SECRET, store=outer_store)
    response = serve(outer, environ_of())
    names = [value.partition("=")[0] for value in response.all("Set-Cookie")]
    assert sorted(names) == ["inner", "litesess.sid"]
    assert len(inner_store) == len(outer_store) == 1
    outer.close()


def test_the_same_middleware_twice_is_one(site):
    twice = SessionMiddleware(site.middleware, secret=SECRET, store=site.store)
    environ = environ_of() | {"test.action": write(a=1), "test.shape": None, "test.result": []}
    response = serve(twice, environ)
    assert len(response.set_cookies) == 1
    assert site.store.writes == {"create": 1}
