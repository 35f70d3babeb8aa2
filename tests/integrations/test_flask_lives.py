"""Flask: how long a session lives after the config was changed."""

from __future__ import annotations

import pytest
from flask import session

from litesess import ConfigError
from tests.tools.apps import WatchedMemoryStore
from tests.tools.flask_apps import make_app

DAY, HOUR = 86_400.0, 3600.0


def app_of(store, clock, *, lifetime, ttl):
    """Return the app as it is after a restart with another config."""
    store.ttl = ttl
    app = make_app(store, LITESESS_CLOCK=clock, PERMANENT_SESSION_LIFETIME=lifetime)

    @app.get("/begin/<int:is_permanent>")
    def begin(is_permanent):
        session.permanent = bool(is_permanent)
        session["a"] = 1
        return ""

    return app


@pytest.mark.parametrize(
    ("is_permanent", "lifetime", "ttl", "lives"),
    [
        (True, HOUR, 30 * DAY, False),
        (True, 30 * DAY, HOUR, True),
        (False, HOUR, 30 * DAY, True),
        (False, 30 * DAY, HOUR, False),
    ],
)
def test_a_shorter_life_holds_for_the_sessions_that_have_it(
    clock, is_permanent, lifetime, ttl, lives
):
    store = WatchedMemoryStore(clock=clock)
    before = app_of(store, clock, lifetime=30 * DAY, ttl=30 * DAY).test_client()
    before.get(f"/begin/{is_permanent:d}")
    client = app_of(store, clock, lifetime=lifetime, ttl=ttl).test_client()
    client.set_cookie("session", before.get_cookie("session").value)
    clock.advance(HOUR)
    assert ("a" in client.get("/look").json) == lives


def test_a_lifetime_of_zero_is_refused_by_its_name():
    with pytest.raises(ConfigError, match="PERMANENT_SESSION_LIFETIME"):
        make_app(PERMANENT_SESSION_LIFETIME=0)
