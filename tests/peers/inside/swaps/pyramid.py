"""A pytest plugin: Pyramid's cookie sessions and its dummy sessions are those of litesess.

A cookie that a test makes holds the session itself.  A session with that content is stored by a
request of its own, at the time that the cookie tells, and its cookie takes the place of the test's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pyramid.authentication
import pyramid.session
import pyramid.testing
import pytest
from webob import Request, Response

from litesess.integrations.pyramid import PyramidSession, SessionFactory
from litesess.integrations.settings import from_settings
from litesess.web import visit_of
from swaps.opened import counted

_SECRET = "pyramids-own-tests-ask-for-no-secret"
_FOREVER = 100 * 365 * 86_400
#: Settings of litesess, by the names of Pyramid's.
_SETTINGS = {
    "cookie_name": "cookie_name",
    "max_age": "cookie.max_age",
    "path": "cookie.path",
    "domain": "cookie.domain",
    "secure": "cookie.secure",
    "httponly": "cookie.httponly",
    "samesite": "cookie.samesite",
    "timeout": "ttl",
}


class CookieSession(PyramidSession):
    """A session with the one private name of Pyramid's that its tests call."""

    __slots__ = ("_request",)

    def _set_cookie(self, response: Any) -> bool:
        for callback in self._request.response_callbacks:
            callback(self._request, response)
        return "Set-Cookie" in dict(response.headerlist)


class DummySession(PyramidSession):
    """A session with some content, outside of any request."""

    __slots__ = ()

    def __init__(self, content: Any = ()) -> None:
        request = Request.blank("/")
        request.add_response_callback = request.add_finished_callback = lambda _: None
        super().__init__(visit_of(_factory({})(request)))
        self.update(content)


def cookie_session_factory(serializer: Any, **options: Any) -> Any:
    """Return litesess' factory in place of ``pyramid.session.BaseCookieSessionFactory``."""
    name = options.setdefault("cookie_name", "session")
    given = {_SETTINGS[option]: value for option, value in options.items() if option in _SETTINGS}
    if given.setdefault("ttl", 1200) is None:
        given["ttl"] = _FOREVER
    factory = _factory(given)

    def open_session(request: Any) -> CookieSession:
        scheme = "https" if options.get("secure") else "http"
        blank = Request.blank(options.get("path", "/"), base_url=f"{scheme}://localhost")
        cookie = request.cookies.get(name)
        if cookie is not None:
            blank.cookies[name] = _stored(factory, serializer, name, cookie)
        request.environ.update(blank.environ)
        session = CookieSession(visit_of(factory(request)))
        session._request = request
        return session

    return open_session


def _factory(given: Mapping[str, Any]) -> SessionFactory:
    settings = {f"litesess.{name}": value for name, value in given.items()}
    settings |= {"litesess.store": "memory", "litesess.secret": _SECRET}
    store, options = from_settings(settings | {"litesess.clock": _clock}, "litesess.")
    return SessionFactory(store=store, **options)


def _stored(factory: SessionFactory, serializer: Any, name: str, cookie: Any) -> str:
    """Return a cookie of ours with the content of Pyramid's *cookie*, or *cookie* itself."""
    cookie = cookie.encode() if isinstance(cookie, str) else cookie
    try:
        renewed_at, _created_at, content = serializer.loads(cookie)
        _clock.now = float(renewed_at)
    except ValueError:
        return str(cookie, "latin-1")
    request = pyramid.testing.DummyRequest(environ=Request.blank("/").environ)
    response = Response()
    try:
        factory(request).update(content)
        for callback in request.response_callbacks:
            callback(request, response)
    finally:
        _clock.now = None
    return response.headers["Set-Cookie"].partition(";")[0].removeprefix(f"{name}=")


class _Clock:
    """The system's clock, but while it is told the time."""

    now: float | None = None

    def __call__(self) -> float:
        return time.time() if self.now is None else self.now


_clock = _Clock()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let requests that tests make with a dict for a session have one of litesess."""
    for module in {item.getparent(pytest.Module).obj for item in items}:
        if module.__name__ in ("tests.test_csrf", "tests.test_authentication"):
            module.DummyRequest.session = _Swapping()
        helper = getattr(module, "TestSessionAuthenticationHelper", None)
        if helper is not None:
            helper._makeRequest = _with_session(helper._makeRequest)


class _Swapping:
    """The attribute ``session`` of a request, where a dict becomes a session."""

    def __get__(self, request: Any, _cls: type) -> Any:
        return None if request is None else request.__dict__.get("session")

    def __set__(self, request: Any, session: Any) -> None:
        request.__dict__["session"] = DummySession(session) if type(session) is dict else session


def _with_session(make: Any) -> Any:
    def wrapper(case: Any, session: Any = ()) -> Any:
        return make(case, DummySession(session))

    return wrapper


SessionFactory.__call__ = counted(SessionFactory.__call__)  # type: ignore[method-assign]
pyramid.session.BaseCookieSessionFactory = cookie_session_factory
pyramid.testing.DummySession = DummySession
