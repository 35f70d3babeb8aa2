"""A middleware that accepts Beaker's cookies until its clients have come back."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar

from litesess.beaker.config import COOKIE_NAME, Given, from_beaker
from litesess.errors import ConfigError
from litesess.ids import key_of
from litesess.moving.cookies import MovingManager, MovingVisit, OldCookies, OldSession, successor
from litesess.web import Manager, Session, SessionMiddleware, values_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from typing_extensions import Unpack

    from litesess.beaker.keywords import BeakerKeywords


class BeakerTransition(SessionMiddleware):
    """The middleware that :func:`from_beaker` configures, which accepts Beaker's cookies, too.

    If a client sends Beaker's cookie, it continues the session that ``litesess import-beaker`` has
    brought over.  The session gets another id, and the client gets litesess's cookie in place of
    Beaker's.  When all those clients have come back, or their sessions have expired,
    ``SessionMiddleware`` is enough.
    """

    __signature__: ClassVar[Signature] = Signature(
        [
            *(
                Parameter(name, Parameter.POSITIONAL_OR_KEYWORD)
                for name in ("app", "config", "path")
            ),
            Parameter("options", Parameter.VAR_KEYWORD),
        ]
    )

    def __init__(
        self,
        app: WSGIApplication,
        config: Mapping[str, Any],
        path: str | os.PathLike[str],
        **options: Unpack[BeakerKeywords],
    ) -> None:
        """Wrap *app*.

        Args:
            app: any WSGI app.
            config: see :func:`from_beaker`; its ``session.secret`` verifies Beaker's cookies.
            path: see :func:`from_beaker`.
            **options: see :func:`from_beaker`; ``secret``, if it is given, signs litesess's
                cookies.

        Raises:
            ConfigError: as in :func:`from_beaker`; or Beaker's cookies are not signed.
        """
        given = Given(config)
        secret = given.text("secret")
        if secret is None:
            raise ConfigError(
                f"{given.name('secret')} is missing: unsigned cookies of Beaker's can't be"
                " accepted; use SessionMiddleware(app, **from_beaker(...)), and all users log in"
                " again"
            )
        self._cookies = _BeakerCookies(given.text("key") or COOKIE_NAME, secret.encode())
        super().__init__(app, **from_beaker(config, path, **options))

    def make_manager(self, options: Mapping[str, Any]) -> Manager:
        """Return a manager that accepts Beaker's cookies."""
        return _TransitionManager(options, self._cookies)


class _BeakerCookies(OldCookies):
    """Beaker's cookies: an id in hex, after its HMAC-SHA-1 in hex."""

    # Beaker's ids are those of uuid.uuid4().
    _VALUE: ClassVar = re.compile(r"([0-9a-f]{40})([0-9a-f]{32})\Z")

    def __init__(self, name: str, secret: bytes) -> None:
        self._name = name
        self._secret = secret

    def sessions(self, header: str) -> Iterator[OldSession]:
        """Yield the sessions of the ids in a ``Cookie`` header that Beaker has signed."""
        for value in values_of(self._name, header):
            found = self._VALUE.match(value)
            if found:
                signature = hmac.new(self._secret, found[2].encode(), "sha1").hexdigest()
                if hmac.compare_digest(signature, found[1]):
                    yield OldSession((key_of(found[2]),), successor(self._secret, found[2]))


class BeakerSession(Session):
    """A session that is true even when it is empty, as Beaker's is.

    Apps ask ``if not environ.get("beaker.session")`` whether there is a middleware at all.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


class _TransitionManager(MovingManager):
    """A manager that accepts Beaker's cookies."""

    visit_class = MovingVisit
    session_class = BeakerSession

    def __init__(self, options: Mapping[str, Any], cookies: OldCookies) -> None:
        super().__init__(options)
        self.old_cookies = cookies
