"""Flask: an extension that keeps the app's sessions in litesess.

::

    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ["SESSION_SECRET"]
    app.config["LITESESS_PATH"] = "data"
    Litesess(app)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast
from weakref import WeakSet

import flask
from flask.signals import got_request_exception, request_tearing_down

from litesess.integrations.flask.commands import commands
from litesess.integrations.flask.config import options_of
from litesess.integrations.flask.interface import LitesessInterface
from litesess.integrations.flask.leftovers import warn_of_leftovers
from litesess.integrations.flask.session import FlaskManager, FlaskSession, FlaskVisit
from litesess.integrations.flask.signals import send_signals

if TYPE_CHECKING:
    from flask import Flask

    from litesess.stores.base import Store

__all__ = ["FlaskManager", "FlaskSession", "FlaskVisit", "Litesess", "session"]

#: ``flask.session`` with its type under litesess, for type checkers.
session = cast("FlaskSession", flask.session)


class Litesess:
    """The extension; one instance can serve any number of apps, each with a store of its own."""

    #: Opens the sessions of an app.
    manager_class: ClassVar[type[FlaskManager]] = FlaskManager

    def __init__(self, app: Flask | None = None) -> None:
        """Keep the sessions of *app*; None: pass your apps to :meth:`init_app` later.

        Raises:
            ConfigError: as :meth:`init_app` does.
        """
        self._app = app
        self._managers: WeakSet[FlaskManager] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Keep the sessions of *app*, as its config says; the store is not opened yet.

        Raises:
            ConfigError: a key is unknown, missing or wrong, or two contradict each other.
        """
        manager = self.manager_class(app, *options_of(app))
        warn_of_leftovers(app.config, manager.used_keys)
        interface = LitesessInterface(manager)
        app.session_interface = interface
        app.extensions["litesess"] = manager
        app.cli.add_command(commands)
        got_request_exception.connect(interface.start_over, app)
        request_tearing_down.connect(interface.tear_down, app)
        send_signals(manager.store)
        self._managers.add(manager)

    @property
    def store(self) -> Store:
        """The store of the current app, or of the app that the constructor was given.

        Raises:
            RuntimeError: there is no app context, and none was given to the constructor.
        """
        app = self._app
        if flask.has_app_context() or app is None:
            app = flask.current_app
        manager: FlaskManager = app.extensions["litesess"]
        return manager.store

    def close(self) -> None:
        """Close the stores.  Again is harmless; nothing acknowledged depends on it."""
        for manager in self._managers:
            manager.close()
