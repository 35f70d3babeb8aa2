"""Beaker's cookies, honoured while its clients come back."""

from __future__ import annotations

import hmac
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar

from litesess.cookie import LONGEST_HEADER
from litesess.errors import ConfigError
from litesess.ids import key_of
from litesess.integrations.beaker.config import COOKIE_NAME, Given, from_beaker
from litesess.manager import Manager
from litesess.middleware import SessionMiddleware
from litesess.session import Session, Status
from litesess.stores.base import Record

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class BeakerTransition(SessionMiddleware):
    """The middleware that :func:`from_beaker` configures, and Beaker's cookies hold on.

    A client that comes with a cookie of Beaker's goes on with the session that ``litesess
    import-beaker`` has brought over, under another id, and gets a cookie of ours in the place of
    Beaker's.  When the last of them has come or has expired, ``SessionMiddleware`` does.
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
        **options: Any,
    ) -> None:
        """Wrap *app*.

        Args:
            app: any WSGI app.
            config: see :func:`from_beaker`; its ``session.secret`` verifies Beaker's cookies.
            path: see there.
            **options: see there; ``secret``, if it is given, signs the cookies of ours.

        Raises:
            ConfigError: see there; or Beaker's cookies are not signed.
        """
        given = Given(config)
        secret = given.text("secret")
        if secret is None:
            raise ConfigError(
                f"{given.name('secret')} is missing: cookies of Beaker's that nobody signed can't"
                " be honoured; use SessionMiddleware(app, **from_beaker(...)), everybody logs in"
                " again"
            )
        self._cookies = _BeakerCookies(given.text("key") or COOKIE_NAME, secret.encode())
        super().__init__(app, **from_beaker(config, path, **options))

    def make_manager(self, options: Mapping[str, Any]) -> Manager:
        """Return a manager that knows Beaker's cookies."""
        return _TransitionManager(options, self._cookies)


class _BeakerCookies:
    """Reads the ids out of Beaker's cookies: in hex, behind their HMAC-SHA-1."""

    # Beaker's ids are those of uuid.uuid4().
    _VALUE: ClassVar = re.compile(r'"?([0-9a-f]{40})([0-9a-f]{32})"?\Z')

    def __init__(self, name: str, secret: bytes) -> None:
        self._name = name
        self._secret = secret

    def ids(self, header: str) -> Iterator[str]:
        """Yield the ids that a ``Cookie`` header carries and Beaker has signed."""
        if self._name not in header or len(header) > LONGEST_HEADER:
            return
        for piece in header.split(";"):
            name, _, value = piece.partition("=")
            found = self._VALUE.match(value.strip(" \t"))
            if found and name.strip(" \t") == self._name:
                signature = hmac.new(self._secret, found[2].encode(), "sha1").hexdigest()
                if hmac.compare_digest(signature, found[1]):
                    yield found[2]

    def successor(self, beaker_id: str) -> str:
        """Return the id by which a session of Beaker's goes on, the same each time.

        So requests that come at once, all with Beaker's cookie, find one session, and a client
        that a response has not reached finds it again.
        """
        digest = hmac.new(self._secret, b"litesess " + beaker_id.encode(), "sha256").digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


class _TransitionManager(Manager):
    """A manager to whom Beaker's cookies count as ours, signed with an older secret."""

    def __init__(self, options: Mapping[str, Any], cookies: _BeakerCookies) -> None:
        super().__init__(options)
        self._cookies = cookies

    def hydrate(self, session: Session) -> None:
        """Find out which session the request's cookie stands for, ours or Beaker's."""
        super().hydrate(session)
        if session.status is not Status.NEW or session.has_strays:
            return
        for beaker_id in self._cookies.ids(session.environ.get("HTTP_COOKIE", "")):
            if self._goes_on(session, beaker_id):
                return

    def _goes_on(self, session: Session, beaker_id: str) -> bool:
        """Let the session stand for the one that Beaker knew by that id; False: it is not there."""
        session_id = self._cookies.successor(beaker_id)
        old, new = key_of(beaker_id), key_of(session_id)
        record = self._live(new)
        if record is None:
            imported = self._live(old)
            if imported is None:
                return False
            session.begin(beaker_id, imported)
            if session.is_late or not self._can_announce(session):
                return True  # what the client can't be told of now, it is told by a later request
            # Another request may have been faster.
            record = self.store.rotate(old, new, {}, ()) or self._live(new)
        session.begin(None if record is None else session_id, record)
        session.is_stale = record is not None  # so that the client gets a cookie of ours
        return record is not None

    def _live(self, key: str) -> Record | None:
        record = self.store.load(key)
        return record if record is not None and self._ends_at(record) > self._clock() else None
