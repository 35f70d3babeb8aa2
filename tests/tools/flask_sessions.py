"""Real Flask-Session in a Flask app with Flask-Login, and the same app with litesess."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import flask_login
from cachelib.file import FileSystemCache
from flask import Flask
from flask.testing import FlaskClient
from flask_session import Session

from litesess.flask_session.names import key_of_name, names_of
from tests.tools.apps import SECRET


class User(flask_login.UserMixin):
    """A user, known by name."""

    def __init__(self, name: str) -> None:
        self.id = name


def shop(**config: Any) -> Flask:
    """Return an app with logins by Flask-Login; nothing keeps its sessions yet."""
    app = Flask("shop")
    app.config.update({"SECRET_KEY": SECRET, **config})
    flask_login.LoginManager(app).user_loader(User)
    routes: dict[str, Callable[..., Any]] = {
        "/login/<name>": lambda name: str(flask_login.login_user(User(name))),
        "/logout": lambda: str(flask_login.logout_user()),
        "/me": lambda: flask_login.current_user.get_id() or "nobody",
        "/set/<key>/<value>": lambda key, value: flask.session.update({key: value}) or "set",
        "/look": lambda: dict(flask.session),
    }
    for rule, view in routes.items():
        app.add_url_rule(rule, rule, view)
    return app


class FlaskSessionSite:
    """The app as it was with Flask-Session.

    Attributes:
        app: the app.
        directory: of the files.
    """

    def __init__(
        self, directory: Path, hash_method: Callable[..., Any] = hashlib.sha256, **config: Any
    ) -> None:
        self.directory = directory
        self.app = shop(SESSION_TYPE="cachelib", **config)
        self.app.config.setdefault(
            "SESSION_CACHELIB", FileSystemCache(str(directory), hash_method=hash_method)
        )
        with warnings.catch_warnings():
            # Of the signer, and of the type "filesystem".
            warnings.simplefilter("ignore", DeprecationWarning)
            Session(self.app)

    def log_in(self, name: str) -> FlaskClient:
        """Return a browser in which a user is logged in."""
        client = self.app.test_client()
        client.get(f"/login/{name}")
        return client

    def keep(self, **values: Any) -> FlaskClient:
        """Return a browser with a session of these values."""
        client = self.app.test_client()
        with client.session_transaction() as session:
            session.update(values)
        return client

    @property
    def files(self) -> list[Path]:
        """The files of sessions that are not imported."""
        counts = names_of("__wz_cache_count")
        return sorted(
            path
            for path in self.directory.iterdir()
            if path.name not in counts and not path.name.endswith(".imported")
        )


def cookie_of(client: FlaskClient) -> str:
    """Return the value of the session cookie in a browser."""
    cookie = client.get_cookie("session")
    assert cookie is not None
    return cookie.value


def key_of_client(client: FlaskClient, number: int = 0) -> str:
    """Return the key under which a browser's session is imported; *number*: that of the hash."""
    session_id = cookie_of(client).partition(".")[0]
    return key_of_name(names_of(f"session:{session_id}")[number])


def browser(app: Flask, cookie: str, **options: Any) -> FlaskClient:
    """Return a browser of *app* that has the session cookie of another."""
    client = app.test_client()
    client.set_cookie("session", cookie, **options)
    return client
