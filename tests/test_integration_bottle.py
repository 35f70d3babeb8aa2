"""Bottle apps, wrapped, whose callbacks ask for the session by a parameter."""

from __future__ import annotations

import pytest
from apps import SECRET
from bottle import Bottle, HTTPResponse, PluginError, abort, redirect, request
from webtest import TestApp

from litesess import ConfigError, MemoryStore, SessionMiddleware
from litesess.integrations.bottle import SessionPlugin


@pytest.fixture
def app():
    app = Bottle(catchall=True)
    app.install(SessionPlugin())

    @app.get("/count/<name>")
    def count(name, session):
        session["visits"] = session.get("visits", 0) + 1
        return f"{name} {session['visits']}"

    @app.get("/plain")
    def plain():
        return "plain"

    @app.get("/raise")
    def raised(session):
        session["raised"] = True
        raise HTTPResponse("raised", status=202)

    @app.get("/redirect")
    def away(session):
        session.owner = "ada"
        redirect("/count/x")

    @app.get("/abort")
    def aborted(session):
        session["aborted"] = True
        abort(403, "no")

    @app.get("/stream")
    def stream(session):
        session["streamed"] = 1
        yield "one"
        session["streamed"] = 2
        yield "two"

    @app.error(404)
    def not_found(error):
        session = request.environ["litesess.session"]
        session["lost"] = session.get("lost", 0) + 1
        return f"lost {session['lost']}"

    return app


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def browser(app, store):
    return TestApp(SessionMiddleware(app, secret=SECRET, store=store))


def data(store):
    return [record.data for _, record in store.records()]


def test_a_callback_that_has_the_parameter_gets_the_session(browser):
    assert [browser.get("/count/ada").text for _ in range(2)] == ["ada 1", "ada 2"]


def test_one_that_has_not_is_called_as_ever(browser):
    response = browser.get("/plain")
    assert (response.text, "Set-Cookie" in response.headers) == ("plain", False)


def test_a_raised_response_a_redirect_and_an_abort_commit_the_session(browser, store):
    assert "Set-Cookie" in browser.get("/raise", status=202).headers
    before = browser.cookies["litesess.sid"]
    response = browser.get("/redirect", status=302)
    assert "Set-Cookie" in response.headers
    assert browser.cookies["litesess.sid"] != before
    browser.get("/abort", status=403)
    assert data(store) == [{"raised": True, "aborted": True}]
    assert len(store.find("ada")) == 1


def test_what_is_found_nowhere_has_a_session_too(browser):
    assert [browser.get("/nowhere", status=404).text for _ in range(2)] == ["lost 1", "lost 2"]


def test_a_generator_may_change_the_session_as_it_goes(browser, store):
    assert browser.get("/stream").text == "onetwo"
    assert data(store) == [{"streamed": 2}]


def test_another_name_of_the_parameter_is_as_good(store):
    app = Bottle()
    app.install(SessionPlugin("s"))
    app.get("/", callback=lambda s: f"{type(s).__name__}")
    browser = TestApp(SessionMiddleware(app, secret=SECRET, store=store))
    assert browser.get("/").text == "Session"


def test_two_plugins_of_one_keyword_are_refused(app):
    with pytest.raises(PluginError, match="keyword 'session'"):
        app.install(SessionPlugin())
    app.install(SessionPlugin("other"))


def test_an_app_that_is_not_wrapped_is_told_to_be(app):
    app.catchall = False
    with pytest.raises(ConfigError, match="wrap the app in SessionMiddleware"):
        TestApp(app).get("/count/x")
