"""Bottle apps, wrapped, whose callbacks ask for the session by a parameter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from bottle import Bottle, HTTPError, HTTPResponse, PluginError, abort, redirect, request
from webtest import TestApp

from litesess import ConfigError, MemoryStore, SessionMiddleware
from litesess.integrations.bottle import SessionPlugin
from tests.tools.apps import SECRET, Boom


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


def meanwhile(browser, path):
    """Make another request of the same visitor; Bottle's request belongs to its thread."""
    other = TestApp(browser.app)
    other.set_cookie("litesess.sid", browser.cookies["litesess.sid"])
    with ThreadPoolExecutor(1) as pool:
        pool.submit(other.get, path).result()


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


@pytest.fixture
def failing(app, browser):
    """An app whose callbacks fail, seen by somebody who has a session."""

    @app.get("/boom")
    def boom(session):
        session["half"] = "done"
        raise Boom

    @app.get("/unasked")
    def unasked():
        request.environ["litesess.session"]["half"] = "done"
        raise Boom

    @app.get("/broken")
    def broken(session):
        session["half"] = "done"
        if session:
            raise Boom
        yield "never"

    @app.get("/late")
    def late(session):
        session["begun"] = True
        yield "one"
        session["half"] = "done"
        raise Boom

    @app.get("/raised")
    def raised(session):
        session["begun"] = True
        raise HTTPError(500, "said so")
        yield "never"

    @app.error(500)
    def oops(error):
        request.environ["litesess.session"]["sorry"] = True
        return "sorry"

    browser.get("/count/ada")
    return app


@pytest.mark.parametrize("path", ["/boom", "/unasked", "/broken"])
def test_what_a_callback_did_before_it_failed_is_not_kept(failing, browser, store, path):
    response = browser.get(path, status=500, expect_errors=True)
    assert response.text == "sorry"
    assert "Set-Cookie" not in response.headers
    assert data(store) == [{"visits": 1}]
    browser.get("/count/ada")
    assert data(store) == [{"visits": 2}]


def test_nor_what_a_generator_did_after_its_headers_had_left(failing, browser, store):
    with pytest.raises(Boom):
        browser.get("/late")
    assert data(store) == [{"visits": 1, "begun": True}]


def test_an_error_that_is_a_response_commits_as_does_its_handler(failing, browser, store):
    assert browser.get("/raised", status=500).text == "sorry"
    assert data(store) == [{"visits": 1, "begun": True, "sorry": True}]


def test_an_exception_that_a_later_plugin_handles_commits(app, browser, store):
    def handling(callback):
        def handled(*arguments, **keywords):
            try:
                return callback(*arguments, **keywords)
            except Boom:
                return "handled"

        return handled

    app.install(handling)

    @app.get("/boom")
    def boom(session):
        session["tried"] = True
        raise Boom

    assert browser.get("/boom").text == "handled"
    assert data(store) == [{"tried": True}]


def test_hooks_have_the_session_too(app, browser, store):
    @app.hook("before_request")
    def before():
        request.environ["litesess.session"]["before"] = True

    @app.hook("after_request")
    def after():
        request.environ["litesess.session"]["after"] = True

    browser.get("/plain")
    assert data(store) == [{"before": True, "after": True}]


def test_a_wildcard_of_the_same_name_comes_first(app, browser):
    app.get("/wild/<session>", callback=lambda session: f"wild {session}")
    assert browser.get("/wild/cat").text == "wild cat"


def test_a_route_may_leave_the_plugin_out(app, browser):
    app.get("/skipped", callback=lambda session=None: str(session), skip=["litesess"])
    assert browser.get("/skipped").text == "None"


def test_an_app_mounted_in_another_has_the_session_of_the_outer_one(app, store):
    outer = Bottle()
    outer.mount("/inner/", app)
    browser = TestApp(SessionMiddleware(outer, secret=SECRET, store=store))
    assert [browser.get("/inner/count/ada").text for _ in range(2)] == ["ada 1", "ada 2"]


def test_a_slow_request_that_began_before_the_logout_brings_nothing_back(app, browser, store):
    @app.get("/slow")
    def slow(session):
        session["seen"] = session["visits"]
        meanwhile(browser, "/logout")
        return "slow"

    app.get("/logout", callback=lambda session: session.destroy())
    browser.get("/count/ada")
    response = browser.get("/slow")
    assert (response.text, "Set-Cookie" in response.headers, data(store)) == ("slow", False, [])


def test_two_overlapping_requests_that_change_different_keys_both_win(app, browser, store):
    @app.get("/slow")
    def slow(session):
        session["slow"] = True
        meanwhile(browser, "/count/ada")
        return "slow"

    browser.get("/count/ada")
    browser.get("/slow")
    assert data(store) == [{"visits": 2, "slow": True}]
