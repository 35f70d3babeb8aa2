"""Environs that are handed in again, and middlewares inside of others: each session has one end."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import webob
from flask import Flask, copy_current_request_context, request
from flask import Response as FlaskResponse
from pyramid.config import Configurator
from pyramid.response import Response
from werkzeug.middleware.proxy_fix import ProxyFix

from litesess import ConfigError, MemoryStore, SessionMiddleware, StoreUnavailable, WALStore
from litesess.integrations.flask import Litesess
from litesess.integrations.flask import session as flask_session
from litesess.integrations.pyramid import SessionFactory
from litesess.web import visit_of
from tests.tools.apps import (
    COOKIE,
    KEY,
    OLD_SECRET,
    SECRET,
    Boom,
    Browser,
    environ_of,
    hello,
    serve,
)

# Tried again.


class Failing:
    """What an app does at each try of a request: adds one, and fails as often as it is told to."""

    def __init__(self, failures):
        self.failures = self.left = failures

    def __call__(self, session):
        session["n"] = session.get("n", 0) + 1
        self.left -= 1
        if self.left >= 0:
            raise Boom


def raw(act, store):
    def app(environ, start_response):
        act(environ[KEY])
        return hello(environ, start_response)

    return SessionMiddleware(app, secret=SECRET, store=store)


def raw_generator(act, store):
    def app(environ, start_response):
        act(environ[KEY])
        yield from hello(environ, start_response)

    return SessionMiddleware(app, secret=SECRET, store=store)


def in_pyramid(act, store):
    config = Configurator(session_factory=SessionFactory(secret=SECRET, store=store))
    config.add_route("any", "/")
    config.add_view(lambda r: act(r.session) or Response("hello"), route_name="any")
    return config.make_wsgi_app()


def in_flask(act, store):
    app = Flask("shop")
    app.config.update(SECRET_KEY=SECRET, LITESESS_STORE=store, PROPAGATE_EXCEPTIONS=True)
    app.config["SESSION_COOKIE_NAME"] = COOKIE
    Litesess(app)

    @app.get("/")
    def page():
        act(flask_session)
        return "hello"

    return app


def same_environ(app):
    """Try a request again with the same environ, as repoze.retry does."""

    def tries(environ, start_response):
        while True:
            try:
                body = app(environ, start_response)
                try:
                    return list(body)
                finally:
                    getattr(body, "close", lambda: None)()
            except Boom:
                continue

    return tries


def copied_environ(app):
    """Try a request again with a copy of the environ, as CherryPy's InternalRedirect does."""

    def tries(environ, start_response):
        while True:
            environ = environ.copy()
            try:
                body = app(environ, start_response)
                try:
                    return list(body)
                finally:
                    getattr(body, "close", lambda: None)()
            except Boom:
                continue

    return tries


APPS = [raw, raw_generator, in_pyramid, in_flask]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("tries", [same_environ, copied_environ])
@pytest.mark.parametrize("app", APPS)
def test_of_a_request_that_is_tried_again_the_last_try_counts(app, tries, failures, known):
    act, store = Failing(0), MemoryStore()
    browser = Browser(tries(app(act, store)))
    if known:
        browser.get()
    act.left = failures
    assert browser.get().status == "200 OK"
    browser.get()
    assert [record.data for _, record in store.records()] == [{"n": 2 + known}]


@pytest.mark.parametrize("app", APPS)
def test_a_request_that_is_sent_again_is_another_request(app):
    store = MemoryStore()
    again = webob.Request.blank("/")
    served = app(Failing(0), store)
    first = again.get_response(served)
    again.headers["Cookie"] = first.headers["Set-Cookie"].partition(";")[0]
    for _ in range(3):
        assert again.get_response(served).status_int == 200
    assert [record.data for _, record in store.records()] == [{"n": 4}]


def test_the_session_of_a_request_that_is_over_can_still_be_looked_at():
    again = webob.Request.blank("/")
    app = raw(Failing(0), MemoryStore())
    again.get_response(app)
    held = again.environ[KEY]
    again.get_response(app)
    assert (held["n"], again.environ[KEY] is held) == (1, False)


class Held:
    """Something that a server puts into the environ."""


def raw_untouched(_act, store):
    return SessionMiddleware(hello, secret=SECRET, store=store)


def raw_write(act, store):
    def app(environ, start_response):
        act(environ[KEY])
        start_response("200 OK", [("Content-Type", "text/plain")])(b"hello")
        return []

    return SessionMiddleware(app, secret=SECRET, store=store)


@pytest.mark.parametrize("app", [*APPS, raw_untouched, raw_write])
def test_the_environ_of_a_request_that_is_over_goes_at_once(app):
    """It was kept until the collector of garbage came, with the server's objects in it."""
    served = app(Failing(0), MemoryStore())
    environ, held = environ_of(), Held()
    environ["server.object"], gone = held, weakref.ref(held)
    del held
    gc.disable()
    try:
        serve(served, environ)
        del environ
        assert gone() is None
    finally:
        gc.enable()


def test_a_session_that_was_not_looked_at_can_be_loaded_when_its_request_is_over():
    store = MemoryStore()
    (set_cookie,) = serve(raw(Failing(0), store), environ_of()).set_cookies
    environ = environ_of(HTTP_COOKIE=set_cookie.partition(";")[0])
    serve(raw_untouched(None, store), environ)
    assert environ[KEY]["n"] == 1


def test_a_copied_context_of_flask_ends_no_request():
    """Its end in another thread took the session's environ away in the middle of the request."""
    app = Flask("shop")
    app.config.update(SECRET_KEY=SECRET, LITESESS_STORE=MemoryStore(), LITESESS_UNSET="destroy")
    Litesess(app)
    shared = FlaskResponse("constant")

    def work_elsewhere():
        thread = threading.Thread(target=copy_current_request_context(lambda: None))
        thread.start()
        thread.join()

    @app.get("/in")
    def log_in():
        work_elsewhere()
        flask_session["n"] = 1
        return shared

    @app.get("/out")
    def log_out():
        work_elsewhere()
        request.environ.pop(KEY)
        return "bye"

    client = app.test_client()
    assert len(client.get("/in").headers.getlist("Set-Cookie")) == 1
    assert "Max-Age=0" in client.get("/out").headers["Set-Cookie"]


def test_a_body_that_can_t_be_closed_does_not_keep_its_request_open():
    class Away(MemoryStore):
        def create(self, key, record):
            raise StoreUnavailable("away")

    class Unclosable(list):
        def close(self):
            raise Boom

    def app(environ, start_response):
        environ[KEY]["n"] = 1
        start_response("200 OK", [])
        return Unclosable([b"hello"])

    environ = environ_of()
    with pytest.raises(Boom):
        serve(SessionMiddleware(app, secret=SECRET, store=Away()), environ)
    assert visit_of(environ[KEY]).is_over


@pytest.mark.parametrize("secure", [True, "auto"])
def test_a_proxy_s_header_counts_that_is_applied_behind_a_look_at_the_session(secure):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/login":
            environ[KEY].login("bob")
        environ[KEY]["n"] = 1
        return hello(environ, start_response)

    behind_a_proxy = ProxyFix(app)

    def looking(environ, start_response):
        environ[KEY].get("n")
        return behind_a_proxy(environ, start_response)

    store = MemoryStore()
    browser = Browser(
        SessionMiddleware(
            looking,
            secret=SECRET,
            store=store,
            cookie_name="sid",
            cookie={"secure": secure, "max_age": 3600},
        )
    )
    for path in "/", "/login":
        (set_cookie,) = browser.get(path, HTTP_X_FORWARDED_PROTO="https").all("Set-Cookie")
        assert "Secure" in set_cookie
    assert len(store.find("bob")) == 1


def test_a_session_that_was_taken_out_of_the_environ_is_there_again():
    def app(environ, start_response):
        environ[KEY]["n"] = 1
        environ[KEY] = None
        return hello(environ, start_response)

    middleware = SessionMiddleware(app, secret=SECRET, store=MemoryStore())
    environ = environ_of()
    for _ in range(2):
        assert serve(middleware, environ).status == "200 OK"


def test_settings_of_the_cookie_are_asked_for_at_each_try():
    asked = []

    def cookie(environ):
        asked.append(environ["PATH_INFO"])
        return {"path": environ["PATH_INFO"]}

    def app(environ, start_response):
        environ[KEY]["a"] = 1
        return hello(environ, start_response)

    middleware = SessionMiddleware(app, secret=SECRET, store=MemoryStore(), cookie=cookie)
    environ = environ_of("/one")
    assert serve(middleware, environ).attributes["path"] == "/one"
    environ["PATH_INFO"] = "/two"
    assert serve(middleware, environ).attributes["path"] == "/two"
    assert asked == ["/one", "/two"]


def test_a_session_from_before_is_not_there_outside_of_the_cookies_path():
    seen = []

    def app(environ, start_response):
        seen.append(KEY in environ)
        return hello(environ, start_response)

    middleware = SessionMiddleware(app, secret=SECRET, store=MemoryStore(), cookie={"path": "/app"})
    environ = environ_of("/app")
    serve(middleware, environ)
    environ["PATH_INFO"] = "/"
    serve(middleware, environ)
    assert seen == [True, False]


# One inside of another.


def owning(environ, start_response):
    environ[KEY].owner = "root"
    return hello(environ, start_response)


def owning_late(environ, start_response):
    environ[KEY].owner = "root"
    yield from hello(environ, start_response)


def nested(app, inner, outer, act=lambda environ: None):
    """Return *app* in a middleware inside of another one, whose app does *act* before and after."""
    within = SessionMiddleware(app, **{"secret": SECRET, **inner})

    def around(environ, start_response):
        act(environ)
        body = within(environ, start_response)
        act(environ)
        return body

    return SessionMiddleware(around, **{"secret": SECRET, **outer})


def owners(store):
    return [record.owner for _, record in store.records()]


@pytest.mark.parametrize("app", [owning, owning_late])
@pytest.mark.parametrize(
    ("inner", "is_of_one_store"),
    [
        ({"cookie_name": "admin.sid"}, True),
        ({"cookie_name": "admin.sid", "secret": OLD_SECRET}, True),
        ({"secret": OLD_SECRET, "cookie": {"path": "/admin"}}, True),
        ({"cookie_name": "admin.sid"}, False),
        ({"cookie": {"path": "/admin"}}, False),
    ],
)
def test_one_of_another_store_cookie_or_secret_has_its_own_session(app, inner, is_of_one_store):
    public = MemoryStore()
    private = public if is_of_one_store else MemoryStore()
    found = []

    def act(environ):
        environ[KEY]["seen"] = environ[KEY].get("seen", 0) + 1
        found.append(environ[KEY].owner)

    site = nested(app, {"store": private, **inner}, {"store": public}, act)
    for _ in range(2):
        response = Browser(site).get("/admin/")
        names = [value.partition("=")[0] for value in response.all("Set-Cookie")]
        assert names == [inner.get("cookie_name", COOKIE), COOKIE]
    assert found == [None] * 4
    assert sorted(map(str, owners(public) + owners(private) * (private is not public))) == [
        "None", "None", "root", "root",
    ]  # fmt: skip
    assert [r.data for _, r in public.records() if r.owner is None] == [{"seen": 2}] * 2


def test_one_of_another_cookie_name_may_be_outside_of_its_path():
    seen = []

    def app(environ, start_response):
        seen.append(KEY in environ)
        return hello(environ, start_response)

    inner = {"store": MemoryStore(), "cookie_name": "admin.sid", "cookie": {"path": "/admin"}}
    Browser(nested(app, inner, {"store": MemoryStore()})).get("/")
    assert seen == [False]


@pytest.mark.parametrize("inner", [{"store": MemoryStore()}, {"secret": OLD_SECRET}])
def test_two_that_would_overwrite_each_others_cookie_are_refused(inner):
    public = MemoryStore()
    site = nested(owning, {"store": public, **inner}, {"store": public})
    with pytest.raises(ConfigError, match=r"'litesess.sid'.*cookie_name.*environ_key"):
        Browser(site).get()
    assert len(public) == 0


def test_two_stores_of_one_directory_are_the_same(tmp_path):
    stores = [WALStore(tmp_path / "data", durable=False) for _ in range(2)]
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("data")
    stores.append(WALStore(tmp_path / "link", durable=False))
    for inner in stores:
        site = nested(owning, {"store": inner}, {"store": stores[0]})
        assert len(Browser(site).get().set_cookies) == 1
    assert owners(stores[0]) == ["root"] * 3
    other = WALStore(tmp_path / "data", durable=False, collection="other")
    with pytest.raises(ConfigError):
        Browser(nested(owning, {"store": other}, {"store": stores[0]})).get()
    for store in stores:
        store.close()


def test_options_of_the_inner_one_that_do_not_count_are_warned_of_once(caplog):
    store = MemoryStore()
    inner = {"store": store, "absolute_timeout": 900, "cookie": {"samesite": "strict"}}
    site = nested(owning, inner, {"store": store})
    for _ in range(3):
        Browser(site).get()
    (record,) = caplog.records
    assert "do not: cookie, absolute_timeout" in record.getMessage()


def test_pyramid_inside_of_another_sites_middleware_has_its_own_session():
    public, private = MemoryStore(), MemoryStore()

    def view(request):
        request.session["inner"] = 1
        again = request.copy()
        if "again" not in request.GET:
            again.GET["again"] = "1"
            request.invoke_subrequest(again)
        else:
            request.session["sub"] = 1
        return Response("ok")

    factory = SessionFactory(secret=SECRET, store=private, cookie_name="admin.sid")
    config = Configurator(session_factory=factory)
    config.add_route("any", "/")
    config.add_view(view, route_name="any")
    app = config.make_wsgi_app()

    def around(environ, start_response):
        environ[KEY]["outer"] = 1
        body = app(environ, start_response)
        assert dict(environ[KEY]) == {"outer": 1}
        return body

    response = Browser(SessionMiddleware(around, secret=SECRET, store=public)).get()
    names = [value.partition("=")[0] for value in response.all("Set-Cookie")]
    assert names == ["admin.sid", COOKIE]
    assert [record.data for _, record in public.records()] == [{"outer": 1}]
    assert [record.data for _, record in private.records()] == [{"inner": 1, "sub": 1}]
