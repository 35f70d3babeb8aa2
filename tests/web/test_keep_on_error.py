"""What a request did to its session whose response is an error."""

from __future__ import annotations

import bottle
import flask
import pytest
from pyramid.config import Configurator
from pyramid.response import Response

from litesess import MemoryStore, SessionMiddleware
from litesess.integrations.bottle import SessionPlugin
from litesess.integrations.flask import Litesess
from litesess.integrations.pyramid import SessionFactory
from tests.tools.apps import COOKIE, KEY, SECRET, Browser, Site, write


def answering(status, shape):
    """Return an app that writes to its session and answers with *status*."""

    def app(environ, start_response):
        environ[KEY]["a"] = 1
        start_response(status, [("Content-Type", "text/plain")])
        return shape([b"x"])

    return app


@pytest.mark.parametrize("shape", [list, iter])
@pytest.mark.parametrize("keep_on_error", [None, True, False])
@pytest.mark.parametrize(
    "status", ["200 OK", "302 Found", "404 Not Found", "499 Own", "500 Oops", "503 Away", "599 Own"]
)
def test_an_error_keeps_nothing_if_the_option_says_so(status, keep_on_error, shape):
    options = {} if keep_on_error is None else {"keep_on_error": keep_on_error}
    site = Site(**options)
    is_kept = keep_on_error is not False or status < "500"
    assert site.visit(shape=answering(status, shape)).said == ("set" if is_kept else "")
    assert site.data == ([{"a": 1}] if is_kept else [])


def test_the_last_status_counts(clock):
    def app(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise ValueError
        except ValueError as error:
            headers = [("Content-Type", "text/plain")]
            start_response("500 Oops", headers, (ValueError, error, error.__traceback__))
        return [b"x"]

    site = Site(clock=clock, keep_on_error=False)
    site.visit(write(user="ada"))
    site.visit(shape=app)
    assert site.data == [{"user": "ada"}]


def test_an_error_is_told_to_caches_and_a_session_ends_at_once_all_the_same():
    site = Site(keep_on_error=False)
    site.visit(write(a=1))

    def app(environ, start_response):
        environ[KEY].destroy()
        return answering("500 Oops", list)(environ | {KEY: {}}, start_response)

    assert site.visit(shape=app).all("Vary") == ["Cookie"]
    assert site.data == []


def in_bottle(options):
    app = bottle.Bottle()
    app.install(SessionPlugin())

    @app.get("/<status:int>")
    def page(status, session):
        session["a"] = 1
        bottle.abort(status)

    return SessionMiddleware(app, **options)


def in_pyramid(options):
    def page(request):
        request.session["a"] = 1
        return Response("x", status=int(request.matchdict["status"]))

    config = Configurator(session_factory=SessionFactory(**options))
    config.add_route("any", "/{status}")
    config.add_view(page, route_name="any")
    return config.make_wsgi_app()


def in_flask(options):
    app = flask.Flask("shop")
    app.config.update({f"LITESESS_{name.upper()}": value for name, value in options.items()})
    app.config["SESSION_COOKIE_NAME"] = COOKIE
    Litesess(app)

    @app.get("/<int:status>")
    def page(status):
        flask.session["a"] = 1
        return "x", status

    return app


@pytest.mark.parametrize("make", [in_bottle, in_pyramid, in_flask])
def test_frameworks_heed_it_too(make):
    for options, is_kept in (({}, True), ({"keep_on_error": False}, False)):
        store = MemoryStore()
        browser = Browser(make({"secret": SECRET, "store": store, **options}))
        assert bool(browser.get("/500").set_cookies) is is_kept
        assert len(store) == is_kept
        assert browser.get("/404").set_cookies if not is_kept else True
        assert len(store) == 1
