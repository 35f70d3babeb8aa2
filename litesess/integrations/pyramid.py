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
from litesess.web import REFUSED, STORE_KEY, Manager, Session, Status, visit_of

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from litesess.web import Visit

PREFIX = "litesess."
#: Where Pyramid's SessionAuthenticationHelper and -Policy keep who is logged in.
OWNER_KEY = "auth.userid"


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
        self.manager = Manager({"owner_key": OWNER_KEY, **options})

    def __call__(self, request: Request) -> PyramidSession:
        """Return the session of a request; it is stored when the response is there.

        With a middleware of ours around the app it is that one's, which stores it.

        Raises:
            ConfigError: the request is for a path that the cookie is not for.
        """
        manager, environ = self.manager, request.environ
        key = manager.environ_key
        if key in environ:
            return PyramidSession(visit_of(environ[key]))
        session = manager.open(environ)
        if session is None:
            raise ConfigError(f"request.session: the session's cookie is not for {request.path}")
        environ[key], environ[STORE_KEY] = session, manager.store
        visit = visit_of(session)
        request.add_response_callback(_Commit(visit))
        return PyramidSession(visit)

    def refuse(self, _error: StoreUnavailable, request: Request) -> Response:
        """Answer for a view that can't do without its session: an exception view."""
        session: Session | None = request.environ.get(self.manager.environ_key)
        if session is not None:
            visit_of(session).is_abandoned = True
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
class PyramidSession(Session):
    """A :class:`litesess.Session` with the names that Pyramid has for it."""

    __slots__ = ("_is_invalidated",)

    def __init__(self, visit: Visit) -> None:
        """Stand for the session of a request; nothing is parsed or loaded yet."""
        super().__init__(visit)
        self._is_invalidated = False

    @property
    def created(self) -> int:
        """When it was created, in Unix seconds; now, if nothing of it is stored yet."""
        created_at = self.created_at
        return int(self._visit.rules.clock() if created_at is None else created_at)

    @property
    def new(self) -> bool:
        """Whether nothing of it is stored yet."""
        return self.is_new

    def invalidate(self) -> None:
        """Delete the session, and go on as a new one, which is kept only if it is written.

        Raises:
            StoreError: the store can't work; the session lives on.
        """
        self.destroy()
        self._is_invalidated = True

    def changed(self) -> None:
        """Do nothing: changes at any depth are noticed."""

    @property
    def owner(self) -> str | None:
        """The user whose session this is; see :attr:`litesess.Session.owner`."""
        return super().owner

    @owner.setter
    def owner(self, value: str | int | None) -> None:
        self._begin()
        self._visit.set_owner(value)

    def login(self, owner: str | int) -> None:
        """Make this the session of *owner*; see :meth:`litesess.Session.login`."""
        self._begin()
        super().login(owner)

    def clear(self) -> None:
        """Remove all data and the owner; see :meth:`litesess.Session.clear`."""
        if not self._is_to_begin():  # or it is empty already
            super().clear()

    def __setitem__(self, key: str, value: Any) -> None:
        self._begin()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._begin()
        super().__delitem__(key)

    def _begin(self) -> None:
        """After an invalidation, go on as another session."""
        if self._is_to_begin():
            self.regenerate()

    def _is_to_begin(self) -> bool:
        return self._is_invalidated and self._visit.status is Status.DESTROYED
