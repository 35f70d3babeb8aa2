"""Flask responses that are one object for many requests: a constant, or what lru_cache has kept."""

from __future__ import annotations

import gc
import threading
import weakref
from functools import lru_cache

import flask
import pytest
from flask import Response

from litesess.integrations.flask import FlaskSession, session
from tests.tools.apps import Browser
from tests.tools.flask_apps import data, make_app, said


@pytest.fixture
def app():
    return make_app(PERMANENT_SESSION_LIFETIME=3600)


@pytest.fixture
def shared(app):
    """A response object that all views return."""
    ok = Response("ok")

    @app.route("/ok")
    def just():
        return ok

    @app.route("/in/<name>")
    def enter(name):
        session["user"] = name
        session.permanent = True
        return ok

    @app.route("/read")
    def read():
        ok.set_data(session.get("user", "nobody"))
        return ok

    @app.route("/out")
    def leave():
        session.clear()
        return ok

    return ok


def size(response):
    """Return how much a response holds."""
    return len(response.headers), len(response._on_close), len(vars(response))


def test_it_does_not_grow_and_keeps_no_session(app, shared):
    held = []

    @app.after_request
    def hold(response):
        held.append(weakref.ref(flask.session._get_current_object()))
        return response

    client = app.test_client()
    for path in ("/ok", "/read", "/in/ada", "/read"):
        client.get(path)
    before = size(shared)
    for path in ("/ok", "/read", "/in/bob", "/out") * 5:
        client.get(path)
    assert size(shared) == before
    gc.collect()
    assert [each for each in held if each() is not None] == []


def test_requests_that_do_not_look_at_their_session_leave_it_as_it_was(app, shared):
    client = app.test_client()
    before = size(shared), [*shared.headers]
    for _ in range(3):
        client.get("/ok")
    assert (size(shared), [*shared.headers]) == before


@pytest.mark.parametrize("path", ["/ok", "/read"])
def test_no_visitor_gets_the_cookie_of_another(app, shared, path):
    ada, stranger = app.test_client(), app.test_client()
    assert said(ada.get("/in/ada")) is not None
    response = stranger.get(path)
    assert said(response) is None
    assert response.text == ("ok" if path == "/ok" else "nobody")
    assert stranger.get("/read").text == "nobody"
    assert ada.get("/read").text == "ada"


def test_each_visitor_gets_a_cookie_of_their_own(app, shared):
    names = ["ada", "bob", "eve"]
    clients = [app.test_client() for _ in names]
    for client, name in zip(clients, names, strict=True):
        assert said(client.get(f"/in/{name}"))["max-age"] == "3600"
    for client, name in zip(clients, names, strict=True):
        assert client.get("/read").text == name
    assert len(data(app)) == 3


def test_nobody_is_logged_out_by_the_logout_of_another(app, shared):
    ada, bob = app.test_client(), app.test_client()
    ada.get("/in/ada")
    bob.get("/in/bob")
    assert said(ada.get("/out"))["max-age"] == "0"
    assert said(bob.get("/ok")) is None
    assert bob.get("/read").text == "bob"


def test_a_response_that_lru_cache_keeps_is_one_of_these(app):
    @lru_cache
    def page():
        return Response("page")

    @app.route("/page")
    def view():
        session.setdefault("seen", 1)
        return page()

    first, second = app.test_client(), app.test_client()
    cookies = {said(client.get("/page"))["value"] for client in (first, second)}
    assert len(cookies) == 2
    assert said(first.get("/page")) is None


def test_a_session_cookie_in_a_copied_header_is_taken_out(app):
    kept = []

    @app.route("/copied")
    def view():
        return Response("copied", headers=kept)

    client = app.test_client()
    kept += [
        ("Set-Cookie", value) for value in client.get("/set/a/1").headers.getlist("Set-Cookie")
    ]
    kept.append(("Set-Cookie", "other=1"))
    response = app.test_client().get("/copied")
    assert response.headers.getlist("Set-Cookie") == ["other=1"]


def test_a_cookie_of_that_name_that_the_view_deletes_itself_stays(app):
    @app.route("/delete")
    def view():
        response = flask.make_response("deleted")
        response.delete_cookie("session")
        return response

    assert said(app.test_client().get("/delete"))["max-age"] == "0"


def test_threads_get_no_cookie_of_each_other(app, shared):
    for path in ("/in/ada", "/in/ada"):
        app.test_client().get(path)
    wrong = []

    def visit(name):
        for _ in range(20):
            browser = Browser(app)
            browser.get(f"/in/{name}")
            held = {record.data["user"] for _, record in app.store.records()}
            assert name in held
            value = browser.cookies["session"]
            with app.test_request_context(headers={"Cookie": f"session={value}"}):
                if flask.session.get("user") != name:
                    wrong.append(name)

    threads = [threading.Thread(target=visit, args=(name,)) for name in ("ada", "bob", "eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_shared_stream_does_not_grow_and_commits_each_time(app):
    class Body:
        def __iter__(self):
            yield "one "
            session["n"] = session.get("n", 0) + 1
            yield "two"

    body = Body()
    stream = Response(body)

    @app.route("/stream")
    def view():
        stream.response = flask.stream_with_context(iter(body))
        return stream

    client = app.test_client()
    client.get("/set/a/1")
    for _ in range(3):
        assert client.get("/stream").text == "one two"
    assert data(app) == [{"a": "1", "n": 3}]


def test_a_body_that_can_be_read_again_is_left_as_it_was(app):
    class Body:
        def __iter__(self):
            yield from ("one ", "two")

    body = Body()
    stream = Response(body)
    app.add_url_rule("/stream", "/stream", lambda: stream)
    for _ in range(3):
        with app.test_client().get("/stream") as response:
            assert response.text == "one two"
        assert stream.response is body
    assert size(stream) == (1, 0, len(vars(Response(body))))


# Attributes.


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("onwer", "did you mean 'owner'"),
        ("permanant", "'permanent'"),
        ("user", "session\\['user'\\]"),
    ],
)
def test_an_attribute_that_a_session_has_not_cant_be_set(app, name, hint):
    with app.test_request_context(), pytest.raises(AttributeError, match=hint):
        setattr(session, name, "ada")


def test_those_that_flask_has_can(app):
    with app.test_request_context():
        for name in ("permanent", "modified", "accessed", "new"):
            setattr(flask.session, name, True)
        assert (flask.session.permanent, flask.session.accessed) == (True, True)
        flask.session.owner = "ada"
        assert type(flask.session._get_current_object()) is FlaskSession
