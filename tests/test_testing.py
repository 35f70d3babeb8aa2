"""What litesess gives to the tests of an app."""

from __future__ import annotations

import sys

import pytest
from webtest import TestApp

from litesess import ConfigError, MemoryStore, SessionMiddleware
from litesess.testing import SessionTestApp, edit_session
from tests.tools.apps import SECRET


def app(environ, start_response):
    session = environ["litesess.session"]
    if environ["PATH_INFO"] == "/logout":
        session.destroy()
    elif environ["PATH_INFO"] == "/set":
        session["seen"] = session.get("seen", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(session.get("user")).encode()]


@pytest.fixture
def wrapped(litesess_store, litesess_clock):
    return SessionMiddleware(app, secret=SECRET, store=litesess_store, clock=litesess_clock)


@pytest.fixture
def testapp(wrapped):
    return TestApp(wrapped)


def test_a_session_is_made_before_the_first_request(testapp):
    with edit_session(testapp) as session:
        assert session.is_new
        session["user"] = "ada"
    assert testapp.get("/").text == "ada"


def test_a_session_is_read_and_changed_between_requests(testapp):
    testapp.get("/set")
    with edit_session(testapp) as session:
        assert dict(session) == {"seen": 1}
        session["user"] = "ada"
    assert testapp.get("/set").text == "ada"
    with edit_session(testapp) as session:
        assert session["seen"] == 2
        del session["user"]
    assert testapp.get("/").text == "None"


def test_a_look_changes_nothing(testapp, litesess_store):
    with edit_session(testapp) as session:
        assert not session
    assert len(litesess_store) == 0
    assert not testapp.cookies


def test_a_login_rotates_the_id_and_the_client_has_the_new_one(testapp, litesess_store):
    testapp.get("/set")
    before = testapp.cookies["litesess.sid"]
    with edit_session(testapp) as session:
        session.owner = "ada"
    assert testapp.cookies["litesess.sid"] != before
    assert len(litesess_store.find("ada")) == 1
    testapp.get("/set")
    with edit_session(testapp) as session:
        assert session["seen"] == 2


def test_a_destroyed_session_takes_the_cookie_along(testapp):
    testapp.get("/set")
    with edit_session(testapp) as session:
        session.destroy()
    assert "litesess.sid" not in testapp.cookies


def test_an_exception_in_the_block_stores_nothing(testapp, litesess_store):
    with pytest.raises(ZeroDivisionError), edit_session(testapp) as session:
        session["user"] = "ada"
        _ = 1 / 0
    assert len(litesess_store) == 0
    assert testapp.get("/").text == "None"


def test_the_clients_own_app_is_there_again_whatever_happens(testapp, wrapped):
    with pytest.raises(ZeroDivisionError), edit_session(testapp):
        _ = 1 / 0
    assert testapp.app is wrapped or testapp.app.application is wrapped


def test_the_middleware_is_found_inside_of_others(wrapped):
    class Outer:
        def __init__(self, app):
            self.app = app

        def __call__(self, environ, start_response):
            return self.app(environ, start_response)

    testapp = TestApp(Outer(Outer(wrapped)))
    with edit_session(testapp) as session:
        session["user"] = "ada"
    assert testapp.get("/").text == "ada"


def test_where_no_middleware_is_found_the_manager_is_asked_for(wrapped):
    testapp = TestApp(lambda environ, start_response: wrapped(environ, start_response))
    with pytest.raises(ConfigError, match="pass its manager"), edit_session(testapp):
        pass
    with edit_session(testapp, manager=wrapped.manager) as session:
        session["user"] = "ada"
    assert testapp.get("/").text == "ada"


def test_a_secure_cookie_over_http_is_explained_where_it_bites(litesess_store):
    wrapped = SessionMiddleware(app, secret=SECRET, store=litesess_store, cookie={"secure": True})
    with (
        pytest.raises(ConfigError, match="extra_environ"),
        edit_session(TestApp(wrapped)) as session,
    ):
        session["user"] = "ada"
    https = {"wsgi.url_scheme": "https", "HTTP_HOST": "localhost:443"}
    testapp = TestApp(wrapped, extra_environ=https)
    with edit_session(testapp) as session:
        session["user"] = "ada"
    assert testapp.get("/").text == "ada"


def test_a_response_has_the_session_as_its_request_left_it(wrapped):
    testapp = SessionTestApp(wrapped)
    assert dict(testapp.get("/set").session) == {"seen": 1}
    response = testapp.get("/set")
    assert response.session["seen"] == 2
    assert not response.session.is_new
    assert len(testapp.get("/logout").session) == 0


def test_without_webtest_it_is_asked_for(wrapped, monkeypatch):
    monkeypatch.setitem(sys.modules, "webtest", None)
    with pytest.raises(ConfigError, match="install webtest"):
        SessionTestApp(wrapped)


def test_the_fixtures_are_a_store_by_a_clock_that_is_set(litesess_store, litesess_clock):
    assert isinstance(litesess_store, MemoryStore)
    before = litesess_store.clock()
    litesess_clock.advance(5)
    assert litesess_store.clock() == before + 5
