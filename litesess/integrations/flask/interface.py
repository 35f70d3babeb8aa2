"""Flask's session interface: opened without a look, committed into the response's headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import has_request_context, request
from flask.sessions import SessionInterface, SessionMixin

from litesess.integrations.flask.session import FlaskManager, FlaskSession
from litesess.web import REFUSED, STORE_KEY, visit_of

if TYPE_CHECKING:
    from flask import Flask, Request, Response

#: Where a request's session is found again, whatever the app does with its environ.
_IN_HAND: Final = "litesess.flask"


class LitesessInterface(SessionInterface):
    """Keeps the sessions of one app."""

    def __init__(self, manager: FlaskManager) -> None:
        self.manager = manager

    def open_session(self, _app: Flask, request: Request) -> FlaskSession:
        """Return the session of a request; nothing is parsed or loaded yet.

        Unlike a middleware's it is there on every path: the cookie's is the browser's business.
        """
        manager, environ = self.manager, request.environ
        session = manager.open_anywhere(environ)
        assert isinstance(session, FlaskSession)
        environ[_IN_HAND] = session
        if isinstance(environ.get(manager.environ_key, session), FlaskSession):
            environ[manager.environ_key] = session
            environ[STORE_KEY] = manager.store
        return session

    def save_session(self, _app: Flask, session: SessionMixin, response: Response) -> None:
        """Commit the session; add what it needs to the response's headers.

        Raises:
            EncodeError: a value can't be stored; nothing is.
            StoreError: the store can't work.
        """
        assert isinstance(session, FlaskSession)  # it was opened above
        visit = visit_of(session)
        if visit.excuses(response.status_code):  # the app's page, or Flask's
            response.status = HTTPStatus.SERVICE_UNAVAILABLE
            response.headers.update(REFUSED)
        visit.heed(response.status_code)
        cookies = visit.commit(is_unset=self._is_unset(session))
        headers = [*response.headers]
        decorated = visit.decorate(headers, cookies)
        if decorated is not headers:
            response.headers.clear()
            response.headers.extend(decorated)
        finish = partial(self._finish, session)
        if response.is_streamed and not response.direct_passthrough:
            response.response = _Stream(response.response, session, finish)
        # When the body is closed: behind teardown functions, too.
        response.call_on_close(finish)

    def abandon(self, _app: object, **_signal: Any) -> None:
        """Keep nothing of what a request did whose exception nobody handles."""
        session = request.environ.get(_IN_HAND) if has_request_context() else None
        # What was committed before, for another response, is to be announced in this one.
        if isinstance(session, FlaskSession) and not visit_of(session).is_late:
            visit_of(session).is_abandoned = True

    def _finish(self, session: FlaskSession) -> None:
        visit_of(session).finish_late(is_unset=self._is_unset(session))

    def _is_unset(self, session: FlaskSession) -> bool:
        return visit_of(session).environ.get(self.manager.environ_key) is None


class _Stream:
    """A body that is made while it is sent: committed at its end, unless it fails."""

    def __init__(
        self,
        body: Iterable[str] | Iterable[bytes],
        session: FlaskSession,
        finish: Callable[[], object],
    ) -> None:
        self._body = body
        self._session = session
        self._finish = finish
        self._items: Iterator[Any] | None = None

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Any:
        try:
            if self._items is None:
                self._items = iter(self._body)
            return next(self._items)
        except StopIteration:
            # Before the client can know that it has all of it.
            self._finish()
            raise
        except BaseException:
            visit_of(self._session).is_abandoned = True
            raise

    def close(self) -> None:
        """Close the app's body."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
