"""Requests without a response: the server, or the app on its socket, has answered by itself.

That is how WebSockets are served: by gevent-websocket, and by Flask-Sock under gunicorn.
"""

from __future__ import annotations

import pytest

from tests.tools.apps import COOKIE, KEY, Site, environ_of, look, write


@pytest.fixture
def site(clock):
    site = Site(clock=clock)
    site.visit(write(user="ada"))
    return site


def as_a_list(environ, _start_response):
    environ["test.action"](environ[KEY])
    return []


def as_a_generator(environ, _start_response):
    environ["test.action"](environ[KEY])
    yield from ()


def as_gunicorn_is_told(environ, _start_response):
    environ["gunicorn.socket"] = object()
    environ["test.action"](environ[KEY])
    raise StopIteration


def connect(site, action, shape=as_a_list, cookie=None):
    """Serve a request as a server does that has answered already."""
    header = site.header if cookie is None else cookie
    environ = environ_of(HTTP_COOKIE=header) | {"test.action": action, "test.shape": shape}

    def start_response(*_arguments):
        raise AssertionError("a response was begun")

    try:
        body = site.middleware(environ, start_response)
    except StopIteration:
        return
    assert list(body) == []
    getattr(body, "close", lambda: None)()


SHAPES = [as_a_list, as_a_generator, as_gunicorn_is_told]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_to_a_stored_session_is_stored(site, shape):
    connect(site, write(last="hello"), shape)
    assert site.data == [{"user": "ada", "last": "hello"}]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_new_session_is_lost_and_that_is_logged(site, shape, caplog):
    connect(site, write(last="hello"), shape, cookie="")
    assert site.data == [{"user": "ada"}]
    assert "it is lost" in caplog.text


def test_one_that_fails_stores_nothing(site):
    def fail(session):
        session["last"] = "hello"
        raise StopIteration  # of a bug: no gunicorn is around

    with pytest.raises(StopIteration):
        site.middleware(
            environ_of(HTTP_COOKIE=site.header) | {"test.action": fail, "test.shape": as_a_list},
            lambda *_arguments: None,
        )
    assert site.data == [{"user": "ada"}]


def test_one_whose_body_nobody_reads_stores_nothing(site):
    environ = environ_of(HTTP_COOKIE=site.header)

    def shape(environ, _start_response):
        environ[KEY]["last"] = "hello"
        return iter(())

    environ |= {"test.action": None, "test.shape": shape}
    site.middleware(environ, lambda *_arguments: None).close()
    assert site.data == [{"user": "ada"}]


@pytest.mark.parametrize(
    "action", [lambda session: session.login("ada"), lambda session: session.rotate()]
)
def test_another_id_waits_for_the_next_request_that_can_be_told(site, action, caplog):
    before = site.cookie
    connect(site, lambda session: (session.update(last="hello"), action(session)))
    assert "another id" in caplog.text
    assert site.data == [{"user": "ada", "last": "hello"}]
    response = site.visit(look)
    assert response.value == {"user": "ada", "last": "hello"}
    assert (response.said, site.cookie == before) == ("set", False)
    assert site.visit(look, cookie=f"{COOKIE}={before}").value == {}


def test_a_session_that_is_cleared_ends_and_what_is_set_then_is_lost(site, caplog):
    connect(site, lambda session: session.clear())
    assert site.data == []
    assert caplog.records == []
    site.visit(write(user="bob"))
    connect(site, lambda session: (session.clear(), session.update(a=1)))
    assert site.data == []
    assert "it is lost" in caplog.text


def test_a_session_that_is_destroyed_is_gone(site):
    connect(site, lambda session: session.destroy())
    assert site.data == []


def test_one_that_only_looks_writes_nothing(site):
    site.store.calls.clear()
    connect(site, look)
    assert site.store.writes == {}


def test_a_value_that_cant_be_stored_is_logged(site, caplog):
    connect(site, lambda session: (session.login("ada"), session.update(bad=object())))
    assert "is lost" in caplog.text
    assert site.data == [{"user": "ada"}]
