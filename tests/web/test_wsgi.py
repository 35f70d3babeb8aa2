"""WSGI to the letter (PEP 3333), under wsgiref.validate and WebTest's lint."""

from __future__ import annotations

import io
import sys
import weakref
from wsgiref.util import FileWrapper

import pytest
from webtest import TestApp

from litesess import MemoryStore, SessionMiddleware
from tests.tools.apps import COOKIE, KEY, SECRET, Boom, Site, environ_of, hello, look, serve, write

TEXT = [("Content-Type", "text/plain")]


def as_list(environ, start_response):
    environ[KEY]["a"] = 1
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"hello"]


def as_tuple(environ, start_response):
    start_response("200 OK", TEXT)
    environ[KEY]["a"] = 1  # after start_response, before the return
    return (b"hel", b"lo")


def as_generator(environ, start_response):
    start_response("200 OK", TEXT)
    environ[KEY]["a"] = 1
    yield b"hel"
    yield b"lo"


def as_iterator(environ, start_response):
    environ[KEY]["a"] = 1
    start_response("200 OK", TEXT)
    return iter([b"hello"])


def by_write(environ, start_response):
    environ[KEY]["a"] = 1
    send = start_response("200 OK", TEXT)
    send(b"hel")
    send(b"lo")
    return []


def with_an_empty_first_chunk(environ, start_response):
    start_response("200 OK", TEXT)
    environ[KEY]["a"] = 1
    yield b""
    yield b"hello"


def after_an_error(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        raise Boom
    except Boom:
        environ[KEY]["a"] = 1
        start_response("500 Oops", TEXT, sys.exc_info())
    return [b"hello"]


SHAPES = [
    as_list,
    as_tuple,
    as_generator,
    as_iterator,
    by_write,
    with_an_empty_first_chunk,
    after_an_error,
]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_response_is_committed_and_announced_once(shape):
    site = Site()
    response = site.visit(shape=shape)
    assert (response.body, response.said, len(response.set_cookies)) == (b"hello", "set", 1)
    assert site.data == [{"a": 1}]
    assert site.visit(look).value == {"a": 1}


@pytest.mark.parametrize("as_body", [list, tuple, iter, lambda chunks: (chunk for chunk in chunks)])
@pytest.mark.parametrize(
    "chunks",
    [[], [b""], [b"session saved"], [b"hello, ", b"world"], [b"", b"hello, ", b"", b"world"]],
)
def test_a_stated_length_and_the_chunks_are_left_alone(chunks, as_body):
    length = str(sum(map(len, chunks)))

    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", [*TEXT, ("Content-Length", length)])
        return as_body(chunks)

    site = Site()
    response = site.visit(shape=shape)
    assert (response.all("Content-Length"), response.chunks) == ([length], chunks)
    assert (response.said, site.data) == ("set", [{"a": 1}])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_method_makes_no_difference(method):
    def shape(environ, start_response):
        environ["test.use"](environ[KEY])
        start_response("200 OK", [*TEXT, ("Content-Length", "5")])
        return [] if method == "HEAD" else [b"hello"]

    site = Site()
    untouched = site.visit(shape=shape, REQUEST_METHOD=method, **{"test.use": look})
    assert (untouched.said, site.data) == ("", [])
    written = site.visit(shape=shape, REQUEST_METHOD=method, **{"test.use": write(a=1)})
    assert (written.said, written.all("Content-Length")) == ("set", ["5"])
    assert site.data == [{"a": 1}]


@pytest.mark.parametrize(
    "status", ["201 Created", "302 Found", "404 Not Found", "500 Internal Server Error"]
)
def test_the_status_makes_no_difference(status):
    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response(status, TEXT)
        return [b"page"]

    site = Site()
    response = site.visit(shape=shape)
    assert (response.status, response.body, response.said) == (status, b"page", "set")
    assert site.data == [{"a": 1}]


def test_these_tests_see_bad_manners():
    def shape(_environ, start_response):
        start_response("200 OK", TEXT)
        return ["text"]

    with pytest.raises(AssertionError):
        Site().visit(shape=shape)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_response_without_a_body_carries_the_cookie(status):
    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response(status, [])
        return []

    site = Site()
    response = serve(site.middleware, environ_of() | {"test.shape": shape})
    assert (response.status, response.said, response.body) == (status, "set", b"")
    assert not response.all("Content-Length")


@pytest.mark.parametrize("body", [[], (), iter(())])
def test_an_empty_body_still_commits(body):
    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", [*TEXT, ("Content-Length", "0")])
        return body

    site = Site()
    assert serve(site.middleware, environ_of() | {"test.shape": shape}).said == "set"
    assert site.data == [{"a": 1}]


def test_webtest_sees_a_head_request_like_a_get():
    def app(environ, start_response):
        environ[KEY]["n"] = environ[KEY].get("n", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"x"]

    store = MemoryStore()
    client = TestApp(SessionMiddleware(app, secret=SECRET, store=store))
    assert "Set-Cookie" in client.head("/").headers
    client.get("/")
    client.post("/", {"a": "b"})
    assert [record.data for _, record in store.records()] == [{"n": 3}]


def test_the_request_body_reaches_the_app():
    def app(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", TEXT)
        return [environ["wsgi.input"].read(3)]

    client = TestApp(SessionMiddleware(app, secret=SECRET, store=MemoryStore()))
    assert client.post("/", b"abc").body == b"abc"


def test_a_list_is_handed_to_the_server_as_it_is():
    body = [b"hello"]

    def app(_environ, start_response):
        start_response("200 OK", TEXT)
        return body

    middleware = SessionMiddleware(app, secret=SECRET, store=MemoryStore())
    assert middleware(environ_of(), lambda *_: None) is body


def test_a_file_is_handed_to_the_server_as_it_is():
    wrapped = FileWrapper(io.BytesIO(b"hello"))

    def app(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", TEXT)
        return wrapped

    store = MemoryStore()
    middleware = SessionMiddleware(app, secret=SECRET, store=store)
    environ = environ_of() | {"wsgi.file_wrapper": FileWrapper}
    assert middleware(environ, lambda *_: None) is wrapped
    assert len(store) == 1


def test_chunks_pass_as_they_come():
    steps = []

    def app(_environ, start_response):
        start_response("200 OK", TEXT)
        for number in range(3):
            steps.append(f"made {number}")  # a step at a time
            yield b"%d" % number

    middleware = SessionMiddleware(app, secret=SECRET, store=MemoryStore())
    for chunk in middleware(environ_of(), lambda *_: steps.append("headers")):
        step = f"got {chunk.decode()}"
        steps.append(step)
    assert steps == ["made 0", "headers", "got 0", "made 1", "got 1", "made 2", "got 2"]


def test_an_empty_first_chunk_is_passed_on_behind_the_commit():
    def shape(environ, start_response):
        start_response("200 OK", TEXT)
        environ[KEY]["a"] = 1
        yield b""
        yield b"hello"

    site = Site()
    sent = []
    body = iter(site.middleware(environ_of() | {"test.shape": shape}, lambda *a: sent.append(a)))
    assert (sent, site.data) == ([], [])
    assert next(body) == b""
    assert (len(sent), site.data) == (1, [{"a": 1}])
    assert list(body) == [b"hello"]


def test_a_slow_body_is_announced_with_its_first_chunk_and_moves_the_end():
    site = Site(rolling=True, cookie={"max_age": 100})
    site.visit(write(a=1))
    sent = []

    def shape(environ, start_response):
        start_response("200 OK", TEXT)
        yield b"first"
        sent.append("second made")
        yield b"second"

    ends = []
    for _ in range(2):
        site.clock.advance(10)
        environ = environ_of(HTTP_COOKIE=site.header) | {"test.shape": shape}
        body = site.middleware(environ, lambda _status, headers: sent.append(dict(headers)))
        while (chunk := next(body, None)) is not None:
            sent.append(chunk)
        headers, *steps = sent
        assert steps == [b"first", "second made", b"second"]
        ends.append(headers["Set-Cookie"].partition("Expires=")[2][:29])
        sent.clear()
    assert ends == ["Tue, 14 Nov 2023 22:15:10 GMT", "Tue, 14 Nov 2023 22:15:20 GMT"]


def test_what_was_done_before_write_is_committed_before_it_is_written():
    def shape(environ, start_response):
        send = start_response("200 OK", TEXT)
        environ[KEY]["a"] = 1
        assert site.data == []
        send(b"hello")
        return []

    def start_response(_status, headers):
        steps.append("Set-Cookie" in dict(headers))
        return lambda data: steps.append((data, site.data))

    site = Site()
    steps = []
    site.middleware(environ_of() | {"test.shape": shape}, start_response)
    assert steps == [True, (b"hello", [{"a": 1}])]


def test_an_error_is_let_go_once_the_server_was_told_of_it():
    """PEP 3333: no circular reference through the traceback."""
    errors = []

    def shape(_environ, start_response):
        try:
            raise Boom
        except Boom as error:
            errors.append(weakref.ref(error))
            start_response("500 Oops", TEXT, sys.exc_info())
        yield b"oops"
        yield b"!"

    told = []

    def start_response(_status, _headers, exc_info):
        told.append(exc_info[1] is errors[0]())

    body = iter(Site().middleware(environ_of() | {"test.shape": shape}, start_response))
    assert next(body) == b"oops"
    assert told == [True]
    assert errors[0]() is None


class Body:
    """An iterable that says when it is closed."""

    def __init__(self, *, fails: bool = False) -> None:
        self.closed = 0
        self.fails = fails

    def __iter__(self):
        yield b"hello"
        if self.fails:
            raise Boom

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("fails", [False, True])
def test_the_apps_iterable_is_closed_once(fails):
    body = Body(fails=fails)

    def app(_environ, start_response):
        start_response("200 OK", TEXT)
        return body

    middleware = SessionMiddleware(app, secret=SECRET, store=MemoryStore())
    served = middleware(environ_of(), lambda *_: None)
    if fails:
        with pytest.raises(Boom):
            list(served)
    served.close()
    served.close()
    assert body.closed == 1


def test_a_client_that_goes_away_early_costs_nothing_that_was_done():
    site = Site()
    served = site.middleware(environ_of() | {"test.shape": as_generator}, lambda *_: None)
    next(iter(served))
    served.close()
    assert site.data == [{"a": 1}]


def test_an_app_that_is_closed_before_its_first_chunk_has_done_nothing():
    site = Site()
    served = site.middleware(environ_of() | {"test.shape": as_generator}, lambda *_: None)
    served.close()
    assert site.data == []


def test_an_exception_before_the_first_chunk_commits_nothing():
    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", TEXT)
        raise Boom
        yield

    site = Site()
    sent = []
    with pytest.raises(Boom):
        list(site.middleware(environ_of() | {"test.shape": shape}, lambda *a: sent.append(a)))
    assert (sent, site.data) == ([], [])


def test_an_error_behind_the_headers_reaches_the_server():
    class Broken(Exception):
        pass

    def shape(_environ, start_response):
        start_response("200 OK", TEXT)
        yield b"hello"
        try:
            raise Broken
        except Broken:
            start_response("500 Oops", TEXT, sys.exc_info())

    site = Site()
    with pytest.raises(Broken):
        serve(site.middleware, environ_of() | {"test.shape": shape})


def test_calling_start_response_twice_is_the_servers_to_refuse():
    def shape(_environ, start_response):
        start_response("200 OK", TEXT)
        start_response("200 OK", TEXT)
        return [b"hello"]

    with pytest.raises(AssertionError, match="twice"):
        serve(Site().middleware, environ_of() | {"test.shape": shape})


def test_the_apps_own_cookies_stay_first_and_its_list_is_not_changed():
    headers = [*TEXT, ("Set-Cookie", "theme=dark"), ("Set-Cookie", "lang=en")]

    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", headers)
        return [b"hello"]

    response = serve(Site().middleware, environ_of() | {"test.shape": shape})
    names = [value.partition("=")[0] for value in response.all("Set-Cookie")]
    assert names == ["theme", "lang", COOKIE]
    assert headers == [*TEXT, ("Set-Cookie", "theme=dark"), ("Set-Cookie", "lang=en")]


def test_a_copied_environ_has_the_same_session():
    def shape(environ, start_response):
        copy = dict(environ)
        copy[KEY]["a"] = 1
        return hello(copy, start_response)

    site = Site()
    assert serve(site.middleware, environ_of() | {"test.shape": shape}).said == "set"
    assert site.data == [{"a": 1}]


def test_the_store_is_in_the_environ():
    seen = []

    def shape(environ, start_response):
        seen.append(environ["litesess.store"])
        return hello(environ, start_response)

    site = Site()
    serve(site.middleware, environ_of() | {"test.shape": shape})
    assert seen == [site.store]


@pytest.mark.parametrize(("unset", "left"), [("keep", [{"a": 1}]), ("destroy", [])])
@pytest.mark.parametrize("how", ["delete", "none"])
def test_a_session_taken_out_of_the_environ_is_kept_or_destroyed(unset, left, how):
    def shape(environ, start_response):
        environ[KEY]["a"] = 2
        if how == "delete":
            del environ[KEY]
        else:
            environ[KEY] = None
        return hello(environ, start_response)

    site = Site(unset=unset)
    site.visit(write(a=1))
    response = site.visit(shape=shape)
    assert response.said == ("" if unset == "keep" else "expired")
    assert site.data == left


@pytest.mark.parametrize(
    ("cookie_path", "script_name", "path_info", "is_inside"),
    [
        ("/", "", "", True),
        ("/", "", "/foo", True),
        ("/foo/bar", "", "/", False),
        ("/foo/bar", "", "/foo/bar", True),
        ("/foo/bar", "", "/foo/bar/baz", True),
        ("/foo/bar", "", "/foo/barista", False),
        ("/foo/bar", "/foo", "/bar", True),
        ("/foo/bar", "/foo", "/foo/bar", False),
        ("/admin/", "", "/admin/x", True),
        ("/admin/", "", "/admin", False),
        ("/caf\u00e9", "", "/caf\xc3\xa9/x", True),
    ],
)
def test_outside_the_cookies_path_there_is_no_session(
    cookie_path, script_name, path_info, is_inside
):
    """RFC 6265 section 5.1.4."""
    seen = []

    def app(environ, start_response):
        seen.append(KEY in environ)
        return hello(environ, start_response)

    middleware = SessionMiddleware(
        app, secret=SECRET, store=MemoryStore(), cookie={"path": cookie_path}
    )
    serve(middleware, environ_of(path_info, SCRIPT_NAME=script_name))
    assert seen == [is_inside]


def test_settings_by_a_function_are_asked_for_once_and_before_the_app():
    asked = []

    def settings(environ):
        asked.append(environ["PATH_INFO"])
        return {"path": environ["PATH_INFO"], "max_age": 60}

    site = Site(cookie=settings)
    response = site.visit(write(a=1), path="/test")
    assert (response.attributes["path"], response.attributes["max-age"]) == ("/test", "60")
    assert asked == ["/test"]
    site.visit(write(a=2), path="/test")
    assert asked == ["/test"] * 2
    assert site.data == [{"a": 2}]


def test_an_error_of_that_function_leaves_before_the_app_runs():
    def settings(_environ):
        raise Boom

    with pytest.raises(Boom):
        Site(cookie=settings).visit(write(a=1))
