"""Requests of a Django project: what overlaps, who is logged in, what the client is told."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import threading
from uuid import UUID

import pytest
from django.contrib.auth import user_logged_in
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.core.management import call_command
from django.test import Client, override_settings

from litesess import EncodeError, ids
from litesess.integrations.django import SessionStore
from litesess.integrations.django import store as named_store
from tests.integrations.django.conftest import said, tab_of, values
from tests.tools.django_app import DJANGOS_MIDDLEWARE, MEANWHILE, OWN_MIDDLEWARE, middleware


def user(client):
    return client.get("/look").json()["user"]


def test_a_visitor_who_writes_nothing_leaves_nothing(browser, store):
    response = browser.get("/look")
    assert said(response) is None
    assert response["Vary"] == "Cookie"
    assert len(store) == 0


def test_values_come_back(browser, store):
    browser.get("/set/a/1")
    assert values(browser.get("/look")) == {"a": "1"}
    assert len(store) == 1


def test_a_page_that_does_not_look_costs_nothing_and_does_not_vary(browser):
    browser.get("/set/a/1")
    response = browser.get("/bare")
    assert "Vary" not in response
    assert said(response) is None


def test_a_change_in_place_is_noticed(browser, either_middleware):
    browser.get("/append/list/a")
    browser.get("/append/list/b")
    assert values(browser.get("/look")) == {"list": ["a", "b"]}


def test_overlapping_requests_that_change_different_keys_both_win(browser, either_middleware):
    browser.get("/set/a/1")
    tab = tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get("/set/b/2")
    tab.get("/held/m/set/c/3")
    assert values(browser.get("/look")) == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("is_saved_always", [False, True])
def test_a_logout_sticks_and_the_slow_page_is_served(
    browser, store, either_middleware, is_saved_always
):
    browser.get("/login/ada")
    tab, copy = tab_of(browser), tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get("/logout")
    with override_settings(SESSION_SAVE_EVERY_REQUEST=is_saved_always):
        response = tab.get("/held/m/set/c/3")
    assert response.status_code == 200
    assert response["Vary"] == "Cookie"
    assert len(store) == 0
    assert user(copy) is None
    if either_middleware == OWN_MIDDLEWARE or not is_saved_always:
        assert said(response) is None


@pytest.mark.parametrize(("other", "status"), [("/logout", 200), ("/cycle", 400)])
def test_what_ends_it_after_djangos_middleware_has_looked(
    browser, store, monkeypatch, other, status
):
    """Between the last look at the session and its storing nothing but the store can tell."""
    browser.get("/login/ada")
    tab = tab_of(browser)
    update, others = store.update, iter([lambda: browser.get(other)])

    def late_update(*arguments, **options):
        next(others, lambda: None)()
        return update(*arguments, **options)

    monkeypatch.setattr(store, "update", late_update)
    with override_settings(MIDDLEWARE=middleware(DJANGOS_MIDDLEWARE)):
        assert tab.get("/set/a/1").status_code == status
    assert user(tab) is None
    assert user(browser) == (None if other == "/logout" else "ada")
    assert len(store) == (other != "/logout")


def test_a_late_request_leaves_the_cookie_of_a_new_login_alone(browser, store, either_middleware):
    browser.get("/set/a/1")
    tab = tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get("/login/ada")
    response = tab.get("/held/m/set/c/3")
    assert response.status_code == 200
    assert said(response) is None
    assert values(browser.get("/look")) == {"a": "1"}  # nothing of the stranger's gets into it
    late = tab.get("/set/d/4")  # which comes with the old cookie, after the login
    assert late.status_code == 200
    assert said(late) is None
    assert user(browser) == "ada"
    assert len(store) == 1


@override_settings(SESSION_SAVE_EVERY_REQUEST=True)
def test_neither_does_one_where_every_request_is_saved(browser):
    browser.get("/set/a/1")
    tab = tab_of(browser)
    browser.get("/login/ada")
    for page in "/look", "/set/d/4":
        response = tab.get(page)
        assert response.status_code == 200
        assert said(response) is None


@override_settings(SESSION_SAVE_EVERY_REQUEST=True)
@pytest.mark.parametrize("other", ["/login/ada", "/logout"])
def test_nor_does_one_that_had_only_looked_before(browser, other):
    browser.get("/set/a/1")
    tab = tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get(other)
    response = tab.get("/held/m/look")
    assert response.status_code == 200
    assert said(response) is None


def test_a_signal_of_a_login_sees_the_id_that_the_client_gets(browser):
    seen = []

    def note(request, **_signal):
        seen.append(request.session.session_key)

    user_logged_in.connect(note)
    try:
        for page in "/login/ada", "/logout", "/set/a/1", "/login/ada":
            browser.get(page)
            if "login" in page:
                assert seen.pop() == browser.cookies["sessionid"].value
    finally:
        user_logged_in.disconnect(note)


def test_a_change_of_id_takes_along_what_a_late_request_writes(browser, either_middleware):
    browser.get("/set/a/1")
    tab = tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get("/cycle")
    response = tab.get("/held/m/set/c/3")
    assert response.status_code == 200
    assert said(response) is None
    assert values(browser.get("/look")) == {"a": "1", "c": "3"}
    assert values(tab.get("/look")) == {}


def test_a_login_changes_the_id_and_names_the_owner(browser, store):
    first = browser.get("/set/a/1").cookies["sessionid"].value
    response = browser.get("/login/ada")
    second = response.cookies["sessionid"].value
    assert second != first
    assert len(second) == 32
    ((key, record),) = store.find(1)
    assert key == ids.key_of(second)
    assert record.owner == "1"
    assert values(browser.get("/look")) == {"a": "1"}
    assert user(browser) == "ada"


def test_a_login_of_another_user_begins_empty(browser, store):
    browser.get("/login/ada")
    browser.get("/set/a/1")
    browser.get("/login/alan")
    assert values(browser.get("/look")) == {}
    assert store.find(1) == []
    assert len(store.find(2)) == 1


def test_a_login_that_overlaps_a_logout_holds(browser, store):
    browser.get("/set/a/1")
    tab = tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get("/login/alan")
    response = tab.get("/held/m/login/ada")
    assert response.json()["user"] == "ada"
    assert user(tab) == "ada"
    assert user(browser) == "alan"
    assert len(store) == 2


def test_a_failed_login_leaves_the_session_as_it_was(browser, store):
    browser.get("/set/a/1")
    browser.raise_request_exception = False
    assert browser.get("/login/nobody").status_code == 500
    assert values(browser.get("/look")) == {"a": "1"}


def test_another_password_keeps_this_session_and_ends_the_others(browser):
    browser.get("/login/alan")
    other = Client()
    other.get("/login/alan")
    before = browser.cookies["sessionid"].value
    browser.get("/password/new")
    try:
        assert browser.cookies["sessionid"].value != before
        assert user(browser) == "alan"
        assert user(other) is None
    finally:
        browser.get("/password/alan")


def test_a_user_logs_out_everywhere_else(browser, store):
    others = [Client(), Client()]
    for client in browser, *others:
        client.get("/login/ada")
    stranger = Client()
    stranger.get("/login/alan")
    kept = SessionStore(browser.cookies["sessionid"].value)
    assert len(named_store.find(1)) == 3
    assert named_store.delete_owner(1, keep=[kept]) == 2
    assert user(browser) == "ada"
    assert [user(client) for client in others] == [None, None]
    assert user(stranger) == "alan"
    assert {record.client["user_agent"] for _, record in store.find(1)} == {""}


def test_overlapping_messages_both_arrive_in_their_order(browser, either_middleware):
    browser.get("/say/first")
    tab = tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get("/say/second")
    tab.get("/held/m/say/third")
    assert sorted(browser.get("/read").json()["said"]) == ["first", "second", "third"]
    assert browser.get("/read").json()["said"] == []


def test_a_message_that_comes_while_others_are_read_is_not_lost(browser):
    browser.get("/say/first")
    tab = tab_of(browser)
    MEANWHILE["m"] = lambda: browser.get("/say/second")
    assert tab.get("/held/m/read").json()["said"] == ["first"]
    assert browser.get("/read").json()["said"] == ["second"]


def test_a_page_that_fails_keeps_nothing(browser, either_middleware):
    browser.get("/set/a/1")
    browser.get("/fail/503")
    assert values(browser.get("/look")) == {"a": "1"}
    browser.get("/fail/404")
    assert values(browser.get("/look")) == {"a": "1", "failed": 404}


def test_an_unknown_cookie_begins_no_session_and_is_not_adopted(browser, store):
    browser.cookies["sessionid"] = "known0to0a0stranger0only00000000"
    assert said(browser.get("/look")) is None
    value = said(browser.get("/set/a/1"))["value"]
    assert value != "known0to0a0stranger0only00000000"
    assert len(store) == 1


@pytest.mark.parametrize(
    "value", ["", "short", "x" * 129, "ä" * 20, "a b c d e f g h", "../../etc"]
)
def test_a_cookie_that_is_no_id_is_none(browser, value):
    browser.cookies["sessionid"] = value
    assert values(browser.get("/look")) == {}


def test_the_cookie_lives_as_django_says(browser, clock, store):
    with override_settings(SESSION_COOKIE_AGE=3600):
        assert said(browser.get("/set/a/1"))["max-age"] == 3600
        ((_, record),) = store.records()
        assert record.expires_at == clock() + 3600
        clock.advance(3601)
        assert values(browser.get("/look")) == {}


def test_a_shorter_age_holds_for_the_sessions_there_are(browser, clock):
    browser.get("/set/a/1")
    clock.advance(600)
    with override_settings(SESSION_COOKIE_AGE=300):
        assert values(browser.get("/look")) == {}


def test_a_session_lives_as_long_as_it_says_itself(browser, clock, store):
    assert said(browser.get("/expire/60"))["max-age"] == 60
    clock.advance(59)
    assert len(store) == 1
    clock.advance(2)
    assert len(store) == 0
    assert said(browser.get("/expire/0"))["max-age"] == ""  # until the browser is closed
    assert said(browser.get("/expire/3000000"))["max-age"] == 3_000_000
    clock.advance(2_999_999)
    assert browser.get("/look").json()["id"] is not None  # longer than SESSION_COOKIE_AGE


def test_a_request_that_is_saved_always_prolongs_the_life_by_a_touch(browser, clock, store):
    browser.get("/set/a/1")
    ((_, before),) = store.records()
    clock.advance(1000)
    assert said(browser.get("/look")) is None
    ((_, after),) = store.records()
    assert after.expires_at == before.expires_at
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        assert said(browser.get("/look"))["max-age"] == 1_209_600
    ((_, after),) = store.records()
    assert after.expires_at == before.expires_at + 1000
    assert after.version == before.version


def test_expired_sessions_are_collected_by_clearsessions(browser, clock, store):
    browser.get("/set/a/1")
    Client().get("/expire/10")
    clock.advance(11)
    ended = []
    store.listeners.append(lambda event: ended.append(event.name))
    call_command("clearsessions")
    assert ended == ["expired"]
    assert len(store) == 1


def test_an_anonymous_life_can_be_shorter(browser, clock, store):
    store.anonymous_ttl = 60
    assert said(browser.get("/set/a/1"))["max-age"] == 60
    assert said(browser.get("/login/ada"))["max-age"] == 1_209_600
    clock.advance(61)
    assert user(browser) == "ada"


def test_a_user_may_have_so_many_sessions(in_files):
    with override_settings(LITESESS_MAX_PER_OWNER=2):
        clients = [Client() for _ in range(3)]
        for client in clients:
            client.get("/login/ada")
        assert [user(client) for client in clients] == [None, "ada", "ada"]


def test_no_session_lives_longer_than_its_absolute_timeout(browser, clock):
    with override_settings(LITESESS_ABSOLUTE_TIMEOUT=100, SESSION_SAVE_EVERY_REQUEST=True):
        browser.get("/set/a/1")
        clock.advance(99)
        assert values(browser.get("/look")) == {"a": "1"}
        clock.advance(2)
        assert values(browser.get("/look")) == {}


def test_where_there_is_no_room_the_page_is_served_without_a_session(in_files):
    with override_settings(LITESESS_MAX_SESSIONS=1):
        kept = Client()
        kept.get("/login/ada")
        response = Client().get("/set/a/1")
        assert response.status_code == 200
        assert said(response) is None
        assert user(kept) == "ada"


def test_an_encrypted_store_shows_nothing(in_files):
    with override_settings(LITESESS_ENCRYPTION_KEY="correct horse battery staple"):
        browser = Client()
        browser.get("/set/a/secret-of-ada")
        assert values(browser.get("/look")) == {"a": "secret-of-ada"}
    assert b"secret-of-ada" not in b"".join(each.read_bytes() for each in in_files.iterdir())


class TestAsync:
    """The methods that begin with an a, which run in threads where they wait for the disk."""

    def test_values_are_counted(self, browser):
        assert [browser.get("/async/count").json()["count"] for _ in range(3)] == [1, 2, 3]

    def test_the_id_is_changed(self, browser):
        browser.get("/async/count")
        before = browser.cookies["sessionid"].value
        after = browser.get("/async/cycle").json()["id"]
        assert after == browser.cookies["sessionid"].value != before
        assert browser.get("/async/count").json()["count"] == 2

    def test_it_is_flushed(self, browser, store):
        browser.get("/async/count")
        response = browser.get("/async/flush")
        assert response.json()["id"] is None
        assert said(response)["max-age"] == 0
        assert len(store) == 0

    def test_the_loop_goes_on_while_the_store_is_asked(self, store, browser, monkeypatch):
        """The store answers only when the loop has seen that it was asked."""
        browser.get("/set/a/1")
        is_asked, has_gone_on = threading.Event(), threading.Event()
        asked = []

        def slow(operation):
            def ask(*arguments, **options):
                is_asked.set()
                assert has_gone_on.wait(10)
                has_gone_on.clear()
                asked.append(operation.__name__)
                return operation(*arguments, **options)

            return ask

        for name in "load", "update", "rotate", "delete":
            monkeypatch.setattr(store, name, slow(getattr(store, name)))

        async def go_on(work):
            task = asyncio.ensure_future(work)
            while not task.done():
                if is_asked.is_set():
                    is_asked.clear()
                    has_gone_on.set()
                await asyncio.sleep(0.001)
            return task.result()

        async def use():
            session = SessionStore(browser.cookies["sessionid"].value)
            assert await go_on(session.aget("a")) == "1"
            await session.aset("b", 2)
            await go_on(session.asave())
            session = SessionStore(session.session_key)
            await go_on(session.acycle_key())
            await go_on(session.asave())
            await go_on(session.aflush())

        asyncio.run(use())
        assert asked == ["load", "update", "load", "rotate", "delete"]
        assert len(store) == 0


class TestStore:
    """``SessionStore`` without a request."""

    def test_a_deleted_session_is_not_saved_again(self, store):
        session = SessionStore()
        session["a"] = 1
        session.save()
        other = SessionStore(session.session_key)
        other["b"] = 2
        session.delete()
        with pytest.raises(UpdateError):
            other.save()
        assert len(store) == 0

    def test_a_new_one_is_stored_under_the_id_that_is_asked_for_or_not_at_all(self):
        session = SessionStore("chosen-by-the-app")
        session.save(must_create=True)
        assert session.session_key == "chosen-by-the-app"
        with pytest.raises(CreateError):
            SessionStore("chosen-by-the-app").save(must_create=True)

    def test_values_keep_their_types(self):
        session = SessionStore()
        held = {
            "day": datetime.date(2026, 2, 3),
            "price": decimal.Decimal("1.10"),
            "pair": (1, {2}),
            "bytes": b"\x00",
        }
        session.update(held)
        session.save()
        assert SessionStore(session.session_key).load() == held

    def test_a_value_that_cannot_be_stored_is_named(self):
        session = SessionStore()
        session["basket"] = {"shop": object()}
        assert session.modified
        with pytest.raises(EncodeError, match="basket"):
            session.save()

    def test_what_is_marked_as_unmodified_is_not_noticed_until_more_is_changed(self):
        session = SessionStore()
        session["a"] = 1
        session.modified = False
        assert not session.modified
        session["a"] = 2
        assert session.modified

    def test_a_user_whose_id_is_a_uuid_is_found(self, store):
        session = SessionStore()
        session["_auth_user_id"] = str(UUID(int=7))
        session.save()
        assert len(named_store.find(UUID(int=7))) == 1
        assert named_store.delete_owner(UUID(int=7), keep=[session]) == 0
        assert named_store.delete_owner(UUID(int=7)) == 1

    def test_a_test_cookie_works(self):
        session = SessionStore()
        session.set_test_cookie()
        session.save()
        again = SessionStore(session.session_key)
        assert again.test_cookie_worked()
        again.delete_test_cookie()
        again.save()
        assert not SessionStore(session.session_key).test_cookie_worked()

    def test_what_is_set_after_a_lost_session_is_not_an_error_and_not_stored(self, store):
        session = SessionStore()
        session.save()
        store.clear()
        session["a"] = 1
        with pytest.raises(UpdateError):
            session.save()
        session["_messages"] = "[]"
        assert not session.modified
        assert len(store) == 0

    def test_a_subclass_may_have_an_age_of_its_own(self, store, clock):
        class Long(SessionStore):
            def get_session_cookie_age(self):
                return 10_000_000

        session = Long()
        session["a"] = 1
        session.save()
        clock.advance(9_999_999)
        assert Long(session.session_key)["a"] == 1
        clock.advance(2)
        assert "a" not in Long(session.session_key)

    def test_atomic_counts_every_call(self):
        session = SessionStore()
        session["count"] = 0
        session.save()
        others = iter([SessionStore(session.session_key), None])

        def count(mine):
            other = next(others)
            if other is not None:
                other["count"] += 1
                other.save()
            mine["count"] += 1

        session.atomic(count)
        assert SessionStore(session.session_key)["count"] == 2

    def test_a_cleared_one_keeps_its_id_but_for_an_owner(self, store):
        session = SessionStore()
        session["a"] = 1
        session.save()
        before = session.session_key
        session.clear()
        session.save()
        assert session.session_key == before
        session["_auth_user_id"] = "7"
        session.save()
        assert len(store.find(7)) == 1
        session.clear()
        session.save()
        assert store.find(7) == []
        assert not SessionStore(before).exists(before)
        assert SessionStore(session.session_key).load() == {}
