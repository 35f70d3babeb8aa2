"""Pyramid's sessions, kept by litesess."""

from __future__ import annotations

import pytest
from pyramid.config import Configurator
from pyramid.csrf import check_csrf_token, get_csrf_token
from pyramid.httpexceptions import HTTPFound
from pyramid.interfaces import ISession
from pyramid.response import Response
from webtest import TestApp
from zope.interface.verify import verifyObject

from litesess import ConfigError, MemoryStore, SessionMiddleware, StoreUnavailable, WALStore
from litesess.integrations.pyramid import SessionFactory
from tests.tools.apps import SECRET

SETTINGS = {"litesess.secret": SECRET, "litesess.store": "memory"}


class Site:
    """A Pyramid app that runs what each request asks for."""

    def __init__(self, factory, wrap=None):
        config = Configurator(session_factory=factory)
        config.add_route("any", "/*path")
        config.add_view(self._view, route_name="any")
        config.add_view(self._failed, context=ZeroDivisionError)
        self.app = config.make_wsgi_app()
        self.wrapped = wrap(self.app) if wrap else self.app
        self.browser = self.new_browser()
        self.callbacks = 0

    def new_browser(self):
        return TestApp(self.wrapped)

    def visit(self, action=None, path="/", by=None):
        self.action, self.value = action, None
        return (by or self.browser).get(path, expect_errors=True)

    def _view(self, request):
        result = self.action(request) if self.action else None
        self.value = result
        self.callbacks = len(request.response_callbacks)
        return result if isinstance(result, Response) else Response("ok")

    @staticmethod
    def _failed(_error, _request):
        return Response("an error page", status=500)


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


@pytest.fixture(params=["alone", "inside of the middleware"])
def site(request, store, clock):
    options = {"secret": SECRET, "store": store, "clock": clock}
    if request.param == "alone":
        return Site(SessionFactory(**options))
    return Site(SessionFactory(**options), lambda app: SessionMiddleware(app, **options))


def count_visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return Response(str(request.session["visits"]))


def login(request):
    request.session.owner = "ada"
    request.session["user"] = "ada"


def test_a_session_is_what_pyramid_calls_one(site):
    assert site.visit(lambda request: verifyObject(ISession, request.session)).status_int == 200


def test_a_session_is_kept(site):
    assert "Set-Cookie" in site.visit(lambda request: request.session.update(a=[1])).headers
    site.visit(lambda request: request.session["a"].append(2))  # changed() is for others
    site.visit(lambda request: dict(request.session))
    assert site.value == {"a": [1, 2]}
    site.visit(lambda request: dict(request.session), by=site.new_browser())
    assert site.value == {}


def test_a_request_that_does_not_look_at_its_session_costs_nothing(site, store):
    response = site.visit()
    assert "Set-Cookie" not in response.headers
    assert "Vary" not in response.headers
    assert len(store) == 0
    assert "Cookie" in site.visit(lambda request: len(request.session)).headers["Vary"]
    assert len(store) == 0


def test_there_is_one_response_callback_and_none_inside_of_the_middleware(site):
    site.visit(lambda request: (len(request.session), request.session.update(a=1)))
    assert site.callbacks == (0 if site.wrapped is not site.app else 1)


def test_new_and_created_are_told(site, clock):
    site.visit(lambda request: (request.session.new, request.session.created))
    assert site.value == (True, int(clock()))
    began_at = int(clock())
    site.visit(lambda request: request.session.update(a=1))
    clock.advance(50)
    site.visit(lambda request: (request.session.new, request.session.created))
    assert site.value == (False, began_at)


def test_an_invalidated_session_is_gone_and_its_cookie_with_it(site, store):
    site.visit(login)

    def log_out(request):
        request.session.invalidate()
        return [request.session.new, dict(request.session), request.session.get("user")]

    response = site.visit(log_out)
    assert site.value == [True, {}, None]
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert len(store) == 0


def test_an_invalidated_session_that_is_written_again_is_another_one(site, store):
    site.visit(login)
    before = site.browser.cookies["litesess.sid"]

    def begin_anew(request):
        request.session.invalidate()
        request.session["cart"] = [1]
        request.session.flash("welcome")

    site.visit(begin_anew)
    assert site.browser.cookies["litesess.sid"] != before
    site.visit(lambda request: (dict(request.session), request.session.owner))
    assert site.value == ({"cart": [1], "_f_": ["welcome"]}, None)
    assert len(store) == 1


def test_flash_messages_wait_for_the_next_page(site):
    def flash(request):
        request.session.flash("one")
        request.session.flash("two")
        request.session.flash("two", allow_duplicate=False)
        request.session.flash("other", "errors")

    site.visit(flash)
    site.visit(lambda request: request.session.peek_flash())
    assert site.value == ["one", "two"]
    site.visit(lambda request: (request.session.pop_flash(), request.session.pop_flash("errors")))
    assert site.value == (["one", "two"], ["other"])
    site.visit(lambda request: request.session.pop_flash())
    assert site.value == []


def test_the_default_csrf_policy_works_and_a_login_has_a_token_of_its_own(site):
    site.visit(get_csrf_token)
    token = site.value

    def check(request):
        request.headers["X-CSRF-Token"] = token
        return check_csrf_token(request, raises=False)

    site.visit(check)
    assert site.value is True
    site.visit(login)
    site.visit(check)
    assert site.value is False


def test_a_login_rotates_the_id(site, store):
    site.visit(lambda request: request.session.update(a=1))
    before = site.browser.cookies["litesess.sid"]
    site.visit(login)
    assert site.browser.cookies["litesess.sid"] != before
    site.visit(lambda request: (request.session.owner, request.session["a"]))
    assert site.value == ("ada", 1)
    assert len(store.find("ada")) == 1


def test_a_late_request_brings_no_session_back_after_a_logout(site, store):
    site.visit(login)
    tab = site.new_browser()
    tab.set_cookie("litesess.sid", site.browser.cookies["litesess.sid"])

    def slow(request):
        dict(request.session)
        site.visit(lambda inner: inner.session.invalidate(), by=tab)
        request.session["late"] = 1

    response = site.visit(slow)
    assert response.status_int == 200
    assert "Set-Cookie" not in response.headers
    assert len(store) == 0


def test_overlapping_requests_that_change_different_keys_both_win(site):
    site.visit(login)
    tab = site.new_browser()
    tab.set_cookie("litesess.sid", site.browser.cookies["litesess.sid"])

    def slow(request):
        dict(request.session)
        site.visit(lambda inner: inner.session.update(b=2), by=tab)
        request.session["c"] = 3

    site.visit(slow)
    site.visit(lambda request: dict(request.session))
    assert site.value == {"user": "ada", "b": 2, "c": 3}


def test_a_redirect_carries_the_cookie(site):
    def log_in_and_go(request):
        login(request)
        return HTTPFound("/home")

    assert "Set-Cookie" in site.visit(log_in_and_go).headers


def test_an_error_page_commits_and_an_exception_that_escapes_does_not(site, store):
    def fail(request):
        request.session["a"] = 1
        return 1 / 0

    assert site.visit(fail).text == "an error page"
    assert len(store) == 1

    def escape(request):
        request.session["b"] = 2
        raise LookupError

    with pytest.raises(LookupError):
        site.visit(escape)
    site.visit(lambda request: dict(request.session))
    assert site.value == {"a": 1}


def test_what_is_changed_while_the_body_streams_is_stored_at_its_end(site):
    site.visit(login)

    def stream(request):
        session = request.session

        def body():
            yield b"one"
            session["streamed"] = True
            yield b"two"

        return Response(app_iter=body(), content_length=6)

    response = site.visit(stream)
    assert (response.text, response.headers["Content-Length"]) == ("onetwo", "6")
    site.visit(lambda request: dict(request.session))
    assert site.value == {"user": "ada", "streamed": True}


def test_the_app_finds_the_store_in_the_environ(site, store):
    site.visit(lambda request: request.session and request.environ["litesess.store"])
    site.visit(lambda request: [len(request.session), request.environ["litesess.store"] is store])
    assert site.value == [0, True]


# Set up by settings.


def test_settings_in_an_ini_file_are_enough(tmp_path):
    path = str(tmp_path / "data")
    settings = {
        "pyramid.includes": "litesess.integrations.pyramid",
        "litesess.secret": SECRET,
        "litesess.path": path,
        "litesess.durable": "false",
        "litesess.cookie.max_age": "600",
    }
    config = Configurator(settings=settings)
    config.add_route("any", "/")

    config.add_view(count_visits, route_name="any")
    browser = TestApp(config.make_wsgi_app())
    response = browser.get("/")
    assert "Max-Age=600" in response.headers["Set-Cookie"]
    assert browser.get("/").text == "2"
    with WALStore(path) as store:
        assert [record.data for _, record in store.records()] == [{"visits": 2}]


@pytest.mark.parametrize("if_unavailable", ["503", "raise"])
def test_what_a_page_gets_while_the_store_is_away_is_a_setting(if_unavailable, monkeypatch):
    def away(*_arguments):
        raise StoreUnavailable("the store is away")

    config = Configurator(settings={**SETTINGS, "litesess.if_unavailable": if_unavailable})
    config.include("litesess.integrations.pyramid")
    config.add_route("any", "/")
    config.add_view(count_visits, route_name="any")
    browser = TestApp(config.make_wsgi_app())
    assert browser.get("/").text == "1"
    monkeypatch.setattr(MemoryStore, "load", away)
    if if_unavailable == "raise":
        with pytest.raises(StoreUnavailable):
            browser.get("/")
    else:
        assert browser.get("/", status=503).headers["Retry-After"] == "5"


def test_nothing_of_a_page_whose_session_can_not_be_stored_is_sent(store, clock):
    class Body(list):
        is_closed = False

        def close(self):
            self.is_closed = True

    body = Body([b"\x1f\x8b"])

    def view(request):
        request.session["a"] = 1
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/octet-stream"}
        return Response(app_iter=body, headers=headers)

    def away(*_arguments):
        raise StoreUnavailable("the store is away")

    site = Site(SessionFactory(secret=SECRET, store=store, clock=clock))
    store.create = away
    response = site.visit(view)
    assert (response.status_int, response.body) == (503, b"Service Unavailable\n")
    assert {"Content-Encoding", "Set-Cookie"}.isdisjoint(response.headers)
    assert response.content_type == "text/plain"
    assert body.is_closed


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"litesess.rollling": "true"}, "unknown setting litesess.rollling; did you mean"),
        ({"litesess.secret": "short"}, "secret"),
        ({"litesess.ttl": "long"}, "ttl is of type str"),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(settings, complaint):
    config = Configurator(settings=SETTINGS | settings)
    with pytest.raises(ConfigError, match=complaint):
        config.include("litesess.integrations.pyramid")


@pytest.mark.parametrize("path", ["/app", lambda _environ: {"path": "/app"}])
def test_outside_of_the_cookies_path_nothing_is_kept_and_that_is_logged_once(store, path, caplog):
    cookie = path if callable(path) else {"path": path}
    site = Site(SessionFactory(secret=SECRET, store=store, cookie=cookie))
    site.visit(lambda r: (r.session.peek_flash(), bool(r.session)), "/favicon.ico")
    assert (site.value, caplog.records) == (([], False), [])
    for _ in range(2):
        response = site.visit(lambda request: request.session.flash("hello"), "/else\nwhere")
        assert (response.status_int, "Set-Cookie" in response.headers) == (200, False)
        assert response.headers["Vary"] == "Cookie"
        site.visit(lambda request: request.session.login("ada"), "/elsewhere")
    (record,) = caplog.records
    assert "'/app'" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert len(store) == 0
    assert "Set-Cookie" in site.visit(lambda request: request.session.update(a=1), "/app").headers
    assert len(store) == 1


def test_a_logout_outside_of_the_cookies_path_is_one_all_the_same(store):
    site = Site(SessionFactory(secret=SECRET, store=store, cookie={"path": "/app"}))
    site.visit(login, "/app")
    cookie = {"HTTP_COOKIE": f"litesess.sid={site.browser.cookies['litesess.sid']}"}
    site.action = lambda request: request.session.destroy()
    site.browser.get("/elsewhere", extra_environ=cookie)
    assert len(store) == 0
