"""Text that is more than text: markup, and translations that are made when they are shown."""

from __future__ import annotations

import pytest
from flask import flash, get_flashed_messages, redirect, render_template_string
from flask_babel import Babel, lazy_gettext
from flask_login import LoginManager, login_required
from markupsafe import Markup

from litesess import codec
from litesess.integrations.flask import session
from tests.tools.flask_apps import data, make_app


@pytest.fixture
def app():
    app = make_app()
    Babel(app)

    @app.route("/messages")
    def messages():
        return render_template_string("{{ get_flashed_messages() | join('|') }}")

    @app.route("/value")
    def value():
        return type(session["value"]).__name__

    return app


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (Markup("press <b>play</b>"), "press <b>play</b>"),
        ("press <b>play</b>", "press &lt;b&gt;play&lt;/b&gt;"),
        (lazy_gettext("Saved"), "Saved"),
        (lazy_gettext("1 < 2"), "1 &lt; 2"),
    ],
)
def test_a_message_is_shown_as_it_was_meant(app, message, shown):
    @app.route("/flash")
    def put():
        flash(message)
        return redirect("/messages")

    assert app.test_client().get("/flash", follow_redirects=True).text == shown


def test_markup_comes_back_as_markup_and_unread_is_no_change(app):
    nested = {"list": [Markup("<i>"), "<i>"], "tuple": (Markup("a"),)}
    app.add_url_rule(
        "/put", "/put", lambda: session.update(value=Markup("<b>"), nested=nested) or ""
    )
    app.add_url_rule("/all", "/all", lambda: repr(dict(session)))
    client = app.test_client()
    client.get("/put")
    assert client.get("/value").text == "Markup"
    app.store.calls.clear()
    assert client.get("/all").text == repr({"value": Markup("<b>"), "nested": nested})
    assert app.store.writes == {}


def test_what_has_html_is_stored_as_its_text(app):
    class Shown:
        def __html__(self):
            return "<b>shown</b>"

    app.add_url_rule("/put", "/put", lambda: session.update(value=Shown(), errors=[Shown()]) or "")
    client = app.test_client()
    client.get("/put")
    assert client.get("/value").text == "str"
    assert data(app) == [{"value": "<b>shown</b>", "errors": ["<b>shown</b>"]}]


def test_flask_logins_message_may_be_a_lazy_translation(app):
    manager = LoginManager(app)
    manager.login_view = "messages"
    manager.login_message = lazy_gettext("Please log in")
    manager.user_loader(lambda _name: None)
    app.add_url_rule("/private", "/private", login_required(lambda: "private"))
    client = app.test_client()
    assert client.get("/private", follow_redirects=True).text == "Please log in"


def test_a_lazy_message_can_be_read_in_the_same_request(app):
    @app.route("/both")
    def both():
        flash(lazy_gettext("Saved"))
        return "|".join(map(str, get_flashed_messages()))

    assert app.test_client().get("/both").text == "Saved"


def test_without_markupsafe_markup_is_plain_text(monkeypatch):
    frame = codec.encode(Markup("<b>"), "key")
    assert frame == b'{"~markup":"<b>"}'
    monkeypatch.delitem(__import__("sys").modules, "markupsafe")
    assert type(codec.decode(frame)) is str


def test_a_frame_of_markup_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="malformed tag"):
        codec.decode(b'{"~markup":5}')
