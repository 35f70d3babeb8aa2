"""Helpers of the session layer's tests: a site, a browser, stores that can be watched."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from webtest import lint

from litesess import MemoryStore, Session, SessionMiddleware, Store, WALStore
from litesess.testing import FakeClock

SECRET = "c2f1e7a09b5d48366e1d7c40fa92b853"
OLD_SECRET = "9e44d1b07a6f4c2385b0cc17d3f6ea21"
COOKIE = "litesess.sid"
HOST_COOKIE = "__Host-litesess.sid"
KEY = "litesess.session"

Action = Callable[[Session], Any]

OPERATIONS = (
    "load", "create", "update", "touch", "rotate", "replace", "delete", "clear", "collect",
)  # fmt: skip
WRITES = ("create", "update", "touch", "rotate", "replace", "delete", "clear")


class Watched:
    """A store that counts its calls, runs work before them, and fails on demand.

    Attributes:
        calls: how often each operation was asked for.
        once: by operation, the work that runs before the next call.
        failing: by operation, the exception that it raises.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls: Counter[str] = Counter()
        self.once: dict[str, Callable[[], object]] = {}
        self.failing: dict[str, Exception] = {}

    @property
    def writes(self) -> dict[str, int]:
        """The number of calls that change something, by operation."""
        return {name: self.calls[name] for name in WRITES if self.calls[name]}


def _watching(name: str) -> Callable[..., Any]:
    def operation(self: Watched, *arguments: Any, **options: Any) -> Any:
        self.calls[name] += 1
        self.once.pop(name, lambda: None)()
        if name in self.failing:
            raise self.failing[name]
        return getattr(super(Watched, self), name)(*arguments, **options)

    return operation


for _name in OPERATIONS:
    setattr(Watched, _name, _watching(_name))


class WatchedMemoryStore(Watched, MemoryStore):
    """A memory store that can be watched."""


class WatchedWALStore(Watched, WALStore):
    """A store on disk that can be watched."""


class Response:
    """An app's response, as a server gets it.

    Attributes:
        status: the status line.
        headers: the last ones that ``start_response`` was given.
        body: all of it.
        value: the result of the action.
    """

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.value: Any = None

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def all(self, name: str) -> list[str]:
        """Return the values of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def set_cookies(self) -> list[str]:
        """The ``Set-Cookie`` values of the session cookie."""
        names = (f"{COOKIE}=", f"{HOST_COOKIE}=")
        return [value for value in self.all("Set-Cookie") if value.startswith(names)]

    @property
    def attributes(self) -> dict[str, str]:
        """Those of the only session cookie set, by name in lower case."""
        (cookie,) = self.set_cookies
        _, *parts = cookie.split("; ")
        return {name.lower(): value for name, _, value in (part.partition("=") for part in parts)}

    @property
    def said(self) -> str:
        """The response's change to the session cookie: ``""``, ``"set"`` or ``"expired"``."""
        if not self.set_cookies:
            return ""
        return "expired" if "=;" in self.set_cookies[-1] else "set"


def environ_of(path: str = "/", *, https: bool = False, **environ: Any) -> dict[str, Any]:
    """Return the environ of a request."""
    scheme = (
        {"wsgi.url_scheme": "https", "SERVER_PORT": "443"} if https else {"wsgi.url_scheme": "http"}
    )
    made = {
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "wsgi.errors": io.StringIO(),
        **scheme,
    }
    made.update(environ)
    setup_testing_defaults(made)
    return made


def serve(app: Any, environ: dict[str, Any]) -> Response:
    """Serve a request as a server does, to the letter of PEP 3333."""
    response = Response()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[..., Any]:
        if exc_info is not None and any(response.chunks):
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and response.status:
            raise AssertionError("start_response was called twice")
        response.status, response.headers = status, list(headers)
        return response.chunks.append

    body = app(environ, start_response)
    try:
        for chunk in body:
            assert response.status, "the body began before start_response was called"
            response.chunks.append(chunk)
        assert response.status, "start_response was never called"
    finally:
        getattr(body, "close", lambda: None)()
    return response


def linted(app: Any) -> Any:
    """Return *app* between two checkers of the WSGI protocol."""
    return validator(lint.middleware(app))


class Browser:
    """Sends back the cookies it was given."""

    def __init__(self, app: Any) -> None:
        self._app = linted(app)
        self.cookies: dict[str, str] = {}

    def get(self, path: str = "/", *, cookie: str | None = None, **environ: Any) -> Response:
        """Make a request.

        Args:
            path: that of the request, below the mount.
            cookie: the Cookie header, in place of this browser's own.
            **environ: further members of the environ, and ``https``.
        """
        header = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        header = header if cookie is None else cookie
        if header:
            environ["HTTP_COOKIE"] = header
        response = serve(self._app, environ_of(path, **environ))
        for set_cookie in response.all("Set-Cookie"):
            name, _, rest = set_cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
            if "Max-Age=0" in set_cookie:
                del self.cookies[name]  # which is there by now
        return response


class Site:
    """A middleware around an app that runs the action of each request."""

    def __init__(self, store: Store | None = None, **options: Any) -> None:
        self.clock = options.setdefault("clock", FakeClock())
        self.store = store or WatchedMemoryStore(clock=self.clock)
        self.middleware = SessionMiddleware(
            self._app, **{"secret": SECRET, "store": self.store, **options}
        )
        self.browser = self.new_browser()

    @property
    def manager(self) -> Any:
        return self.middleware.manager

    def new_browser(self) -> Browser:
        """Return the browser of a new visitor."""
        return Browser(self.middleware)

    def new_tab(self) -> Browser:
        """Return a browser with the same cookies as the site's own."""
        tab = self.new_browser()
        tab.cookies = dict(self.browser.cookies)
        return tab

    def visit(
        self,
        action: Action | None = None,
        path: str = "/",
        *,
        by: Browser | None = None,
        shape: Callable[..., Iterable[bytes]] | None = None,
        **environ: Any,
    ) -> Response:
        """Let a browser make a request, in which the app runs *action* on the session.

        Args:
            action: gets the session; None: the app does not look at it.
            path: of the request.
            by: which browser; None: the site's own.
            shape: the app to run in place of the usual one.
            **environ: see :meth:`Browser.get`.
        """
        result: list[Any] = []
        environ |= {"test.action": action, "test.shape": shape, "test.result": result}
        response = (by or self.browser).get(path, **environ)
        response.value = result[0] if result else None
        return response

    @property
    def cookie(self) -> str:
        """The value of the session cookie in the site's own browser."""
        return next(self.browser.cookies[name] for name in self._names)

    @property
    def header(self) -> str:
        """The Cookie header of the site's own browser."""
        return f"{next(iter(self._names))}={self.cookie}"

    @property
    def _names(self) -> list[str]:
        return [name for name in (HOST_COOKIE, COOKIE) if name in self.browser.cookies]

    @property
    def data(self) -> list[dict[str, Any]]:
        """The stored sessions' values, one dict per session."""
        return [record.data for _, record in self.store.records()]

    def writes_of(self, action: Action | None, **request: Any) -> dict[str, int]:
        """Return the writes that one visit causes in the store."""
        self.store.calls.clear()
        self.visit(action, **request)
        return self.store.writes

    @staticmethod
    def _app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["test.shape"] is not None:
            return environ["test.shape"](environ, start_response)
        action = environ["test.action"]
        if action is not None:
            environ["test.result"].append(action(environ[KEY]))
        return hello(environ, start_response)


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer and leave the session alone."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def look(session: Session) -> dict[str, Any]:
    """Return the session's data."""
    return dict(session)


def write(**data: Any) -> Action:
    """Return an action that sets *data*."""
    return lambda session: session.update(data)


class Boom(Exception):
    """The exception that apps raise here."""
