"""Pyramid: ``config.include("litesess.integrations.pyramid")``, with settings ``litesess.*``."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isgenerator
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPServiceUnavailable
from pyramid.interfaces import ISession
from zope.interface import implementer

from litesess.errors import ConfigError, StoreUnavailable
from litesess.integrations.settings import from_settings
from litesess.manager import REFUSED, STORE_KEY, Manager
from litesess.messages import Messages
from litesess.session import Session

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from litesess.visit import Visit

PREFIX = "litesess."


def includeme(config: Configurator) -> None:
    """Let ``request.session`` be kept by litesess, as the settings ``litesess.*`` say.

    Raises:
        ConfigError: a setting is unknown, missing or wrong.
    """
    store, options = from_settings(config.registry.settings, PREFIX)
    factory = SessionFactory(store=store, **options)
    config.set_session_factory(factory)
    if factory.manager.options.if_unavailable == "503":
        config.add_exception_view(factory.refuse, context=StoreUnavailable)


class SessionFactory:
    """What Pyramid makes ``request.session`` with: ``Configurator(session_factory=...)``."""

    def __init__(self, **options: Any) -> None:
        """Take the options of :class:`litesess.SessionMiddleware`.

        Raises:
            ConfigError: one is unknown, missing or wrong, or two contradict each other.
        """
        self.manager = Manager(options)

    def __call__(self, request: Request) -> PyramidSession:
        """Return the session of a request; it is stored when the response is there.

        With a middleware of ours around the app it is that one's, which stores it.

        Raises:
            ConfigError: the request is for a path that the cookie is not for.
        """
        manager, environ = self.manager, request.environ
        key = manager.environ_key
        if key in environ:
            return PyramidSession(environ[key], manager)
        session = manager.open(environ)
        if session is None:
            raise ConfigError(f"request.session: the session's cookie is not for {request.path}")
        environ[key], environ[STORE_KEY] = session, manager.store
        request.add_response_callback(_Commit(session.visit))
        return PyramidSession(session, manager)

    def refuse(self, _error: StoreUnavailable, request: Request) -> Response:
        """Answer for a view that can't do without its session: an exception view."""
        session: Session | None = request.environ.get(self.manager.environ_key)
        if session is not None:
            session.visit.is_abandoned = True
        return HTTPServiceUnavailable(headers=REFUSED)

    def close(self) -> None:
        """Close the store.  Again is harmless; nothing acknowledged depends on it."""
        self.manager.close()


class _Commit:
    """Stores a session before its response leaves."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def __call__(self, _request: Request, response: Response) -> None:
        visit = self._visit
        if visit.excuses(response.status_int):  # an exception view's
            _excuse(response)
        try:
            cookies = visit.commit()
        except StoreUnavailable:
            if visit.rules.options.if_unavailable != "503":
                raise
            # Nothing of what the view says, also of its body's encoding, is so.
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
        if isgenerator(body):  # the app runs on in there
            length = response.content_length
            response.app_iter = self._until_the_end(body)
            response.content_length = length  # which WebOb forgets with another body

    def _until_the_end(self, body: Any) -> Iterator[bytes]:
        try:
            yield from body
        finally:
            self._visit.finish_late()


def _excuse(response: Response) -> None:
    response.status = HTTPServiceUnavailable.code
    response.headers.update(REFUSED)


@implementer(ISession)
class PyramidSession(Messages):
    """A :class:`litesess.Session` with the names that Pyramid has for it.

    What ``ISession`` does not know, such as ``owner``, ``handle``, ``rotate()``, is as there.
    """

    def __init__(self, session: Session, manager: Manager) -> None:
        self._session = session
        self._manager = manager
        self._is_invalidated = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @property
    def owner(self) -> str | None:
        """Whose session this is; settable.  Another owner gets another session id."""
        return self._session.owner

    @owner.setter
    def owner(self, value: str | int | None) -> None:
        self._begun().owner = value

    def login(self, owner: str | int) -> None:
        """Make this the session of *owner*; see :meth:`litesess.Session.login`."""
        self._begun().login(owner)

    def clear(self) -> None:
        """Remove all data and the owner; see :meth:`litesess.Session.clear`."""
        if not self._is_invalidated:  # or it is empty already
            self._session.clear()

    @property
    def created(self) -> int:
        """When it was created, in Unix seconds; now, if nothing of it is stored yet."""
        created_at = self._session.created_at
        return int(self._manager.options.clock() if created_at is None else created_at)

    @property
    def new(self) -> bool:
        """Whether nothing of it is stored yet."""
        return self._is_invalidated or self._session.is_new

    def invalidate(self) -> None:
        """Delete the session, and go on as a new one, which is kept only if it is written.

        Raises:
            StoreError: the store can't work; the session lives on.
        """
        self._session.destroy()
        self._is_invalidated = True

    def changed(self) -> None:
        """Do nothing: changes at any depth are noticed."""

    def __getitem__(self, key: str) -> Any:
        return self._session[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._begun()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._begun()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._session)

    def __len__(self) -> int:
        return len(self._session)

    def __contains__(self, key: object) -> bool:
        return key in self._session

    def __repr__(self) -> str:
        return repr(self._session)

    def _begun(self) -> Session:
        """Return the session to write to: another one after an invalidation."""
        if self._is_invalidated:
            self._session.regenerate()
            self._is_invalidated = False
        return self._session
