"""Helpers of the Flask tests: an app with a store that can be watched, and its visitors."""

from __future__ import annotations

from flask import Flask

from litesess.integrations.flask import Litesess, session
from litesess.testing import FakeClock
from tests.tools.apps import SECRET, WatchedMemoryStore


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


def data(app):
    """Return the stored sessions' values, one dict per session."""
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


def only(app):
    """Return the only record there is."""
    ((_, record),) = app.store.records()
    return record
