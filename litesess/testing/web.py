"""Sessions in tests with WebTest: read and changed between requests, looked at after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from litesess.errors import ConfigError
from litesess.web import Manager, Session, visit_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The attributes in which a wrapping app usually keeps the wrapped one.
_INSIDE: Final = ("app", "application", "wsgi_app", "_app")


@contextmanager
def edit_session(testapp: Any, *, manager: Manager | None = None) -> Iterator[Session]:
    """Yield the session of a WebTest client, as the app's next request will get it.

    Changes are stored at the end of the block, and the client gets the cookie::

        with edit_session(testapp) as session:
            session["user"] = "ada"
        testapp.get("/me").mustcontain("ada")

    A cookie that is ``secure`` needs a client of an https site:
    ``TestApp(app, extra_environ={"wsgi.url_scheme": "https", "HTTP_HOST": "localhost:443"})``.

    Args:
        testapp: a ``webtest.TestApp``, or an object with ``app`` and ``get`` like it.
        manager: the app's manager, if the app is not wrapped in a
            :class:`litesess.SessionMiddleware` that can be found.

    Raises:
        ConfigError: no manager is found, or the client would not take the cookie.
        StoreError: the store can't work.
    """
    manager = manager or _manager_of(testapp.app)
    environ = _environ_of(testapp)
    session = manager.open(environ)
    if session is None:
        raise ConfigError("the session's cookie is for another path than /")
    yield session
    cookies = visit_of(session).commit()
    if not cookies and session.is_new and any(visit_of(session).contents.changes()):
        raise ConfigError(
            "the session's cookie is secure, and the test client comes by plain http; give it"
            ' extra_environ={"wsgi.url_scheme": "https", "HTTP_HOST": "localhost:443"}'
        )
    if cookies:
        _answer(testapp, [("Set-Cookie", cookie) for cookie in cookies])


def _manager_of(app: Any) -> Manager:
    seen = 0
    while app is not None and seen < 100:
        manager = getattr(app, "manager", None)
        if isinstance(manager, Manager):
            return manager
        seen += 1
        app = next(
            (inner for name in _INSIDE if (inner := getattr(app, name, None)) is not None), None
        )
    raise ConfigError("no SessionMiddleware was found in the app; pass its manager")


def _environ_of(testapp: Any) -> dict[str, Any]:
    """Return the environ of a request for / that the client makes."""
    found: list[dict[str, Any]] = []

    def look(environ: dict[str, Any]) -> list[tuple[str, str]]:
        found.append(environ)
        return []

    _serve(testapp, look)
    return found[0]


def _answer(testapp: Any, headers: list[tuple[str, str]]) -> None:
    """Let the client take *headers* as those of a response."""
    _serve(testapp, lambda _environ: headers)


def _serve(testapp: Any, headers_for: Callable[[dict[str, Any]], list[tuple[str, str]]]) -> None:
    """Let the client make a request to another app than its own."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = headers_for(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), *headers])
        return [b""]

    own, testapp.app = testapp.app, app
    try:
        testapp.get("/")
    finally:
        testapp.app = own


def SessionTestApp(app: Any, *arguments: Any, **options: Any) -> Any:  # noqa: N802  # an app's tests call it as they call webtest.TestApp
    """Return a ``webtest.TestApp``; its responses have ``session``, as the request left it.

    Args:
        app: the app, as for ``webtest.TestApp``.
        *arguments: the other arguments of ``webtest.TestApp``.
        **options: its options.

    Raises:
        ConfigError: WebTest is not installed.
    """
    try:
        import webtest  # noqa: PLC0415  # an optional package, and edit_session() works without it
    except ImportError as error:
        raise ConfigError("SessionTestApp needs WebTest: install webtest") from error

    class Response(webtest.TestResponse):
        @property
        def session(self) -> Session:
            """The session, as this response's request left it."""
            found: Session = self.request.environ[_manager_of(app).environ_key]
            return found

    class Request(webtest.TestRequest):
        ResponseClass = Response

    class Client(webtest.TestApp):
        RequestClass = Request

    return Client(app, *arguments, **options)
