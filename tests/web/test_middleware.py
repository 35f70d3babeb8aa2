"""The middleware between odd apps and strict servers; test_wsgi holds the common shapes."""

from __future__ import annotations

import copy
import itertools
import logging
import sys
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper

import pytest

from litesess import (
    EncodeError,
    HeadersSent,
    MemoryStore,
    SessionMiddleware,
    StoreClosed,
    StoreFailed,
)
from tests.tools.apps import (
    COOKIE,
    KEY,
    SECRET,
    Boom,
    Browser,
    Site,
    WatchedMemoryStore,
    environ_of,
    hello,
    look,
    serve,
    write,
)

TEXT = [("Content-Type", "text/plain")]


@pytest.fixture
def site(clock):
    """A site whose visitor has a session."""
    site = Site(clock=clock, cookie={"max_age": 1000})
    site.visit(write(user="ada"))
    site.store.calls.clear()
    return site


# An error page in place of the page.


def error_behind_an_empty_chunk(environ, start_response):
    environ[KEY]["a"] = 1
    start_response("200 OK", TEXT)
    yield b""
    try:
        raise Boom
    except Boom:
        start_response("500 Oops", [*TEXT, ("X-Error", "1")], sys.exc_info())
    yield b"oops"


def test_an_error_page_before_anything_was_sent_keeps_the_cookie():
    site = Site()
    response = site.visit(shape=error_behind_an_empty_chunk)
    assert (response.status, response.body, response.all("X-Error")) == ("500 Oops", b"oops", ["1"])
    assert len(response.set_cookies) == 1
    assert response.all("Vary") == ["Cookie"]
    assert site.visit(look).value == {"a": 1}


def test_an_error_page_behind_what_was_sent_is_raised(site):
    def shape(environ, start_response):
        start_response("200 OK", TEXT)
        yield b"sent"
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", TEXT, sys.exc_info())

    with pytest.raises(Boom):
        site.visit(shape=shape)


def test_several_error_pages_before_the_first_chunk_set_one_cookie():
    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", TEXT)
        for status in ("500 Oops", "503 Busy"):
            try:
                raise Boom
            except Boom:
                start_response(status, TEXT, sys.exc_info())
        return [b"oops"]

    response = Site().visit(shape=shape)
    assert response.status == "503 Busy"
    assert len(response.set_cookies) == 1


def test_an_error_page_made_inside_the_app_commits():
    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("500 Oops", TEXT)
        return [b"oops"]

    site = Site()
    assert site.visit(shape=shape).said == "set"
    assert site.data == [{"a": 1}]


def test_an_app_may_answer_otherwise_when_its_session_cant_be_stored():
    def shape(environ, start_response):
        environ[KEY]["a"] = object()
        send = start_response("200 OK", TEXT)
        try:
            send(b"never")
        except EncodeError:
            environ[KEY]["a"] = 1
            start_response("500 Oops", TEXT, sys.exc_info())
        return [b"oops"]

    site = Site()
    response = site.visit(shape=shape)
    assert (response.status, response.body, response.said) == ("500 Oops", b"oops", "set")
    assert site.data == [{"a": 1}]


# An exception that escapes.


def raises_at_once(environ, start_response):
    environ[KEY]["late"] = 1
    raise Boom


def raises_after_start_response(environ, start_response):
    environ[KEY]["late"] = 1
    start_response("200 OK", TEXT)
    raise Boom


def raises_in_the_first_chunk(environ, start_response):
    start_response("200 OK", TEXT)
    environ[KEY]["late"] = 1
    raise Boom
    yield b""


def raises_while_streaming(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"a"
    environ[KEY]["late"] = 1
    raise Boom


def calls_start_response_twice(environ, start_response):
    environ[KEY]["late"] = 1
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b""]


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        (raises_at_once, Boom),
        (raises_after_start_response, Boom),
        (raises_in_the_first_chunk, Boom),
        (raises_while_streaming, Boom),
        (calls_start_response_twice, AssertionError),
    ],
)
def test_an_exception_that_escapes_commits_nothing(site, shape, error):
    with pytest.raises(error):
        site.visit(shape=shape)
    assert site.store.writes == {}
    assert site.data == [{"user": "ada"}]


# What happens to the session behind the headers.


@pytest.mark.parametrize("body", [[], (), [b"end"]])
def test_what_is_changed_after_write_is_committed_though_a_list_is_returned(site, body):
    def shape(environ, start_response):
        send = start_response("200 OK", TEXT)
        send(b"begun ")
        environ[KEY]["late"] = 1
        return body

    site.visit(shape=shape)
    assert site.data == [{"user": "ada", "late": 1}]


def test_what_is_changed_after_write_is_committed_though_a_file_is_returned(site, tmp_path):
    (tmp_path / "page").write_bytes(b"page")

    def shape(environ, start_response):
        start_response("200 OK", TEXT)(b"begun ")
        environ[KEY]["late"] = 1
        return environ["wsgi.file_wrapper"]((tmp_path / "page").open("rb"))

    environ = environ_of(HTTP_COOKIE=site.header) | {"test.shape": shape}
    serve(site.middleware, environ | {"wsgi.file_wrapper": FileWrapper})
    assert site.data == [{"user": "ada", "late": 1}]


def test_what_is_changed_in_the_apps_close_is_committed(site):
    class Body:
        def __init__(self, session):
            self.session = session

        def __iter__(self):
            return iter([b"a"])

        def close(self):
            self.session["closed"] = 1

    def shape(environ, start_response):
        start_response("200 OK", TEXT)
        return Body(environ[KEY])

    site.visit(shape=shape)
    assert site.data == [{"user": "ada", "closed": 1}]


def streaming(action):
    """Return an app that runs *action* on the session behind the first chunk."""

    def shape(environ, start_response):
        start_response("200 OK", TEXT)
        yield b"a"
        action(environ[KEY])
        yield b"b"

    return shape


def test_a_new_session_behind_the_headers_is_refused_or_logged(caplog):
    site = Site()
    try:
        site.visit(shape=streaming(write(a=1)))
    except HeadersSent:
        caplog.records.append(None)
    assert caplog.records
    assert site.data == []


def test_a_cookie_setting_behind_the_headers_is_refused_or_logged(site, caplog):
    try:
        site.visit(shape=streaming(lambda s: setattr(s.cookie, "max_age", 5)))
    except HeadersSent:
        caplog.records.append(None)
    assert caplog.records


def test_what_cant_be_stored_behind_the_headers_is_logged_and_the_page_is_served(site, caplog):
    assert site.visit(shape=streaming(write(a=object()))).body == b"ab"
    assert "is lost" in caplog.text
    assert site.data == [{"user": "ada"}]


def test_a_store_that_fails_behind_the_headers_is_logged_and_the_page_is_served(site, caplog):
    site.store.failing["update"] = StoreFailed("broken")
    assert site.visit(shape=streaming(write(a=1))).body == b"ab"
    assert "is lost" in caplog.text


def test_a_session_destroyed_behind_the_headers_is_gone(site):
    site.visit(shape=streaming(lambda s: s.destroy()))
    assert site.data == []


def test_a_write_behind_the_headers_brings_nothing_back(site):
    def action(session):
        session["late"] = 1
        site.store.clear()

    site.visit(shape=streaming(action))
    assert site.data == []
    assert site.store.tally.discarded == 1


def test_what_was_committed_is_not_committed_again(site):
    site.visit(shape=streaming(look))
    assert site.store.calls["update"] == 0


def test_closing_twice_commits_once(site):
    def shape(environ, start_response):
        start_response("200 OK", TEXT)
        environ[KEY]["a"] = 1
        yield b"a"
        environ[KEY]["b"] = 1

    environ = environ_of(HTTP_COOKIE=site.header) | {"test.shape": shape}
    body = site.middleware(environ, lambda *_arguments: None)
    list(body)
    body.close()
    body.close()
    assert site.store.calls["update"] == 2  # before the first chunk, and at close


# The app's iterable is closed.


class Closing(list):
    """A list that counts how often it was closed."""

    closed = 0

    def close(self):
        self.closed += 1


class File(FileWrapper):
    """A file wrapper that counts how often it was closed."""

    closed = 0

    def __init__(self):
        self.blksize = 1

    def __iter__(self):
        return iter([b"file"])

    def close(self):
        self.closed += 1


@pytest.mark.parametrize("make_body", [lambda: Closing([b"a"]), File])
@pytest.mark.parametrize("fails", [False, True])
def test_a_body_that_is_handed_over_is_closed_once(site, make_body, fails):
    body = make_body()

    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", TEXT)
        return body

    environ = environ_of(HTTP_COOKIE=site.header) | {"test.shape": shape}
    environ["wsgi.file_wrapper"] = File
    if fails:
        site.store.failing["update"] = StoreFailed("broken")
        with pytest.raises(StoreFailed):
            serve(site.middleware, environ)
    else:
        serve(site.middleware, environ)
    assert body.closed == 1


def test_a_body_whose_close_fails_is_committed_all_the_same(site):
    class Body:
        def __init__(self, session):
            self.session = session

        def __iter__(self):
            yield b"a"
            self.session["late"] = 1

        def close(self):
            raise Boom

    def shape(environ, start_response):
        start_response("200 OK", TEXT)
        return Body(environ[KEY])

    with pytest.raises(Boom):
        site.visit(shape=shape)
    assert site.data == [{"user": "ada", "late": 1}]


# Order.


def test_the_store_has_committed_when_the_server_hears_of_the_response():
    events = []
    site = Site()
    site.store.once["create"] = lambda: events.append("create")

    def start_response(*_arguments):
        events.append(f"start_response with {len(site.store)} sessions")
        return lambda data: None

    environ = environ_of() | {"test.action": write(a=1), "test.shape": None, "test.result": []}
    site.middleware(environ, start_response)
    assert events == ["create", "start_response with 1 sessions"]


@pytest.mark.parametrize("operation", ["create", "update"])
def test_a_commit_that_fails_leaves_with_nothing_sent(operation):
    site = Site()
    site.visit(write(a=1))
    site.store.failing[operation] = StoreFailed("broken")
    called = []
    environ = environ_of() | {"test.action": write(a=2), "test.shape": None, "test.result": []}
    if operation == "update":
        environ["HTTP_COOKIE"] = site.header
    with pytest.raises(StoreFailed):
        site.middleware(environ, lambda *arguments: called.append(arguments))
    assert called == []


def test_an_unset_that_fails_leaves_with_nothing_sent():
    def shape(environ, start_response):
        del environ[KEY]
        return hello(environ, start_response)

    site = Site(unset="destroy")
    site.visit(write(a=1))
    site.store.failing["delete"] = StoreFailed("broken")
    called = []
    environ = environ_of(HTTP_COOKIE=site.header) | {"test.shape": shape}
    with pytest.raises(StoreFailed):
        site.middleware(environ, lambda *arguments: called.append(arguments))
    assert called == []
    assert site.data == [{"a": 1}]


def test_a_commit_that_fails_at_the_first_chunk_is_raised_once_and_the_body_closed_once(site):
    class Body:
        closed = 0

        def __iter__(self):
            yield b"a"
            yield b"b"

        def close(self):
            self.closed += 1

    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", TEXT)
        return body

    body = Body()
    site.store.failing["update"] = StoreFailed("broken")
    called = []
    environ = environ_of(HTTP_COOKIE=site.header) | {"test.shape": shape}
    served = site.middleware(environ, lambda *arguments: called.append(arguments))
    with pytest.raises(StoreFailed):
        next(iter(served))
    served.close()
    served.close()
    assert (body.closed, called, site.store.writes) == (1, [], {"update": 1})


def test_a_client_that_follows_a_redirect_at_once_finds_its_session():
    def log_in(environ, start_response):
        environ[KEY]["user"] = "ada"
        start_response("303 See Other", [("Location", "/me")])
        return []

    def start_response(_status, headers):
        cookie = dict(headers)["Set-Cookie"].partition(";")[0]
        found.append(site.visit(look, "/me", cookie=cookie).value)

    site = Site()
    found = []
    site.middleware(environ_of("/login") | {"test.shape": log_in}, start_response)
    assert found == [{"user": "ada"}]


def test_a_server_turns_a_failed_commit_into_an_error_page(capsys):
    site = Site()
    site.store.failing["create"] = StoreFailed("broken")
    environ = environ_of() | {"test.action": write(a=1), "test.shape": None, "test.result": []}
    out, errors = Pipe(), environ["wsgi.errors"]
    SimpleHandler(environ["wsgi.input"], out, errors, environ).run(site.middleware)
    assert b"500 Internal Server Error" in out.data
    assert b"Set-Cookie" not in out.data


class Pipe:
    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data

    def flush(self):
        pass


# Environs.


@pytest.mark.parametrize("missing", ["SCRIPT_NAME", "PATH_INFO", "HTTP_COOKIE", "HTTP_HOST"])
@pytest.mark.parametrize("cookie", [{"path": "/"}, {"path": "/foo"}, lambda _environ: {}])
def test_an_environ_may_lack_what_is_optional(missing, cookie):
    site = Site(cookie=cookie)
    environ = environ_of("/foo") | {"test.action": None, "test.shape": hello}
    environ.pop(missing, None)
    assert serve(site.middleware, environ).body == b"hello"


def test_a_path_that_is_no_utf_8_is_a_path_like_any_other():
    site = Site(cookie={"path": "/caf"})
    assert site.visit(write(a=1), "/caf/\xff\xfe").said == "set"


def test_a_cookie_header_that_is_no_latin_1_is_no_error():
    # No server makes such an environ; some test clients do.
    environ = environ_of(HTTP_COOKIE=f"{COOKIE}=\u20ac") | {"test.shape": None, "test.result": []}
    assert serve(Site().middleware, environ | {"test.action": look}).body == b"hello"


def test_a_session_taken_out_of_a_copy_is_still_in_hand(site):
    def shape(environ, start_response):
        copied = copy.copy(environ)
        copied.pop(KEY)["a"] = 1
        return hello(copied, start_response)

    site.visit(shape=shape)
    assert site.data == [{"user": "ada", "a": 1}]


def test_an_environ_that_has_a_session_is_passed_on_untouched(site):
    environ = environ_of(HTTP_COOKIE=site.header) | {"test.shape": hello, KEY: {"mine": 1}}
    response = serve(site.middleware, environ)
    assert environ[KEY] == {"mine": 1}
    assert response.all("Vary") == response.all("Set-Cookie") == []
    assert not site.store.calls


# Several middlewares.


def test_two_side_by_side_keep_two_sessions():
    stores = MemoryStore(), MemoryStore()

    def app(environ, start_response):
        environ["one"]["n"] = environ["one"].get("n", 0) + 1
        environ["two"]["n"] = environ["two"].get("n", 10) + 1
        return hello(environ, start_response)

    inner = SessionMiddleware(
        app, secret=SECRET, store=stores[0], environ_key="one", cookie_name="one.sid"
    )
    outer = SessionMiddleware(
        inner, secret=SECRET, store=stores[1], environ_key="two", cookie_name="two.sid"
    )
    browser = Browser(outer)
    assert [cookie[:8] for cookie in browser.get().all("Set-Cookie")] == ["one.sid=", "two.sid="]
    response = browser.get()
    assert response.all("Vary") == ["Cookie"]
    found = [[record.data for _, record in store.records()] for store in stores]
    assert found == [[{"n": 2}], [{"n": 12}]]


def test_two_that_share_a_store_share_no_session_and_no_settings(clock):
    store = MemoryStore(clock=clock)
    sites = [
        Site(store, clock=clock, cookie_name=name, cookie={"max_age": life})
        for name, life in (("one.sid", 10), ("two.sid", 20))
    ]
    ages = []
    for site in sites:
        (cookie,) = site.visit(write(a=1)).all("Set-Cookie")
        ages.append("Max-Age=10" in cookie)
    assert ages == [True, False]
    assert len(store) == 2


def test_two_that_share_a_store_make_ids_each_its_own_way(clock):
    store = MemoryStore(clock=clock)
    sites = [Site(store, genid=lambda _environ, made=made: made) for made in ("apple", "pear")]
    made = [site.visit(lambda s: s.update(a=1) or s.id).value for site in sites]
    assert made == ["apple", "pear"]


def test_a_store_is_used_as_it_was_given(clock):
    numbers = itertools.count()
    store = MemoryStore(clock=clock)
    assert store.listeners == []
    before = dict(vars(store)), dict(vars(MemoryStore))
    site = Site(
        store, clock=clock, genid=lambda _environ: f"id{next(numbers)}", cookie={"max_age": 5}
    )
    site.visit(write(a=1))
    site.visit(lambda session: session.regenerate())
    assert (vars(store), dict(vars(MemoryStore))) == before


def test_one_inside_itself_is_one():
    store = WatchedMemoryStore()

    def app(environ, start_response):
        environ[KEY]["a"] = 1
        return hello(environ, start_response)

    inner = SessionMiddleware(app, secret=SECRET, store=store)
    response = Browser(SessionMiddleware(inner, secret=SECRET, store=store)).get()
    assert len(response.set_cookies) == 1
    assert store.writes == {"create": 1}


class Around:
    """A middleware of somebody else: adds a header, and chunks in upper case."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        def start(status, headers, exc_info=None):
            return start_response(status, [*headers, ("X-Around", "1")], exc_info)

        body = self.app(environ, start)
        try:
            for chunk in body:
                yield chunk.upper()
        finally:
            getattr(body, "close", lambda: None)()


@pytest.mark.parametrize("is_outside", [True, False])
def test_other_middlewares_around_and_inside_make_no_difference(is_outside):
    def app(environ, start_response):
        environ[KEY]["a"] = 1
        return hello(environ, start_response)

    def wrapped(app):
        return SessionMiddleware(app, secret=SECRET, store=MemoryStore())

    response = Browser(Around(wrapped(app)) if is_outside else wrapped(Around(app))).get()
    assert (response.body, response.all("X-Around"), response.said) == (b"HELLO", ["1"], "set")


# Headers for caches.


def answer(action, *headers):
    """Return an app that answers with *headers* once *action* was run on the session."""

    def shape(environ, start_response):
        action(environ[KEY])
        start_response("200 OK", [*TEXT, *headers])
        return [b""]

    return shape


CACHE_CONTROL = [
    ([], ["private"]),
    (["no-cache"], ["private, no-cache"]),
    (["max-age=60"], ["private, max-age=60"]),
    (["private"], ["private"]),
    (["private, max-age=60"], ["private, max-age=60"]),
    (["no-store"], ["no-store"]),
    (["NO-STORE"], ["NO-STORE"]),
    (["public"], ["no-store"]),
    (["public, max-age=60"], ["no-store"]),
    (["s-maxage=60"], ["no-store"]),
    (["Public"], ["no-store"]),
    (["max-age=5", "no-cache"], ["private, max-age=5, no-cache"]),
]


@pytest.mark.parametrize(("stated", "sent"), CACHE_CONTROL)
def test_a_response_that_sets_the_cookie_is_private(stated, sent):
    headers = [("cache-control", value) for value in stated]
    response = Site().visit(shape=answer(write(a=1), *headers))
    assert response.all("Cache-Control") == sent


@pytest.mark.parametrize("stated", ["public", "s-maxage=60"])
def test_a_public_response_that_sets_the_cookie_is_warned_of(stated, caplog):
    Site().visit(shape=answer(write(a=1), ("Cache-Control", stated)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("stated", [[], ["max-age=60"], ["private"], ["public"], ["no-store"]])
def test_a_response_that_expires_the_cookie_is_not_stored(site, stated):
    headers = [("Cache-Control", value) for value in stated]
    response = site.visit(shape=answer(lambda s: s.destroy(), *headers))
    assert "no-store" in ", ".join(response.all("Cache-Control"))


def test_a_response_that_only_read_the_session_keeps_its_cache_control(site):
    response = site.visit(shape=answer(look, ("Cache-Control", "public")))
    assert response.all("Cache-Control") == ["public"]
    assert response.all("Vary") == ["Cookie"]


@pytest.mark.parametrize(
    ("stated", "sent"),
    [
        ([], ["Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept", "Origin"], ["Accept", "Origin, Cookie"]),
        (["Accept, cookie"], ["Accept, cookie"]),
        (["*"], ["*"]),
        ([""], ["Cookie"]),
    ],
)
def test_a_response_varies_by_cookie_once(site, stated, sent):
    headers = [("vary", value) for value in stated]
    assert site.visit(shape=answer(look, *headers)).all("Vary") == sent


def test_cache_headers_can_be_left_to_the_app():
    response = Site(cache_headers=False).visit(write(a=1))
    assert response.said == "set"
    assert response.all("Vary") == response.all("Cache-Control") == []


# The end.


def test_closing_closes_the_store_and_again_is_harmless():
    site = Site()
    with site.middleware as middleware:
        assert middleware.store is site.store
    middleware.close()
    with pytest.raises(StoreClosed):
        site.visit(write(a=1))
