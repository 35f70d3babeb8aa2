"""Bottle: a plugin that gives the session to each callback that has a parameter for it.

You wrap the app as any other, so that error pages, also for unknown paths, have sessions, too::

    app = Bottle()
    app.install(SessionPlugin())

    @app.get("/")
    def count(session):
        session["visits"] = session.get("visits", 0) + 1

    application = SessionMiddleware(app, ...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgenerator, signature
from typing import TYPE_CHECKING, Any, Final

from bottle import HTTPResponse, PluginError, request

from litesess.errors import ConfigError
from litesess.web import visit_of

if TYPE_CHECKING:
    from bottle import Bottle, Route

    from litesess.web import Session


class SessionPlugin:
    """A plugin of Bottle's (API 2)."""

    name: Final = "litesess"
    api: Final = 2

    def __init__(self, keyword: str = "session", environ_key: str = "litesess.session") -> None:
        """Take the name of the parameter.

        Args:
            keyword: the parameter's name.
            environ_key: where the middleware puts the session.
        """
        self.keyword = keyword
        self.environ_key = environ_key

    def setup(self, app: Bottle) -> None:
        """Install the plugin into *app*.

        Raises:
            PluginError: another session plugin has the same keyword.
        """
        for other in app.plugins:
            if isinstance(other, SessionPlugin) and other.keyword == self.keyword:
                raise PluginError(f"another session plugin has the keyword {self.keyword!r}")

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        """Return *callback*, given the session if it has the parameter.

        If the callback raises an exception that is no response, its changes to the session are
        discarded, although Bottle sends a page for the exception.
        """
        is_asked_for = self.keyword in signature(route.callback).parameters

        @wraps(callback)
        def with_session(*arguments: Any, **keywords: Any) -> Any:
            session: Session | None = request.environ.get(self.environ_key)
            if is_asked_for:
                keywords.setdefault(self.keyword, session)  # a wildcard of that name comes first
            if is_asked_for and keywords[self.keyword] is None:
                raise ConfigError(
                    f"no session is in the environ: wrap the app in SessionMiddleware, and serve"
                    f" only within its cookie's path (this is {request.path})"
                )
            if session is None:
                return callback(*arguments, **keywords)
            with _abandoned_by_errors(session):
                returned = callback(*arguments, **keywords)
            return _watched(session, returned) if isgenerator(returned) else returned

        return with_session


@contextmanager
def _abandoned_by_errors(session: Session) -> Iterator[None]:
    try:
        yield
    except HTTPResponse:
        raise
    except Exception:
        visit_of(session).is_abandoned = True
        raise


def _watched(session: Session, body: Iterator[Any]) -> Iterator[Any]:
    with _abandoned_by_errors(session):
        yield from body
