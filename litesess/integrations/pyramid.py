"""Pyramid: ``config.include("litesess.integrations.pyramid")``, with settings ``litesess.*``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import isgenerator
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPServiceUnavailable
from pyramid.interfaces import ISession
from pyramid.request import Request as _Request
from zope.interface import classImplements

from litesess.errors import StoreUnavailable
from litesess.integrations.settings import from_settings
from litesess.web import REFUSED, STORE_KEY, Manager, Session, Status, visit_of

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.response import Response
    from typing_extensions import Unpack

    from litesess.web import Visit
    from litesess.web.keywords import MiddlewareKeywords

PREFIX = "litesess."
#: The session key of Pyramid's SessionAuthenticationHelper and -Policy for the user's id.
OWNER_KEY = "auth.userid"


def includeme(config: Configurator) -> None:
    """Keep ``request.session`` in litesess, as the settings ``litesess.*`` say.

    Raises:
        ConfigError: a setting is unknown, missing or wrong.
    """
    store, options = from_settings(config.registry.settings, PREFIX)
    factory = SessionFactory(store=store, **options)
    config.set_session_factory(factory)
    if factory.manager.options.if_unavailable == "503":
        config.add_exception_view(factory.refuse, context=StoreUnavailable)


class SessionFactory:
    """The factory of ``request.session``, for ``Configurator(session_factory=...)``."""

    def __init__(self, **options: Unpack[MiddlewareKeywords]) -> None:
        """Take the options of :class:`litesess.SessionMiddleware`.

        Raises:
            ConfigError: one is unknown, missing or wrong, or two contradict each other.
        """
        self.manager = Manager({"owner_key": OWNER_KEY, **options})
        # Subrequests find the session under this key: they have copies of the environ.
        self._in_hand = f"{self.manager.environ_key}.pyramid.{id(self):x}"

    def __call__(self, request: Request) -> PyramidSession:
        """Return the session of a request; it is stored before the response leaves.

        If ``litesess.SessionMiddleware`` wraps the app, this is its session and the middleware
        stores it, unless the middleware has another store, cookie or secret.  Outside of the
        cookie's path the session is not stored.

        Raises:
            ConfigError: a middleware around the app sets the same cookie, for other sessions.
        """
        environ: dict[str, Any] = request.environ
        held: Visit | None = environ.get(self._in_hand)
        if held is not None and not held.is_over:
            return PyramidSession(held)
        around = self.manager.outer(environ)
        if around is None:
            return PyramidSession(self._begin(request))
        if "retry.attempt" in environ and around.status is Status.UNREAD:
            attempt = _Attempt(around)
            request.add_response_callback(attempt.keep)
            request.add_finished_callback(attempt.end)
        return PyramidSession(around)

    def _begin(self, request: Request) -> Visit:
        manager, key = self.manager, self.manager.environ_key
        environ: dict[str, Any] = request.environ
        visit = manager.begin(environ)
        if visit is None:
            visit = manager.visit_class(manager, environ)
            visit.is_abandoned = True
            request.add_response_callback(_Commit(visit, self._in_hand, is_outside=True))
            return visit
        environ[self._in_hand] = visit
        if key not in environ or manager.make_room(environ) is environ:
            environ[key], environ[STORE_KEY] = manager.session_class(visit), manager.store
        commit = _Commit(visit, self._in_hand)
        request.add_response_callback(commit)
        request.add_finished_callback(commit.end)
        return visit

    def refuse(self, _error: StoreUnavailable, request: Request) -> Response:
        """Return the response if a view needs its session and the store is away."""
        session: Session | None = request.environ.get(self.manager.environ_key)
        if session is not None:
            visit_of(session).is_abandoned = True
        return HTTPServiceUnavailable(headers=REFUSED)

    def close(self) -> None:
        """Close the store.  Again is harmless; nothing acknowledged depends on it."""
        self.manager.close()


def _is_tried_again(request: Request) -> bool:
    """Return whether pyramid_retry discards this response of an exception view."""
    error, retry = getattr(request, "exception", None), sys.modules.get("pyramid_retry")
    if error is None or retry is None or "retry.attempt" not in request.environ:
        return False
    return bool(retry.is_error_retryable(request, error))


class _Attempt:
    """One attempt of pyramid_retry at a request with the session of a middleware."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._is_kept = False

    def keep(self, request: Request, _response: Response) -> None:
        """Keep the attempt's changes if its response is used."""
        self._is_kept = not _is_tried_again(request)

    def end(self, _request: Request) -> None:
        """Discard the attempt's changes, unless they are kept."""
        if not self._is_kept:
            self._visit.start_over()


class _Commit:
    """Stores a session before its response leaves."""

    def __init__(self, visit: Visit, in_hand: str, *, is_outside: bool = False) -> None:
        self._visit = visit
        self._in_hand = in_hand  # where the environ holds the visit
        self._is_outside = is_outside
        self._is_streamed = False  # the response's body is a generator of the app's

    def end(self, _request: Request) -> None:
        """Take the session out of the environ, so that another request with it gets its own."""
        if not self._visit.is_late:
            self._visit.is_abandoned = True
        if not self._is_streamed:
            self._leave()

    def _leave(self) -> None:
        self._visit.leave(self._in_hand, "webob.adhoc_attrs")  # there WebOb keeps request.session

    def __call__(self, request: Request, response: Response) -> None:
        visit = self._visit
        if _is_tried_again(request):
            return
        if self._is_outside:
            self._warn(request)
        visit.heed(response.status_int)
        if visit.excuses(response.status_int):  # an exception view's
            _excuse(response)
        try:
            cookies = visit.commit()
        except StoreUnavailable:
            if visit.rules.options.if_unavailable != "503":
                raise
            # Keep nothing of the view's response, not even the encoding of its body.
            body = response.app_iter
            response.headerlist = [("Content-Type", "text/plain; charset=utf-8")]
            response.body = b"Service Unavailable\n"
            _excuse(response)
            close = getattr(body, "close", None)
            if close is not None:
                close()
            cookies = []
        response.headerlist = visit.decorate(response.headerlist, cookies)
        body = response.app_iter
        if isgenerator(body):
            self._is_streamed = True
            length = response.content_length
            response.app_iter = self._until_the_end(body)
            response.content_length = length  # which WebOb forgets with another body

    def _warn(self, request: Request) -> None:
        visit = self._visit
        if visit.status is Status.STORED or (
            visit.status is Status.NEW and (visit.has_content() or visit.is_login())
        ):
            path = visit.settings().path
            visit.rules.warn_once(
                "what a request makes of its session outside of the cookie's path is not kept: the"
                f" path is {path!a}, the first such request was for {request.path[:200]!a}; if a"
                " proxy takes a prefix off the path, let it, or the server, set SCRIPT_NAME"
            )

    def _until_the_end(self, body: Any) -> Iterator[bytes]:
        try:
            yield from body
        finally:
            self._visit.finish_late()
            self._leave()


def _excuse(response: Response) -> None:
    response.status = HTTPServiceUnavailable.code
    response.headers.update(REFUSED)


class PyramidSession(Session):
    """A :class:`litesess.Session` with the names that Pyramid has for it."""

    __slots__ = ()

    @property
    def created(self) -> int:
        """The time of its creation in Unix seconds; the current time if it is not stored yet."""
        created_at = self.created_at
        return int(self._visit.rules.clock() if created_at is None else created_at)

    @property
    def new(self) -> bool:
        """Whether the session is not stored yet."""
        return self.is_new

    def invalidate(self) -> None:
        """Delete the session when the response is ready, and continue with a new one.

        The new session is stored only if you write to it.

        Raises:
            StoreError: the store can't work; the session lives on.
        """
        visit = self._visit.look()
        if visit.status in (Status.DESTROYED, Status.LOST):
            visit.end_cleared()
        else:
            visit.clear()

    def changed(self) -> None:
        """Do nothing: changes at any depth are noticed."""


# Not a decorator: it has no types, so the whole class would count as Any.
classImplements(PyramidSession, ISession)


class Request(_Request):
    """Pyramid's request, for the annotations of views: type checkers then know its session."""

    session: PyramidSession
