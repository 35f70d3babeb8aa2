"""Requests that pyramid_retry tries again: what a try does is real when its response is used."""

from __future__ import annotations

from contextlib import suppress

import pytest
from pyramid.config import Configurator
from pyramid.response import Response
from pyramid_retry import RetryableException
from webtest import TestApp

from litesess import MemoryStore, SessionGone, SessionMiddleware
from litesess.integrations.pyramid import SessionFactory
from tests.tools.apps import SECRET, Boom

OPTIONS = {"secret": SECRET, "cookie": {"max_age": 600}}


class Site:
    """An app whose page does what it is told at each of three tries, of which two fail."""

    def __init__(self, is_inside, has_exception_view):
        self.store = MemoryStore()
        factory = SessionFactory(store=self.store, **OPTIONS)
        config = Configurator(settings={"retry.attempts": "3"}, session_factory=factory)
        config.include("pyramid_retry")
        config.add_route("any", "/")
        config.add_view(self._view, route_name="any")
        if has_exception_view:
            config.add_exception_view(self._sorry, context=Exception)
        app = config.make_wsgi_app()
        if is_inside:
            app = SessionMiddleware(app, store=self.store, **OPTIONS)
        self.browser = TestApp(app)

    def visit(self, action, failures=0, error=RetryableException):
        """Let a browser make a request, which runs *action* at each try."""
        self.action, self.left, self.error = action, failures, error
        self.tries = 0
        return self.browser.get("/", expect_errors=True)

    def _view(self, request):
        self.tries += 1
        value = self.action(request)
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return Response(json_body=value)

    @staticmethod
    def _sorry(_error, request):
        with suppress(SessionGone):  # of the try that has destroyed it
            request.session["sorry"] = True
        return Response("sorry", status=500)

    @property
    def data(self):
        return [(record.owner, record.data) for _, record in self.store.records()]

    def look(self):
        return self.visit(lambda request: dict(request.session)).json


@pytest.fixture(params=["alone", "inside of the middleware"])
def is_inside(request):
    return request.param != "alone"


@pytest.fixture(params=["no exception view", "an exception view"])
def site(request, is_inside):
    return Site(is_inside, request.param == "an exception view")


def count(request):
    request.session["n"] = request.session.get("n", 0) + 1


def count_in_place(request):
    request.session.setdefault("list", []).append(1)


def log_in(request):
    request.session["n"] = 1
    request.session.login("ada")


def log_in_anew(request):
    request.session.invalidate()
    request.session.owner = "ada"
    request.session["n"] = 1


def flash(request):
    request.session.flash("bought")


def take(request):
    request.session.pop("begun", None)
    request.session["n"] = 1


TABLE = {
    "a counter": (count, (None, {"n": 1})),
    "a list": (count_in_place, (None, {"list": [1]})),
    "a login": (log_in, ("ada", {"n": 1})),
    "a login after invalidate()": (log_in_anew, ("ada", {"n": 1})),
    "a message": (flash, (None, {"_f_": ["bought"]})),
    "a value taken out": (take, (None, {"n": 1})),
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("failures", [0, 1, 2])
@pytest.mark.parametrize("name", TABLE)
def test_only_the_try_whose_response_is_used_counts(site, name, failures, known):
    action, (owner, data) = TABLE[name]
    if known:
        site.visit(lambda request: request.session.update(begun=1))
        if action not in (take, log_in_anew):
            data = {"begun": 1, **data}
    assert site.visit(action, failures).status_int == 200
    assert site.tries == failures + 1
    assert site.data == [(owner, data)]
    assert site.look() == data


def test_a_session_that_only_a_failed_try_invalidates_lives_on(site):
    site.visit(log_in)

    def once(request):
        if site.tries == 1:
            request.session.invalidate()

    response = site.visit(once, 1)
    assert (response.status_int, site.data) == (200, [("ada", {"n": 1})])
    assert "Max-Age=0" not in response.headers.get("Set-Cookie", "")
    assert site.look() == {"n": 1}


def test_one_that_only_a_failed_try_writes_is_not_stored(site):
    def once(request):
        if site.tries == 1:
            request.session["n"] = 1

    response = site.visit(once, 1)
    assert (response.status_int, site.data) == (200, [])
    assert "Set-Cookie" not in response.headers


def test_what_is_stored_at_once_stays_stored(site):
    site.visit(count)

    def store(request):
        if site.tries == 1:
            request.session["saved"] = 1
            request.session.save()
            request.session["lost"] = 1
        if site.tries == 2:
            request.session.atomic(lambda session: session.update(atomic=1))
            request.session["lost"] = 1

    site.visit(store, 2)
    assert site.data == [(None, {"n": 1, "saved": 1, "atomic": 1})]


def test_what_is_destroyed_at_once_stays_destroyed(site):
    site.visit(count)

    def destroy(request):
        if site.tries == 1:
            request.session.destroy()

    site.visit(destroy, 1)
    assert site.data == []


def test_a_last_try_that_fails_is_as_any_request_that_fails(is_inside):
    site = Site(is_inside, has_exception_view=True)
    assert site.visit(count, 3).status_int == 500
    assert site.data == [(None, {"n": 1, "sorry": True})]
    bare = Site(is_inside, has_exception_view=False)
    with pytest.raises(RetryableException):
        bare.visit(count, 3)
    assert bare.data == []


def test_an_error_that_is_not_tried_again_is_as_any(is_inside):
    site = Site(is_inside, has_exception_view=True)
    assert site.visit(count, 1, Boom).status_int == 500
    assert (site.tries, site.data) == (1, [(None, {"n": 1, "sorry": True})])


def test_what_is_done_before_the_first_try_is_kept():
    def around(app):
        def before(environ, start_response):
            environ["litesess.session"]["outer"] = 1
            return app(environ, start_response)

        return before

    site = Site(is_inside=False, has_exception_view=False)
    app = SessionMiddleware(around(site.browser.app), store=site.store, **OPTIONS)
    site.browser = TestApp(app)
    site.visit(lambda request: None, 1)
    assert site.data == [(None, {"outer": 1})]
