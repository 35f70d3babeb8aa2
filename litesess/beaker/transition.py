"""A middleware that accepts Beaker's cookies until its clients have come back."""

from __future__ import annotations

import hmac
import logging
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from litesess.beaker.config import COOKIE_NAME, Given, from_beaker
from litesess.errors import ConfigError
from litesess.ids import key_of
from litesess.stores.base import Record
from litesess.web import (
    MAX_CANDIDATES,
    Arrival,
    Candidate,
    Manager,
    Session,
    SessionMiddleware,
    Verified,
    Visit,
    values_of,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from typing_extensions import Unpack

    from litesess.beaker.keywords import BeakerKeywords

logger = logging.getLogger("litesess.beaker")


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


class _BeakerCookies:
    """Beaker's cookies: an id in hex, after its HMAC-SHA-1 in hex."""

    # Beaker's ids are those of uuid.uuid4().
    _VALUE: ClassVar = re.compile(r"([0-9a-f]{40})([0-9a-f]{32})\Z")

    def __init__(self, name: str, secret: bytes) -> None:
        self._name = name
        self._secret = secret

    def ids(self, header: str) -> Iterator[str]:
        """Yield the ids in a ``Cookie`` header that Beaker has signed."""
        for value in values_of(self._name, header):
            found = self._VALUE.match(value)
            if found:
                signature = hmac.new(self._secret, found[2].encode(), "sha1").hexdigest()
                if hmac.compare_digest(signature, found[1]):
                    yield found[2]

    def successor(self, beaker_id: str) -> str:
        """Return the new id of a session of Beaker's, the same each time.

        So several simultaneous requests with Beaker's cookie find one session, and a client that
        missed the response finds it again.
        """
        digest = hmac.new(self._secret, b"litesess " + beaker_id.encode(), "sha256").digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


class _TransitionManager(Manager):
    """A manager that treats Beaker's cookies as litesess's, signed with an older secret."""

    def __init__(self, options: Mapping[str, Any], cookies: _BeakerCookies) -> None:
        super().__init__(options)
        self.beaker_cookies = cookies


class _TransitionVisit(Visit):
    """A request that can carry a cookie of Beaker's."""

    __slots__ = ()
    rules: _TransitionManager

    def arrival(self) -> Arrival:
        """Return the request's cookies: litesess's or, if it has none, Beaker's."""
        came = super().arrival()
        if came.live or came.strays:
            return came
        live: dict[str, Candidate] = {}
        cookies = self.rules.beaker_cookies
        for beaker_id in islice(cookies.ids(self.environ.get("HTTP_COOKIE", "")), MAX_CANDIDATES):
            session_id = cookies.successor(beaker_id)
            key = key_of(session_id)
            record = self._brought_over(key_of(beaker_id), key)
            if record is not None:
                # is_stale, as if signed with an older secret, so that the client gets litesess's
                # cookie.  If the headers are already sent, Beaker's cookie leads here again.
                live[key] = Verified(session_id, key, is_stale=True, is_secure=False), record
        return came._replace(live=[*live.values()])

    def _brought_over(self, old: str, new: str) -> Record | None:
        """Return the session at the key *new*, moved there from *old* if that was not done yet."""
        record = self._live(new)
        if record is None and self._live(old) is not None:
            # Another request may have moved it first.
            record = self.rules.store.rotate(old, new, {}, ()) or self._live(new)
        return record

    def _live(self, key: str) -> Record | None:
        rules = self.rules
        record = rules.store.load(key)
        is_live = record is not None and self.ends_at(record) > rules.clock()
        return record if is_live else None


class BeakerSession(Session):
    """A session that is true even when it is empty, as Beaker's is.

    Apps ask ``if not environ.get("beaker.session")`` whether there is a middleware at all.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


_TransitionManager.visit_class = _TransitionVisit
_TransitionManager.session_class = BeakerSession
