"""Flask's session interface: opened without a look, committed into the response's headers."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import has_request_context, request
from flask.sessions import SessionInterface, SessionMixin

from litesess.integrations.flask.responses import IN_HAND, Stream, announce, leave
from litesess.integrations.flask.session import FlaskManager, FlaskSession
from litesess.web import REFUSED, STORE_KEY, Status, visit_of

if TYPE_CHECKING:
    from flask import Flask, Request, Response

#: The key in the environ that marks a request with a streamed response.
_STREAMS: Final = "litesess.flask.streams"


class LitesessInterface(SessionInterface):
    """Keeps the sessions of one app."""

    def __init__(self, manager: FlaskManager) -> None:
        self.manager = manager

    def open_session(self, _app: Flask, request: Request) -> FlaskSession:
        """Return the session of a request; nothing is parsed or loaded yet.

        Unlike a middleware's session it exists on every path: the browser heeds the cookie's path.
        """
        manager, environ = self.manager, request.environ
        session = manager.open_anywhere(environ)
        assert isinstance(session, FlaskSession)
        environ[IN_HAND] = session
        if isinstance(environ.get(manager.environ_key, session), FlaskSession):
            environ[manager.environ_key] = session
            environ[STORE_KEY] = manager.store
        return session

    def save_session(self, _app: Flask, session: SessionMixin, response: Response) -> None:
        """Commit the session and add its headers to the response.

        Raises:
            EncodeError: a value can't be stored; nothing is.
            StoreError: the store can't work.
        """
        assert isinstance(session, FlaskSession)  # it was opened above
        visit = visit_of(session)
        if visit.excuses(response.status_code):  # the app's page, or Flask's
            response.status = HTTPStatus.SERVICE_UNAVAILABLE
            response.headers.update(REFUSED)
            visit.is_abandoned = True
        visit.heed(response.status_code)
        cookies = visit.commit(is_unset=self._is_unset(session))
        announce(response, visit, cookies)
        if response.is_streamed and not response.direct_passthrough:
            request.environ[_STREAMS] = True
            response.response = Stream(response, session, partial(self._finish, session))

    def start_over(self, _app: object, **_signal: Any) -> None:
        """Discard the changes of a request that raised an exception which no handler takes.

        The error page continues with the session as it is stored.
        """
        session = _session_in_hand()
        # A session that was already committed for another response is announced in this one.
        if session is not None and not visit_of(session).is_late:
            visit_of(session).start_over()

    def tear_down(self, _app: object, exc: BaseException | None = None, **_signal: Any) -> None:
        """Commit the changes of teardown functions.

        This can't wait until the response is closed: many requests can share one response.
        """
        session = _session_in_hand() if exc is None else None
        if session is None:
            return
        visit = visit_of(session)
        if visit.is_late and visit.status is not Status.UNREAD:
            self._finish(session)
        # A copy of the request's context, which a view has given to another thread, ends before.
        if visit.is_late and _STREAMS not in visit.environ:
            leave(session)

    def _finish(self, session: FlaskSession) -> None:
        visit_of(session).finish_late(is_unset=self._is_unset(session))

    def _is_unset(self, session: FlaskSession) -> bool:
        environ = visit_of(session).environ
        # Not if the request is over, so that the session has left the environ.
        return IN_HAND in environ and environ.get(self.manager.environ_key) is None


def _session_in_hand() -> FlaskSession | None:
    session = request.environ.get(IN_HAND) if has_request_context() else None
    return session if isinstance(session, FlaskSession) else None
