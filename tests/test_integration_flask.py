"""Flask apps whose sessions are kept by the extension: everyday apps first, then odd ones."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading

import flask
import pytest
from apps import OLD_SECRET, SECRET, Boom, WatchedMemoryStore
from flask import Flask, abort, flash, get_flashed_messages, redirect, stream_with_context
from flask.sessions import SessionMixin
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
    user_logged_in,
    user_logged_out,
)
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFProtect, generate_csrf
from wtforms import StringField

from litesess import (
    ConfigError,
    CookieSettings,
    EncodeError,
    HeadersSent,
    MemoryStore,
    Session,
    SessionGone,
    SessionMiddleware,
    StoreFailed,
)
from litesess.ids import handle_of
from litesess.integrations.flask import Litesess, session
from litesess.manager import ManagerOptions
from litesess.options import rows
from litesess.stores.wal import WALOptions
from litesess.testing import FakeClock


def make_app(store=None, **config):
    """Return an app with a store that can be watched."""
    app = Flask("shop")
    clock = config.setdefault("LITESESS_CLOCK", FakeClock())
    if "LITESESS_PATH" not in config:
        config.setdefault("LITESESS_STORE", store or WatchedMemoryStore(clock=clock))
    app.config.update({"SECRET_KEY": SECRET, **config})
    app.extension = Litesess(app)
    app.store = app.extension.store
    app.clock = clock
    app.add_url_rule("/", "/", lambda: "hello")
    app.add_url_rule("/look", "/look", lambda: dict(session))
    app.add_url_rule(
        "/set/<key>/<value>",
        "/set/<key>/<value>",
        lambda key, value: session.update({key: value}) or "set",
    )
    app.add_url_rule("/clear", "/clear", lambda: session.clear() or "cleared")
    return app


@pytest.fixture
def app():
    return make_app()


@pytest.fixture
def client(app):
    return app.test_client()


def data(app):
    """Return what is stored, one dict per session."""
    return [record.data for _, record in app.store.records()]


def said(response, name="session"):
    """Return the attributes of the session cookie that a response sets, by lower-case name."""
    ours = [item for item in response.headers.getlist("Set-Cookie") if item.startswith(f"{name}=")]
    assert len(ours) <= 1
    if not ours:
        return None
    first, *parts = ours[0].split("; ")
    return {"value": first.partition("=")[2]} | {
        key.lower(): value for key, _, value in (part.partition("=") for part in parts)
    }


def copy_of(client):
    """Return a client that has the same cookies: another tab."""
    other = client.application.test_client()
    cookie = client.get_cookie("session")
    other.set_cookie("session", cookie.value)
    return other


# The session object.


def test_a_session_is_kept_from_one_request_to_the_next(app, client):
    assert client.get("/set/a/1").text == "set"
    assert client.get("/look").json == {"a": "1"}
    assert app.test_client().get("/look").json == {}
    assert data(app) == [{"a": "1"}]


def test_it_is_a_session_of_flasks_and_of_ours(app):
    with app.test_request_context():
        held = flask.session._get_current_object()
        assert isinstance(held, SessionMixin)
        assert isinstance(held, Session)
        assert session._get_current_object() is held
        assert (held.new, held.modified, held.permanent) == (True, False, False)
        held["a"] = {"b": []}
        assert held.modified
        held["a"]["b"].append(1)
        assert flask.session["a"] == {"b": [1]}


def test_changes_in_place_are_noticed(app, client):
    @app.route("/nest")
    def nest():
        session.setdefault("cart", {"items": []})["items"].append("bread")
        return str(session.modified)

    client.get("/set/a/1")
    client.get("/nest")
    assert client.get("/nest").text == "True"
    assert client.get("/look").json == {"a": "1", "cart": {"items": ["bread", "bread"]}}


def test_saying_that_it_was_modified_prolongs_it_and_is_not_needed(app, client):
    @app.route("/say/<word>")
    def say(word):
        flask.session.modified = word == "yes"
        return str(flask.session.modified)

    assert said(client.get("/say/yes")) is None
    assert data(app) == []
    client.get("/set/a/1")
    app.clock.advance(1)
    app.store.calls.clear()
    assert client.get("/say/no").text == "False"
    assert app.store.writes == {}
    assert client.get("/say/yes").text == "False"
    assert app.store.writes == {"touch": 1}


def test_typed_values_come_back(app, client):
    value = (datetime.date(2026, 1, 31), b"\x00", {"a"})

    @app.route("/typed")
    def typed():
        before = session.get("typed")
        session["typed"] = value
        return "same" if before == value else "first"

    assert [client.get("/typed").text for _ in range(2)] == ["first", "same"]


def test_a_value_that_cant_be_stored_is_an_error_and_nothing_is_stored(app, client):
    @app.route("/bad")
    def bad():
        session["fine"] = 1
        session["cart"] = [object()]
        return "bad"

    response = client.get("/bad")
    assert (response.status_code, said(response), data(app)) == (500, None, [])
    app.testing = True
    with pytest.raises(EncodeError, match=r"cart\[0\]"):
        client.get("/bad")


# Laziness.


@pytest.mark.parametrize("config", [{}, {"SESSION_REFRESH_EACH_REQUEST": True}])
def test_a_view_that_does_not_look_costs_nothing(config):
    app = make_app(**config)
    client = app.test_client()
    with client.session_transaction() as held:
        held["a"] = 1
        held.permanent = True
    app.store.calls.clear()
    response = client.get("/")
    assert not app.store.calls
    assert "Vary" not in response.headers
    assert said(response) is None
    client.set_cookie("session", "forged")
    assert client.get("/").text == "hello"
    assert not app.store.calls


def test_a_visitor_whose_session_was_not_written_gets_none(app, client):
    response = client.get("/look")
    assert said(response) is None
    assert response.headers["Vary"] == "Cookie"
    assert data(app) == []


def test_the_store_is_opened_by_the_first_request_that_needs_it(tmp_path):
    app = make_app(LITESESS_PATH=str(tmp_path / "data"))
    client = app.test_client()
    client.get("/")
    client.get("/look")
    assert not (tmp_path / "data").exists()
    client.get("/set/a/1")
    assert (tmp_path / "data").exists()
    app.extension.close()


def test_a_template_that_names_the_session_is_no_hindrance_to_rolling():
    app = make_app(LITESESS_ROLLING=True)
    app.add_url_rule(
        "/page",
        "/page",
        lambda: flask.render_template_string("{{ 1 }}{% if false %}{{ session }}{% endif %}"),
    )
    app.add_url_rule("/hold", "/hold", lambda: str(bool(flask.session._get_current_object) or ""))
    client = app.test_client()
    client.get("/set/a/1")
    assert said(client.get("/page")) is not None
    assert said(client.get("/hold")) is not None
    assert said(client.get("/")) is not None


# Emptied means destroyed.


def test_a_session_that_is_cleared_is_destroyed(app, client):
    client.get("/set/a/1")
    response = client.get("/clear")
    assert said(response)["max-age"] == "0"
    assert response.headers["Cache-Control"] == "no-store"
    assert data(app) == []
    assert client.get("/look").json == {}


def test_a_session_whose_last_value_is_taken_out_is_destroyed(app, client):
    @app.route("/pop")
    def pop():
        return session.pop("a")

    client.get("/set/a/1")
    assert said(client.get("/pop"))["max-age"] == "0"
    assert data(app) == []


def test_an_emptied_session_that_another_request_has_filled_is_kept(app, client):
    @app.route("/pop")
    def pop():
        value = session.pop("a")
        copy_of(client).get("/set/b/2")
        return value

    client.get("/set/a/1")
    assert said(client.get("/pop")) is None
    assert data(app) == [{"b": "2"}]


def test_a_session_that_is_cleared_and_filled_again_is_kept(app, client):
    @app.route("/anew")
    def anew():
        session.clear()
        session["b"] = 2
        return "anew"

    client.get("/set/a/1")
    client.get("/anew")
    assert data(app) == [{"b": 2}]


def test_a_login_outlives_its_last_message_and_ends_when_it_is_cleared(app, client):
    @app.route("/login")
    def login():
        session.clear()
        session.owner = "ada"
        return "in"

    app.add_url_rule("/pop", "/pop", lambda: session.pop("a", ""))
    client.get("/set/a/1")
    client.get("/login")
    client.get("/set/a/1")
    client.get("/pop")
    assert [record.owner for _, record in app.store.records()] == ["ada"]
    client.get("/clear")
    assert data(app) == []


def test_clearing_what_was_never_stored_says_nothing(app, client):
    assert said(client.get("/clear")) is None
    assert app.store.writes == {}


def test_a_store_that_cant_delete_is_an_error(app, client):
    client.get("/set/a/1")
    app.store.failing["delete"] = StoreFailed("no")
    assert client.get("/clear").status_code == 500
    del app.store.failing["delete"]
    assert data(app) == [{"a": "1"}]


# Login and logout.


@pytest.fixture
def members(app):
    """An app where users log in and out."""

    @app.route("/login/<name>")
    def login(name):
        session.owner = name
        session["name"] = name
        return redirect("/me")

    @app.route("/me")
    def me():
        return session.get("name", "nobody")

    @app.route("/logout")
    def logout():
        session.destroy()
        return redirect("/me")

    return app


def test_a_login_gives_another_id_and_a_logout_ends_it(members):
    client = members.test_client()
    client.get("/set/cart/bread")
    before = client.get_cookie("session").value
    assert client.get("/login/ada", follow_redirects=True).text == "ada"
    assert client.get_cookie("session").value != before
    assert client.get("/look").json == {"name": "ada", "cart": "bread"}
    thief = members.test_client()
    thief.set_cookie("session", before)
    assert thief.get("/me").text == "nobody"
    cookie = client.get_cookie("session").value
    assert client.get("/logout", follow_redirects=True).text == "nobody"
    thief.set_cookie("session", cookie)
    assert thief.get("/me").text == "nobody"
    assert data(members) == []


@pytest.mark.parametrize("way", ["/logout", "/clear"])
def test_a_slow_request_that_began_before_the_logout_brings_nothing_back(members, way):
    client = members.test_client()

    @members.route("/slow")
    def slow():
        session["seen"] = session["name"]
        assert copy_of(client).get(way).status_code in (200, 302)
        return "slow"

    client.get("/login/ada")
    response = client.get("/slow")
    assert (response.text, said(response), data(members)) == ("slow", None, [])


def test_what_is_written_to_a_destroyed_session_is_refused(members):
    @members.route("/late")
    def late():
        session.destroy()
        session["a"] = 1
        return "late"

    members.testing = True
    client = members.test_client()
    client.get("/login/ada")
    with pytest.raises(SessionGone):
        client.get("/late")


def test_two_overlapping_requests_that_change_different_keys_both_win(app, client):
    @app.route("/first")
    def first():
        session["first"] = 1
        del session["a"]
        copy_of(client).get("/set/second/2")
        return "first"

    client.get("/set/a/1")
    client.get("/first")
    assert data(app) == [{"first": 1, "second": "2"}]


def test_threads_of_one_visitor_lose_nothing(tmp_path):
    app = make_app(LITESESS_PATH=str(tmp_path / "data"), LITESESS_DURABLE=False)
    client = app.test_client()
    client.get("/set/begin/1")
    tabs = [copy_of(client) for _ in range(8)]

    def visit(tab, name):
        for number in range(5):
            assert tab.get(f"/set/{name}{number}/{number}").status_code == 200

    threads = [
        threading.Thread(target=visit, args=(tab, name))
        for tab, name in zip(tabs, "abcdefgh", strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client.get("/look").json) == 41
    app.extension.close()


# What becomes of a request that fails.


@pytest.fixture
def failing(app, client):
    """An app whose views fail in every way there is."""
    app.register_error_handler(KeyError, lambda _error: ("handled", 409))
    app.register_error_handler(500, lambda _error: (session.update(sorry=1) or "sorry", 500))

    @app.route("/boom")
    def boom():
        session["half"] = "done"
        raise Boom

    @app.route("/handled")
    def handled():
        session["half"] = "done"
        raise KeyError

    @app.route("/abort/<int:code>")
    def aborted(code):
        session["aborted"] = code
        abort(code)

    @app.route("/away")
    def away():
        session["away"] = True
        abort(redirect("/look"))

    client.get("/set/a/1")
    return app


def test_an_exception_that_nobody_handles_commits_nothing_nor_does_its_page(failing, client):
    response = client.get("/boom")
    assert (response.status_code, response.text, said(response)) == (500, "sorry", None)
    assert response.headers["Vary"] == "Cookie"
    assert data(failing) == [{"a": "1"}]
    client.get("/set/b/2")
    assert data(failing) == [{"a": "1", "b": "2"}]


def test_nor_does_one_that_is_raised_on(failing, client):
    failing.testing = True
    with pytest.raises(Boom):
        client.get("/boom")
    assert data(failing) == [{"a": "1"}]


def test_an_exception_that_the_app_handles_commits(failing, client):
    assert client.get("/handled").status_code == 409
    assert data(failing) == [{"a": "1", "half": "done"}]


def test_an_abort_and_a_raised_redirect_commit(failing, client):
    assert client.get("/abort/403").status_code == 403
    assert client.get("/away").status_code == 302
    assert data(failing) == [{"a": "1", "aborted": 403, "away": True}]


def test_what_is_found_nowhere_has_a_session_too(app, client):
    @app.errorhandler(404)
    def lost(_error):
        session["lost"] = session.get("lost", 0) + 1
        return f"lost {session['lost']}", 404

    assert [client.get("/nowhere").text for _ in range(2)] == ["lost 1", "lost 2"]


def test_a_store_that_fails_is_an_error_and_the_next_request_is_served(app, client):
    client.get("/set/a/1")
    app.store.failing["update"] = StoreFailed("no")
    assert client.get("/set/b/2").status_code == 500
    del app.store.failing["update"]
    assert client.get("/set/c/3").status_code == 200
    assert data(app) == [{"a": "1", "c": "3"}]


def test_a_failure_behind_the_commit_still_announces_it(app, client):
    def fail(_app, response):
        raise Boom

    client.get("/")
    with flask.request_finished.connected_to(fail, app):
        response = client.get("/set/a/1")
    assert response.status_code == 500
    assert client.get("/look").json == {"a": "1"}


# Around the view.


def test_the_session_is_there_before_and_after_the_view_and_for_blueprints(app, client):
    shop = flask.Blueprint("basket", __name__, url_prefix="/basket")

    @app.before_request
    def before():
        session["before"] = session.get("before", 0) + 1

    @app.after_request
    def after(response):
        session["after"] = response.status_code
        return response

    @shop.before_request
    def count():
        session["count"] = session.get("count", 0) + 1

    shop.add_url_rule("/", "basket", lambda: str(session["count"]))
    app.register_blueprint(shop)
    assert [client.get("/basket/").text for _ in range(2)] == ["1", "2"]
    client.get("/nowhere")
    assert data(app) == [{"before": 3, "after": 404, "count": 2}]


def test_what_a_teardown_changes_is_committed_and_what_cant_be_announced_is_refused(app, client):
    raised = []

    @app.teardown_request
    def teardown(_error):
        try:
            session["torn"] = session.get("a")
        except HeadersSent as error:
            raised.append(error)

    client.get("/look").close()
    assert (len(raised), data(app)) == (1, [])
    client.get("/set/a/1").close()
    assert data(app) == [{"a": "1", "torn": "1"}]


def test_a_teardown_that_empties_destroys_and_a_store_that_fails_then_is_logged(
    app, client, caplog
):
    app.teardown_request(lambda _error: session.clear())
    with client.session_transaction() as held:
        held["a"] = 1
    app.store.failing["delete"] = StoreFailed("no")
    client.get("/look").close()
    assert "not destroyed" in caplog.text
    del app.store.failing["delete"]
    with client.session_transaction() as held:
        held["a"] = 1
    client.get("/look").close()
    assert data(app) == []


def test_flashed_messages_are_shown_once(app, client):
    @app.route("/flash")
    def put():
        flash("saved")
        flash("beware", "warning")
        return redirect("/messages")

    @app.route("/messages")
    def show():
        return [list(message) for message in get_flashed_messages(with_categories=True)]

    response = client.get("/flash", follow_redirects=True)
    assert response.json == [["message", "saved"], ["warning", "beware"]]
    assert client.get("/messages").json == []
    assert data(app) == []  # nothing is left to keep


def test_other_headers_stay_as_the_view_set_them(app, client):
    @app.route("/headers")
    def headers():
        session["a"] = 1
        response = flask.make_response("x")
        response.set_cookie("other", "1")
        response.headers.add("X-Two", "1")
        response.headers.add("X-Two", "2")
        response.vary.add("Accept")
        response.cache_control.public = True
        response.cache_control.max_age = 60
        return response

    response = client.get("/headers")
    assert response.headers.getlist("X-Two") == ["1", "2"]
    assert response.headers.getlist("Vary") == ["Accept, Cookie"]
    assert response.headers.getlist("Cache-Control") == ["no-store"]
    assert len(response.headers.getlist("Set-Cookie")) == 2
    assert response.headers["Content-Length"] == "1"


# Streams.


@pytest.fixture
def streaming(app):
    """An app whose views go on while their response is sent."""

    @app.route("/stream")
    def stream():
        @stream_with_context
        def body():
            yield "one "
            session["streamed"] = session.get("streamed", 0) + 1
            yield "two"

        return body()

    @app.route("/broken")
    def broken():
        session["before"] = 1

        @stream_with_context
        def body():
            yield "one "
            session["streamed"] = 1
            raise Boom

        return body()

    return app


def test_what_a_stream_changes_is_committed_at_its_end(streaming, client):
    client.get("/set/a/1")
    assert client.get("/stream").text == "one two"
    with client.get("/stream", buffered=True) as response:
        assert response.text == "one two"
    assert data(streaming) == [{"a": "1", "streamed": 2}]


def test_a_new_session_behind_the_headers_is_refused(streaming, client):
    with pytest.raises(HeadersSent):
        client.get("/stream").get_data()
    assert data(streaming) == []


def test_a_stream_that_fails_commits_nothing_behind_the_headers(streaming, client):
    client.get("/set/a/1")
    response = client.get("/broken")
    with pytest.raises(Boom):
        response.get_data()
    response.close()
    assert data(streaming) == [{"a": "1", "before": 1}]


def test_a_stream_that_the_client_leaves_is_committed_as_far_as_it_came(streaming, client):
    client.get("/set/a/1")
    response = client.get("/stream", buffered=False)
    items = iter(response.response)
    next(items)
    next(items)
    response.close()
    assert data(streaming) == [{"a": "1", "streamed": 1}]


def test_a_stream_is_closed_though_nobody_reads_it(app, client):
    closed = []

    class Body:
        def __iter__(self):
            yield "never"

        def close(self):
            closed.append(True)

    app.add_url_rule("/body", "/body", lambda: app.response_class(Body()))
    client.head("/body").close()
    client.get("/body", buffered=True).close()
    assert len(closed) >= 2


def test_a_file_is_sent_as_ever(app, client, tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")

    @app.route("/file")
    def file():
        session["file"] = 1
        return flask.send_file(tmp_path / "file", conditional=True)

    with client.get("/file", headers={"Range": "bytes=2-4"}) as response:
        assert (response.status_code, response.data) == (206, b"234")
    assert data(app) == [{"file": 1}]


# What Flask's tests use.


def test_a_session_transaction_reads_and_writes(app, client):
    with client.session_transaction() as held:
        assert held.new
        held["a"] = 1
    with client.session_transaction() as held:
        assert (held["a"], held.new) == (1, False)
        held["a"] = 2
    assert client.get("/look").json == {"a": 2}
    with client.session_transaction() as held:
        held.clear()
    assert data(app) == []


def test_a_transaction_that_raises_stores_nothing(app, client):
    with pytest.raises(Boom), client.session_transaction() as held:
        held["a"] = 1
        raise Boom
    assert data(app) == []


def test_the_session_stays_to_be_looked_at_while_the_client_is_entered(app, client):
    with client:
        client.get("/set/a/1")
        assert flask.session["a"] == "1"


def test_a_request_context_has_a_session_that_is_stored_only_by_a_response(app):
    with app.test_request_context():
        flask.session["a"] = 1
        assert flask.session["a"] == 1
        assert data(app) == []
        response = app.process_response(app.response_class())
        assert said(response) is not None
    assert data(app) == [{"a": 1}]


# Permanent sessions.


@pytest.fixture
def lasting():
    """An app where a session may be permanent, for an hour."""
    app = make_app(PERMANENT_SESSION_LIFETIME=3600)

    @app.route("/stay/<word>")
    def stay(word):
        flask.session.permanent = word == "yes"
        flask.session["word"] = word
        return "stays"

    return app


def only(app):
    """Return the only record there is."""
    ((_, record),) = app.store.records()
    return record


def test_a_permanent_session_lives_as_long_as_the_config_says(lasting):
    client = lasting.test_client()
    assert said(client.get("/stay/yes"))["max-age"] == "3600"
    assert only(lasting).expires_at == lasting.clock() + 3600
    lasting.permanent_session_lifetime = datetime.timedelta(days=2)
    lasting.clock.advance(600)
    assert said(client.get("/set/a/1"))["max-age"] == "172800"
    assert only(lasting).expires_at == lasting.clock() + 172_800
    lasting.clock.advance(172_800)
    assert client.get("/look").json == {}


def test_one_that_is_not_ends_with_the_browser(lasting):
    client = lasting.test_client()
    assert "max-age" not in said(client.get("/stay/no"))
    assert only(lasting).expires_at == lasting.clock() + lasting.store.ttl


def test_it_may_become_so_and_cease_to_be(lasting):
    client = lasting.test_client()
    client.get("/stay/no")
    assert said(client.get("/stay/yes"))["max-age"] == "3600"
    assert "max-age" not in said(client.get("/stay/no"))
    assert said(client.get("/look")) is None


def test_a_permanent_session_is_announced_by_each_request_that_looks_at_it(lasting):
    client = lasting.test_client()
    client.get("/stay/yes")
    lasting.clock.advance(600)
    response = client.get("/look")
    assert said(response)["max-age"] == "3600"
    assert response.headers["Cache-Control"] == "private"
    assert only(lasting).expires_at == lasting.clock() + 3600


def test_unless_the_config_says_that_it_is_not(lasting):
    lasting.config["SESSION_REFRESH_EACH_REQUEST"] = False
    client = lasting.test_client()
    client.get("/stay/yes")
    assert said(client.get("/look")) is None
    assert said(client.get("/set/a/1"))["max-age"] == "3600"


def test_an_app_that_makes_every_session_permanent_begins_none_for_that_alone(lasting):
    @lasting.before_request
    def make_permanent():
        flask.session.permanent = True

    client = lasting.test_client()
    assert said(client.get("/")) is None
    assert data(lasting) == []
    assert said(client.get("/set/a/1"))["max-age"] == "3600"
    assert data(lasting) == [{"a": "1", "_permanent": True}]
    assert said(client.get("/clear"))["max-age"] == "0"
    assert data(lasting) == []
    client.get("/set/a/1")
    assert data(lasting) == [{"a": "1", "_permanent": True}]


def test_its_own_life_outweighs_the_configs(lasting):
    @lasting.route("/own")
    def own():
        session["own"] = session.permanent = True
        session.cookie.max_age = 60
        return "own"

    client = lasting.test_client()
    assert said(client.get("/own"))["max-age"] == "60"
    assert said(client.get("/look"))["max-age"] == "60"


def test_an_overlapping_login_keeps_a_permanent_sessions_life(lasting):
    client = lasting.test_client()

    @lasting.route("/slow")
    def slow():
        session["slow"] = 1
        with copy_of(client).session_transaction() as held:
            held.cookie.max_age = 7200
        return "slow"

    client.get("/stay/yes")
    client.get("/slow")
    assert only(lasting).expires_at == lasting.clock() + 7200


# The config.


@pytest.mark.parametrize(
    ("config", "attribute", "value"),
    [
        ({}, "path", "/"),
        ({}, "httponly", ""),
        ({}, "secure", None),
        ({}, "samesite", None),
        ({}, "domain", None),
        ({"SESSION_COOKIE_DOMAIN": "example.com"}, "domain", "example.com"),
        ({"SESSION_COOKIE_DOMAIN": False}, "domain", None),
        ({"SESSION_COOKIE_PATH": "/shop"}, "path", "/shop"),
        ({"APPLICATION_ROOT": "/root"}, "path", "/root"),
        ({"SESSION_COOKIE_HTTPONLY": False}, "httponly", None),
        ({"SESSION_COOKIE_SECURE": True}, "secure", ""),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, "samesite", "Strict"),
        ({"SESSION_COOKIE_SAMESITE": "Lax"}, "samesite", "Lax"),
        (
            {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True},
            "samesite",
            "None",
        ),
        (
            {"SESSION_COOKIE_PARTITIONED": True, "SESSION_COOKIE_SECURE": True},
            "partitioned",
            "",
        ),
        ({"LITESESS_COOKIE": {"max_age": "60"}}, "max-age", "60"),
        ({"LITESESS_COOKIE": {"priority": "high"}}, "priority", "High"),
        ({"LITESESS_COOKIE": {"samesite": "strict"}}, "httponly", ""),
        ({"LITESESS_COOKIE": CookieSettings(path="/own")}, "path", "/own"),
        ({"LITESESS_COOKIE": lambda _environ: {"path": "/made"}}, "path", "/made"),
    ],
)
def test_the_cookies_attributes_are_those_of_the_config(config, attribute, value):
    client = make_app(**config).test_client()
    assert said(client.get("/set/a/1", base_url="http://example.com/")).get(attribute) == value


def test_a_secure_cookie_is_sent_though_a_proxy_says_nothing_of_https():
    app = make_app(SESSION_COOKIE_SECURE=True)
    client = app.test_client()
    client.get("/set/a/1")
    assert client.get("/look").json == {"a": "1"}


@pytest.mark.parametrize("key", ["SESSION_COOKIE_NAME", "LITESESS_COOKIE_NAME"])
def test_the_cookies_name_is_that_of_the_config(key):
    client = make_app(**{key: "sid"}).test_client()
    assert said(client.get("/set/a/1"), "sid") is not None
    assert client.get("/look").json == {"a": "1"}


def test_a_session_is_there_outside_the_cookies_path_too():
    app = make_app(SESSION_COOKIE_PATH="/shop")
    response = app.test_client().get("/set/a/1")
    assert said(response)["path"] == "/shop"


def test_a_former_secret_verifies_and_the_present_one_signs():
    store = MemoryStore()
    before = make_app(store, SECRET_KEY=OLD_SECRET, LITESESS_CLOCK=store.clock).test_client()
    old = said(before.get("/set/a/1"))["value"]
    after = make_app(store, SECRET_KEY_FALLBACKS=[OLD_SECRET], LITESESS_CLOCK=store.clock)
    client = after.test_client()
    client.set_cookie("session", old)
    response = client.get("/look")
    assert response.json == {"a": "1"}
    new = said(response)["value"]
    assert new != old
    alone = make_app(store, LITESESS_CLOCK=store.clock).test_client()
    alone.set_cookie("session", new)
    assert alone.get("/look").json == {"a": "1"}
    alone.set_cookie("session", old)
    assert alone.get("/look").json == {}


def test_a_secret_of_its_own_takes_the_place_of_flasks():
    store = MemoryStore()
    first = make_app(store, LITESESS_SECRET=OLD_SECRET, LITESESS_CLOCK=store.clock).test_client()
    value = said(first.get("/set/a/1"))["value"]
    second = make_app(store, SECRET_KEY=OLD_SECRET, LITESESS_CLOCK=store.clock).test_client()
    second.set_cookie("session", value)
    assert second.get("/look").json == {"a": "1"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "dev"}, "SECRET_KEY has 3 bytes, needs 16"),
        ({"SECRET_KEY": "changeme-changeme-1"}, "SECRET_KEY is a placeholder"),
        ({"SECRET_KEY_FALLBACKS": ["short"]}, "SECRET_KEY_FALLBACKS has 5 bytes"),
        ({"LITESESS_SECRET": "short"}, "LITESESS_SECRET has 5 bytes"),
        (
            {"LITESESS_ABSOLUT_TIMEOUT": 5},
            r"'LITESESS_ABSOLUT_TIMEOUT'; did you mean 'LITESESS_ABSOLUTE_TIMEOUT'",
        ),
        (
            {"LITESESS_PFAD": "x"},
            "unknown config key 'LITESESS_PFAD'; did you mean 'LITESESS_PATH'",
        ),
        ({"LITESESS_STORE": None}, "LITESESS_PATH is not set"),
        ({"LITESESS_STORE": "memory"}, "LITESESS_STORE is of type str, not a Store"),
        ({"LITESESS_TTL": 60}, "LITESESS_STORE is a store; LITESESS_TTL is for"),
        ({"LITESESS_STORE": None, "LITESESS_PATH": 1}, "LITESESS_PATH: path is of type int"),
        ({"LITESESS_STORE": None, "LITESESS_PATH": "x", "LITESESS_TTL": 0}, "LITESESS_TTL 0 s"),
        ({"LITESESS_ROLLING": "maybe"}, "LITESESS_ROLLING 'maybe' is not True or False"),
        ({"LITESESS_COOKIE": {"max_ag": 5}}, "LITESESS_COOKIE: unknown cookie option 'max_ag'"),
        ({"LITESESS_COOKIE": 5}, "LITESESS_COOKIE: cookie is of type int"),
        ({"SESSION_COOKIE_SAMESITE": "never"}, "SESSION_COOKIE_SAMESITE 'never' is not"),
        ({"SESSION_COOKIE_SAMESITE": "None"}, r"SESSION_COOKIE_\*: cookie samesite 'none' needs"),
        ({"SESSION_COOKIE_SECURE": 1}, "SESSION_COOKIE_SECURE 1 is not True, False"),
        ({"SESSION_COOKIE_NAME": "a b"}, "SESSION_COOKIE_NAME: cookie_name 'a b'"),
        ({"SESSION_COOKIE_NAME": None}, "SESSION_COOKIE_NAME is of type NoneType"),
        (
            {"LITESESS_COOKIE_NAME": "__Host-x"},
            "LITESESS_COOKIE_NAME: cookie_name '__Host-x' needs",
        ),
    ],
)
def test_a_config_that_cant_be_meant_is_refused_under_the_keys_name(config, message):
    with pytest.raises(ConfigError, match=message):
        make_app(**config)


def test_a_short_secret_is_warned_of_once_under_the_keys_name(caplog):
    make_app(SECRET_KEY=SECRET[:20])
    assert [record.getMessage()[:32] for record in caplog.records] == [
        "SECRET_KEY has 20 bytes, better "
    ]


def test_every_option_of_the_store_and_of_the_middleware_is_a_key(tmp_path):
    defaults = {
        f"LITESESS_{name.upper()}": item.default
        for cls in (ManagerOptions, WALOptions)
        for name, item in cls.__dataclass_fields__.items()
        if f"LITESESS_{name.upper()}" not in {"LITESESS_SECRET", "LITESESS_STORE"}
    }
    assert len(defaults) == len([*rows(ManagerOptions), *rows(WALOptions)]) - 3
    app = make_app(LITESESS_PATH=tmp_path / "data", **defaults)
    app.test_client().get("/set/a/1")
    assert data(app) == [{"a": "1"}]
    app.extension.close()


def test_options_may_be_text_as_an_environment_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASK_LITESESS_TTL", "60")
    monkeypatch.setenv("FLASK_LITESESS_PATH", str(tmp_path / "data"))
    monkeypatch.setenv("FLASK_LITESESS_GC_INTERVAL", "none")
    monkeypatch.setenv("FLASK_LITESESS_DURABLE", "off")
    app = Flask("shop")
    app.config["SECRET_KEY"] = SECRET
    app.config.from_prefixed_env()
    store = Litesess(app).store
    assert (store.ttl, store.gc_interval, store.path) == (60, None, str(tmp_path / "data"))


def test_a_key_encrypts_what_is_stored(tmp_path):
    app = make_app(LITESESS_PATH=tmp_path / "data", LITESESS_ENCRYPTION_KEY=bytes(range(32)))
    app.test_client().get("/set/needle/haystack")
    assert data(app) == [{"needle": "haystack"}]
    app.extension.close()
    files = [path.read_bytes() for path in (tmp_path / "data").iterdir()]
    assert not any(b"haystack" in content for content in files)


def test_a_session_taken_out_of_the_environ_is_destroyed_if_the_config_says_so():
    app = make_app(LITESESS_UNSET="destroy", LITESESS_ENVIRON_KEY="kept")

    @app.route("/unset")
    def unset():
        assert flask.request.environ["kept"]["a"] == "1"
        assert flask.request.environ["litesess.store"] is app.store
        del flask.request.environ["kept"]
        return "unset"

    client = app.test_client()
    client.get("/set/a/1")
    assert said(client.get("/unset"))["max-age"] == "0"
    assert data(app) == []


def test_an_event_is_told_and_the_client_known():
    told = []
    app = make_app(
        LITESESS_ON_EVENT=lambda event: told.append(event.name), LITESESS_CLIENT_INFO=True
    )
    client = app.test_client()
    client.get("/set/a/1", headers={"User-Agent": "Mosaic"})
    assert told == ["created"]
    assert only(app).client == {"user_agent": "Mosaic", "address": "127.0.0.1"}


# Several apps.


def test_one_extension_serves_several_apps_each_with_its_own_store():
    extension = Litesess()

    def create(name):
        app = Flask(name)
        app.config.update(SECRET_KEY=SECRET, LITESESS_STORE=MemoryStore())
        extension.init_app(app)
        app.add_url_rule(
            "/set/<value>", "/set/<value>", lambda value: session.update(a=value) or "set"
        )
        app.add_url_rule("/look", "/look", lambda: dict(session))
        app.add_url_rule("/boom", "/boom", lambda: session.update(a="boom") or 1 / 0)
        return app

    first, second = create("first"), create("second")
    one, two = first.test_client(), second.test_client()
    one.get("/set/1")
    two.get("/set/2")
    assert (one.get("/look").json, two.get("/look").json) == ({"a": "1"}, {"a": "2"})
    assert one.get("/boom").status_code == 500
    assert one.get("/look").json == {"a": "1"}
    with first.app_context():
        assert extension.store is first.config["LITESESS_STORE"]
    with second.app_context():
        assert extension.store is second.config["LITESESS_STORE"]
    with pytest.raises(RuntimeError, match="application context"):
        assert extension.store
    extension.close()


def test_two_apps_of_a_factory_may_share_a_directory(tmp_path):
    clock = FakeClock()
    first, second = (
        make_app(LITESESS_PATH=tmp_path / "data", LITESESS_CLOCK=clock) for _ in range(2)
    )
    client, other = first.test_client(), second.test_client()
    client.get("/set/a/1")
    other.set_cookie("session", client.get_cookie("session").value)
    assert other.get("/look").json == {"a": "1"}
    other.get("/clear")
    assert client.get("/look").json == {}
    first.extension.close()
    second.extension.close()


def test_a_middleware_of_ours_around_the_app_keeps_its_own_session():
    app = make_app()
    store = MemoryStore()
    app.wsgi_app = SessionMiddleware(app.wsgi_app, secret=SECRET, store=store, unset="destroy")

    @app.route("/both")
    def both():
        flask.request.environ["litesess.session"]["outer"] = 1
        session["inner"] = 1
        return "both"

    client = app.test_client()
    response = client.get("/both")
    assert said(response) is not None
    assert said(response, "litesess.sid") is not None
    assert client.get("/look").json == {"inner": 1}
    assert [record.data for _, record in store.records()] == [{"outer": 1}]


def test_importing_litesess_imports_no_framework():
    names = {"bottle", "click", "flask", "pyramid", "werkzeug"}
    code = f"import sys, litesess; print(sorted({names} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Other extensions.


class User(UserMixin):
    """Whoever gives a name."""

    def __init__(self, name):
        self.id = name


@pytest.fixture(params=[False, True], ids=["as it is", "with owners"])
def club(app, request):
    """An app with Flask-Login; with owners, as docs/flask.rst shows."""
    manager = LoginManager(app)
    manager.login_view = "enter"
    manager.user_loader(User)

    @app.route("/enter")
    @app.route("/enter/<name>")
    def enter(name="nobody"):
        login_user(User(name), remember="remember" in flask.request.args)
        return redirect("/club")

    @app.route("/club")
    @login_required
    def inside():
        return current_user.id

    @app.route("/leave")
    def leave():
        logout_user()
        return "left"

    if request.param:

        def own(_app, user, **_):
            session.owner = user.get_id()

        def disown(_app, **_):
            session.owner = None

        user_logged_in.connect(own, app, weak=False)
        user_logged_out.connect(disown, app, weak=False)
        app.has_owners = True
    else:
        app.has_owners = False
    return app


def test_flask_login_lets_a_user_in_and_out(club):
    client = club.test_client()
    assert client.get("/club").status_code == 302
    assert client.get("/enter/ada", follow_redirects=True).text == "ada"
    assert client.get("/club").text == "ada"
    assert len(club.store.find("ada")) == club.has_owners
    stolen = copy_of(client)
    assert client.get("/leave").text == "left"
    assert client.get("/club").status_code == 302
    assert stolen.get("/club").status_code == 302
    assert not any("_user_id" in held for held in data(club))


def test_flask_login_remembers_and_forgets(club):
    client = club.test_client()
    client.get("/enter/ada?remember=1")
    client.delete_cookie("session")
    assert client.get("/club").text == "ada"
    client.get("/leave")
    assert client.get_cookie("remember_token") is None
    assert client.get("/club").status_code == 302


def test_a_slow_request_keeps_nobody_in_flask_login(club):
    client = club.test_client()

    @club.route("/slow")
    def slow():
        session["seen"] = current_user.id
        copy_of(client).get("/leave")
        return "slow"

    client.get("/enter/ada")
    client.get("/slow")
    assert client.get("/club").status_code == 302


def test_flask_wtf_accepts_a_form_with_its_token_and_no_other(app, client):
    CSRFProtect(app)

    class Form(FlaskForm):
        name = StringField()

    @app.route("/form", methods=["GET", "POST"])
    def form():
        made = Form()
        return f"hello {made.name.data}" if made.validate_on_submit() else generate_csrf()

    token = client.get("/form").text
    fields = {"csrf_token": token, "name": "ada"}
    assert client.post("/form", data=fields).text == "hello ada"
    assert client.post("/form", data=fields | {"csrf_token": "forged"}).status_code == 400
    assert app.test_client().post("/form", data=fields).status_code == 400
    assert copy_of(client).post("/form", data=fields).text == "hello ada"


# Commands.


@pytest.fixture
def operator(tmp_path):
    """A client, and what runs ``flask litesess`` beside it."""
    app = make_app(LITESESS_PATH=tmp_path / "data", LITESESS_TTL=100)

    @app.route("/login/<name>")
    def login(name):
        session.owner = name
        return session.handle

    run = app.test_cli_runner()
    app.run = lambda *words: run.invoke(args=["litesess", *words])
    yield app
    app.extension.close()


def test_the_operator_sees_what_there_is(operator):
    operator.test_client().get("/set/a/1")
    shown = operator.run("stats").output.splitlines()
    assert "live 1" in shown
    assert "expired 0" in shown
    assert operator.run("verify").exit_code == 0


def test_the_operator_collects_and_compacts(operator):
    operator.test_client().get("/set/a/1")
    operator.clock.advance(100)
    assert operator.run("gc").output == "1 expired sessions deleted\n"
    assert operator.run("compact").output == "compacted\n"


def test_the_operator_revokes(operator):
    clients = [operator.test_client() for _ in range(4)]
    handles = [
        client.get(f"/login/{name}").text for client, name in zip(clients, "aabc", strict=True)
    ]
    assert operator.run("revoke", "--owner", "a").output == "2 sessions revoked\n"
    assert operator.run("revoke", handles[2]).exit_code == 0
    stored = [handle_of(key) for key, _ in operator.store.records()]
    assert len(stored) == 1
    missing = operator.run("revoke", "0123456789abcdef")
    assert (missing.exit_code, "no session has the handle" in missing.output) == (1, True)
    assert operator.run("revoke", "--all").exit_code == 0
    assert data(operator) == []
    for words in ([], ["--all", "--owner", "a"]):
        assert operator.run("revoke", *words).exit_code == 2


def test_what_a_store_cant_do_ends_the_command(app, operator):
    run = app.test_cli_runner()
    for word in ("stats", "verify"):
        assert "is not a WALStore" in run.invoke(args=["litesess", word]).output
    operator.store.close()
    closed = operator.run("gc")
    assert closed.exit_code == 1
    assert closed.output.startswith("Error: ")
