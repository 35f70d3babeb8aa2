"""The headers of a session in a Flask response, which many requests can share.

Apps return a constant response, or one from ``lru_cache``.  Such an object must keep nothing of
a request, and no visitor must get the cookie of another visitor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, cast

from litesess.web import visit_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Response
    from werkzeug.datastructures import Headers

    from litesess.integrations.flask.session import FlaskSession
    from litesess.web import Visit

#: The key in the environ under which a request's session is always found again.
IN_HAND: Final = "litesess.flask"
#: The attribute of a response for the cookies that a request has put into its headers.
_ADDED: Final = "litesess_cookies"
#: The key in the environ for a request's additions to the headers of a shared response.
_OWN: Final = "litesess.flask.headers"


def announce(response: Response, visit: Visit, cookies: list[str]) -> None:
    """Add a session's cookies and cache rules to the headers of *response*.

    Args:
        response: other requests can share it.
        visit: the request's use of its session, committed.
        cookies: the result of :meth:`Visit.commit`.
    """
    if _take_back(response, visit):
        # Not into the headers, because another thread may be about to send them.
        cast("dict[str, Any]", visit.environ)[_OWN] = visit, cookies
        # Replace the method of this response alone, not of its class.
        response.__dict__["get_wsgi_headers"] = MethodType(_with_session, response)
        return
    headers = [*response.headers]
    decorated = visit.decorate(headers, cookies)
    if decorated is not headers:
        response.headers.clear()
        response.headers.extend(decorated)
        response.__dict__[_ADDED] = cookies


def _take_back(response: Response, visit: Visit) -> bool:
    """Take the session cookies of other requests out of *response*; return whether it is shared."""
    added: list[str] | None = response.__dict__.get(_ADDED)
    # Not `in`, which raises and catches an exception in the usual case.
    foreign = [
        (name, value)
        for name, value in response.headers
        if name.lower() == "set-cookie"
        and (value in (added or ()) or visit.rules.has_signed(value))
    ]
    if foreign:
        kept = [header for header in response.headers if header not in foreign]
        response.headers.clear()
        response.headers.extend(kept)
    elif added is None:
        return False
    response.__dict__[_ADDED] = []
    return True


def _with_session(response: Response, environ: WSGIEnvironment) -> Headers:
    """Return the headers of a shared response for one request."""
    headers = type(response).get_wsgi_headers(response, environ)
    own: tuple[Visit, list[str]] | None = environ.get(_OWN)
    if own is not None:
        visit, cookies = own
        decorated = visit.decorate([*headers], cookies)
        headers.clear()
        headers.extend(decorated)
    return headers


def leave(session: FlaskSession) -> None:
    """Let the environ of a request go that is over; see :meth:`Visit.leave`."""
    visit_of(session).leave(IN_HAND, _OWN, "werkzeug.request")


class Stream:
    """A body that is made while it is sent; its session is committed at its end if it succeeds."""

    def __init__(
        self, response: Response, session: FlaskSession, finish: Callable[[], object]
    ) -> None:
        """Take the place of the body of *response*, until it is closed.

        Args:
            response: the response with the streamed body.
            session: the session of the request.
            finish: commits the changes that were made after the headers were sent.
        """
        body: Any = response.response
        #: The app's own.
        self.body: Iterable[str] | Iterable[bytes] = body.body if type(body) is Stream else body
        self._response = response
        self._session = session
        self._finish = finish

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.body
        except GeneratorExit:
            raise
        except BaseException:
            visit_of(self._session).is_abandoned = True
            raise
        # Commit before the client can know that the body is complete.
        self._finish()

    def close(self) -> None:
        """Close the app's body, and commit the changes made while it ran."""
        if self._response.response is self:
            self._response.response = self.body
        try:
            close = getattr(self.body, "close", None)
            if close is not None:
                close()
        finally:
            self._finish()
            leave(self._session)
