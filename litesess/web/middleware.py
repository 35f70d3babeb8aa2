"""The WSGI middleware: a session in the environ, committed before the headers go out.

``start_response`` is held back until nothing of the session can change any more without being
noticed: the app has returned a list, its iterable has yielded the first item, or ``write()`` is
called.  Source: PEP 3333.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Signature, iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, Final

from litesess.errors import ConfigTypeError, StoreUnavailable
from litesess.options import signature
from litesess.web.caching import Headers
from litesess.web.manager import Manager
from litesess.web.rules import REFUSED, STORE_KEY, ManagerOptions

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Self, Unpack

    from litesess.stores.base import Store
    from litesess.web.keywords import MiddlewareKeywords
    from litesess.web.session import Session
    from litesess.web.visit import Visit


logger = logging.getLogger("litesess")

_UNAVAILABLE: Final = "503 Service Unavailable"
_REFUSAL: Final = b"Service Unavailable\n"
_REFUSAL_HEADERS: Final = (
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(_REFUSAL))),
    *REFUSED,
)


class SessionMiddleware:
    """A WSGI app with a session in ``environ["litesess.session"]``."""

    #: The options that a caller can pass, for help() and editors.
    __signature__: ClassVar[Signature] = signature(ManagerOptions, "app")

    def __init__(self, app: WSGIApplication, **options: Unpack[MiddlewareKeywords]) -> None:
        """Wrap *app*.

        Args:
            app: any WSGI app.
            **options: those of :class:`litesess.web.rules.ManagerOptions`.

        Raises:
            ConfigError: an option is unknown, missing or wrong, or two contradict each other; or
                the app is no WSGI app.
        """
        if not callable(app):
            raise ConfigTypeError(f"app is of type {type(app).__name__}, not a WSGI app")
        # An object is an ASGI app if its class has such a __call__.
        if iscoroutinefunction(app) or iscoroutinefunction(type(app).__call__):
            raise ConfigTypeError(
                "the app is an ASGI app, and litesess keeps the sessions of WSGI apps alone"
            )
        self.manager = self.make_manager(options)
        self._app = app
        self._key = self.manager.environ_key
        rules = self.manager.options
        self._answers_for_the_store = rules.if_unavailable == "503"
        self._response_class = _Response if rules.keep_on_error else _StrictResponse

    def make_manager(self, options: Mapping[str, Any]) -> Manager:
        """Return the manager of the sessions; an integration may override this.

        Raises:
            ConfigError: an option is unknown, missing or wrong, or two contradict each other.
        """
        return Manager(options)

    @property
    def store(self) -> Store:
        """Where the sessions are kept."""
        return self.manager.store

    def close(self) -> None:
        """Close the store.  Again is harmless; nothing acknowledged depends on it."""
        self.manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse | None = None, *asgi: object
    ) -> Iterable[bytes]:
        """Serve a request.

        Raises:
            ConfigTypeError: a server of ASGI calls, with other arguments than these two.
        """
        if asgi or start_response is None:
            raise ConfigTypeError(
                "a server calls litesess as an ASGI app, and it is a WSGI app: tell the server, as"
                " by uvicorn's --interface wsgi, or wrap the app in a2wsgi.WSGIMiddleware"
            )
        key, manager = self._key, self.manager
        if key in environ:
            room = manager.make_room(environ)
            if room is None:
                return self._app(environ, start_response)
            environ = room
        visit = manager.begin(environ)
        if visit is None:
            return self._app(environ, start_response)
        environ[key] = session = manager.session_class(visit)
        environ[STORE_KEY] = manager.store
        response = self._response_class(session, visit, environ, start_response)
        body: Iterable[bytes] = ()
        try:
            body = self._app(environ, response.start)
            if isinstance(body, (list, tuple)) or _is_file(body, environ):
                # Nothing runs in there any more.  Handed over as it is, the server can take its
                # length, or send the file itself.
                if response.is_sent or response.status is None:
                    response.finish()  # it has called write(), or not answered
                else:
                    response.send()
                visit.leave()
                return body
        except BaseException as error:
            try:
                answer = self._answer_to(error, response, environ)
            finally:
                _close(body)
            if answer is None:
                raise
            return answer
        return _Body(visit, response, body, answers_for_the_store=self._answers_for_the_store)

    def _answer_to(
        self, error: BaseException, response: _Response, environ: WSGIEnvironment
    ) -> list[bytes] | None:
        """End a request that has failed; return the answer in place of the app's, if any."""
        if (
            isinstance(error, StoreUnavailable)
            and self._answers_for_the_store
            and not response.is_sent
        ):
            return response.refuse(error)
        if _is_handled(error, environ):
            response.finish()
        else:
            response.abandon()
        return None


def _is_handled(error: BaseException, environ: WSGIEnvironment) -> bool:
    """Return whether *error* tells gunicorn that the app has answered on the socket by itself.

    Source: gunicorn.workers.sync; Flask-Sock, which ends a WebSocket so.
    """
    return isinstance(error, StopIteration) and "gunicorn.socket" in environ


def _close(body: Iterable[bytes]) -> None:
    """Close the app's iterable; PEP 3333 asks for it also where no caller gets it."""
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _is_file(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class _Response:
    """The app's status and headers, until they are sent on."""

    __slots__ = (
        "_cookies",
        "_environ",
        "_exc_info",
        "_headers",
        "_session",
        "_start",
        "_visit",
        "is_sent",
        "status",
        "write",
    )

    def __init__(
        self,
        session: Session,
        visit: Visit,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> None:
        self._session = session
        self._visit = visit
        # Our own reference: the app may hand a copy on, or empty it.
        self._environ = environ
        self._start = start_response
        self.status: str | None = None
        self._cookies: list[str] = []
        self.is_sent = False

    def start(
        self, status: str, headers: Headers, exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        """Take the app's ``start_response`` call."""
        if self.is_sent:
            return self._again(status, headers, exc_info)
        if self.status is not None and exc_info is None:
            # Source: PEP 3333, "The start_response() Callable": a fatal error.
            raise AssertionError("start_response was called twice without exc_info")
        self.status = status
        self._headers = headers
        self._exc_info = exc_info
        return self._write

    def send(self) -> None:
        """Commit the session and call the server's ``start_response``, once."""
        if self.is_sent or self.status is None:
            return
        visit = self._visit
        if visit.is_refused:
            self._excuse(self.status)
        is_unset = self._environ.get(visit.rules.environ_key) is not self._session
        self._cookies = cookies = visit.commit(is_unset=is_unset)
        headers = self._headers
        if cookies or visit.is_looked_at:
            headers = visit.decorate(headers, cookies)
        self.is_sent = True
        exc_info, self._exc_info = self._exc_info, None
        try:
            self.write = (
                self._start(self.status, headers)
                if exc_info is None
                else self._start(self.status, headers, exc_info)
            )
        finally:
            exc_info = None  # PEP 3333: no circular reference through the traceback

    def _excuse(self, status: str) -> None:
        """Let an error page of the app's say that it is the store that is away."""
        if self._visit.excuses(int(status[:3])):
            self._visit.is_abandoned = True
            self.status = _UNAVAILABLE
            left_out = {name.lower() for name, _ in REFUSED}
            kept = (header for header in self._headers if header[0].lower() not in left_out)
            self._headers = [*kept, *REFUSED]

    def finish(self) -> None:
        """Commit the changes made since; all changes if the app has not answered."""
        visit = self._visit
        is_unset = self._environ.get(visit.rules.environ_key) is not self._session
        if self.is_sent:
            visit.finish_late(is_unset=is_unset)
        elif self.status is None:
            visit.finish_unanswered(is_unset=is_unset)
        else:
            self.abandon()  # an answer that was never sent

    def abandon(self) -> None:
        """Discard all further changes: the app has failed, or no client reads its answer."""
        self._visit.is_abandoned = True

    def refuse(self, error: StoreUnavailable) -> list[bytes]:
        """Answer for the app, which can't without its sessions."""
        logger.error("a request is refused: %s", error)
        self.is_sent = True
        self.abandon()
        self.write = self._start(_UNAVAILABLE, [*_REFUSAL_HEADERS])
        # Source: RFC 9110 section 9.3.2: an answer to HEAD has no content.
        return [] if self._environ.get("REQUEST_METHOD") == "HEAD" else [_REFUSAL]

    def _write(self, data: bytes) -> None:
        self.send()
        self.write(data)

    def _again(self, status: str, headers: Headers, exc_info: Any) -> Callable[[bytes], object]:
        """Leave it to the server, which raises again, or takes other headers if none are sent."""
        headers = self._visit.decorate(headers, self._cookies)
        try:
            if exc_info is None:
                return self._start(status, headers)
            return self._start(status, headers, exc_info)
        finally:
            exc_info = None


class _StrictResponse(_Response):
    """A response that discards the app's changes if its status says that it has failed."""

    __slots__ = ()

    def send(self) -> None:
        """Commit the session and call the server's ``start_response``, once."""
        if self.status is not None and not self.is_sent:
            self._visit.heed(int(self.status[:3]))
        super().send()


class _Body:
    """The app's iterable, which decides when the headers leave."""

    __slots__ = ("_answers_for_the_store", "_body", "_is_closed", "_items", "_response", "_visit")

    def __init__(
        self,
        visit: Visit,
        response: _Response,
        body: Iterable[bytes],
        *,
        answers_for_the_store: bool,
    ) -> None:
        self._visit = visit
        self._response = response
        self._answers_for_the_store = answers_for_the_store
        self._body = body
        self._items: Iterator[bytes] | None = None
        self._is_closed = False

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        try:
            return self._next()
        except StoreUnavailable as error:
            if self._response.is_sent or not self._answers_for_the_store:
                raise
            self._items = iter(self._response.refuse(error))
            return next(self._items)

    def _next(self) -> bytes:
        try:
            if self._items is None:
                self._items = iter(self._body)
            item = next(self._items)
        except StopIteration:
            self._response.send()
            raise
        except BaseException:
            self._response.abandon()
            raise
        self._response.send()
        return item

    def close(self) -> None:
        """Close the app's iterable, once, and commit the changes made while it ran."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            _close(self._body)
        finally:
            if self._items is None and not self._response.is_sent:
                self._response.abandon()  # no client read it
            self._response.finish()
            self._visit.leave()
