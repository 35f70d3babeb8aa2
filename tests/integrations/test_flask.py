"""Flask apps whose sessions are kept by the extension: what requests do to them."""

from __future__ import annotations

import datetime
import threading

import blinker
import flask
import pytest
from flask import abort, flash, get_flashed_messages, redirect, stream_with_context
from flask.sessions import SessionMixin

from litesess import (
    EncodeError,
    HeadersSent,
    Session,
    SessionGone,
    StoreFailed,
)
from litesess.integrations.flask import FlaskSession, session
from tests.tools.apps import Boom, Browser
from tests.tools.flask_apps import copy_of, data, make_app, said


@pytest.fixture
def app():
    return make_app()


@pytest.fixture
def client(app):
    return app.test_client()


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


def test_a_view_that_only_takes_the_session_into_its_hands_is_no_hindrance_to_rolling():
    app = make_app(LITESESS_ROLLING=True)
    app.add_url_rule("/hold", "/hold", lambda: type(flask.session._get_current_object()).__name__)
    client = app.test_client()
    assert said(client.get("/hold")) is None
    client.get("/set/a/1")
    assert said(client.get("/hold")) is not None
    assert said(client.get("/")) is not None


def test_a_visitors_session_is_stored_if_the_config_wants_it():
    app = make_app(LITESESS_SAVE_UNINITIALIZED=True)
    client = app.test_client()
    assert said(client.get("/")) is not None
    with app.test_client().session_transaction() as held:
        held.permanent = True
    assert data(app) == [{}, {"_permanent": True}]


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


def test_a_session_that_begins_anew_is_kept_though_it_is_empty(app, client):
    app.add_url_rule("/anew", "/anew", lambda: session.regenerate() or "anew")
    client.get("/set/a/1")
    before = client.get_cookie("session").value
    client.get("/anew")
    assert client.get_cookie("session").value != before
    assert data(app) == [{}]


def test_a_store_that_is_asked_whether_others_have_filled_it_may_say_that_it_is_gone(app, client):
    @app.route("/pop")
    def pop():
        value = session.pop("a")
        copy_of(client).get("/clear")
        return value

    client.get("/set/a/1")
    assert said(client.get("/pop")) is None
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


def test_a_logout_that_clears_and_leaves_a_message_leaves_nobody_logged_in(members):
    @members.route("/bye")
    def bye():
        session.clear()
        flash("bye")
        return str(session.owner)

    client = members.test_client()
    client.get("/login/ada")
    stolen = copy_of(client)
    assert client.get("/bye").text == "None"
    assert [(record.owner, record.data) for _, record in members.store.records()] == [
        (None, {"_flashes": [("message", "bye")]})
    ]
    assert stolen.get("/look").json == {}


def test_a_login_that_clears_first_belongs_to_who_logged_in(members):
    @members.route("/again/<name>")
    def again(name):
        session.clear()
        session.owner = name
        return "in"

    client = members.test_client()
    client.get("/login/ada")
    for name in ("ada", "bob"):
        client.get(f"/again/{name}")
        assert [record.owner for _, record in members.store.records()] == [name]


def test_a_logout_in_a_teardown_ends_the_session_though_it_cant_be_announced(members):
    @members.teardown_request
    def teardown(_error):
        if flask.request.path == "/look":
            session.clear()

    client = members.test_client()
    client.get("/login/ada")
    client.get("/look").close()
    assert data(members) == []


def test_clearing_within_atomic_takes_the_owner_from_what_is_set_then(members):
    def anew(held):
        held.clear()
        held["b"] = 2

    members.add_url_rule("/anew", "/anew", lambda: session.atomic(anew) or "")
    members.add_url_rule("/none", "/none", lambda: session.atomic(FlaskSession.clear) or "")
    client = members.test_client()
    client.get("/login/ada")
    client.get("/anew")
    assert [(record.owner, record.data) for _, record in members.store.records()] == [
        (None, {"b": 2})
    ]
    client.get("/none")
    assert data(members) == []


def test_what_is_written_to_a_destroyed_session_is_refused(members):
    @members.route("/late")
    def late():
        session.destroy()
        session["a"] = 1
        return "late"

    @members.route("/end")
    def end():
        session.destroy()
        flask.session.modified = True  # says nothing of a session that is gone
        return str(session.new)

    members.testing = True
    client = members.test_client()
    client.get("/login/ada")
    assert client.get("/end").text == "True"
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


def test_an_exception_that_nobody_handles_keeps_what_its_page_did_and_nothing_else(failing, client):
    response = client.get("/boom")
    assert (response.status_code, response.text, said(response)) == (500, "sorry", None)
    assert response.headers["Vary"] == "Cookie"
    assert data(failing) == [{"a": "1", "sorry": 1}]
    client.get("/set/b/2")
    assert data(failing) == [{"a": "1", "sorry": 1, "b": "2"}]


@pytest.mark.parametrize("known", [False, True])
def test_a_message_of_a_500_handler_that_redirects_is_shown(app, known):
    @app.route("/boom")
    def boom():
        session.login("mallory")
        session["half"] = flash("done") or object()
        raise Boom

    @app.errorhandler(500)
    def sorry(_error):
        flash("sorry")
        return redirect("/messages")

    app.add_url_rule("/messages", "/messages", lambda: get_flashed_messages())
    client = app.test_client()
    if known:
        client.get("/set/a/1")
    assert client.get("/boom", follow_redirects=True).json == ["sorry"]
    assert [(record.owner, record.data) for _, record in app.store.records()] == (
        [(None, {"a": "1"})] if known else []
    )


def test_a_page_that_cant_be_stored_may_be_answered_by_a_500_handler_with_a_message(app, client):
    app.register_error_handler(500, lambda _error: (flash("sorry") or "sorry", 500))
    app.add_url_rule("/bad", "/bad", lambda: session.update(bad=object()) or "bad")
    assert client.get("/bad").text == "sorry"
    assert data(app) == [{"_flashes": [("message", "sorry")]}]


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
    app.teardown_request(lambda _error: session.pop("a", None))
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


def test_strict_servers_have_nothing_to_complain_of(streaming):
    browser = Browser(streaming)
    assert browser.get("/set/a/1").body == b"set"
    assert browser.get("/stream").body == b"one two"
    assert browser.get("/look", REQUEST_METHOD="HEAD").body == b""
    assert data(streaming) == [{"a": "1", "streamed": 1}]
    assert browser.get("/clear").status == "200 OK"
    assert browser.cookies == {}


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


# Signals.


@pytest.fixture
def heard():
    """Return what the signal of a new session has told."""
    told = []

    def hear(sender, event):
        told.append((sender, event.name))

    signal = blinker.signal("litesess.created")
    signal.connect(hear)
    yield told
    signal.disconnect(hear)


def test_events_are_signals(heard):
    app = make_app()
    app.test_client().get("/set/a/1")
    assert heard == [(app.store, "created")]


def test_a_store_that_two_apps_share_sends_each_event_once(heard):
    app = make_app()
    make_app(store=app.store)
    app.test_client().get("/set/a/1")
    assert heard == [(app.store, "created")]


def test_a_receiver_that_fails_is_logged_and_harms_nothing(caplog):
    def fail(sender, event):
        raise RuntimeError("out of order")

    signal = blinker.signal("litesess.created")
    app = make_app()
    with signal.connected_to(fail):
        assert app.test_client().get("/set/a/1").text == "set"
    assert data(app) == [{"a": "1"}]
    assert "a listener failed at created" in caplog.text


def test_a_signal_without_a_receiver_is_not_heard_and_one_with_is(heard):
    app = make_app()
    assert app.store.is_heard("created")
    assert not app.store.is_heard("expired")
