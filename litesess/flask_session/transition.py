"""An extension that accepts Flask-Session's cookies until its clients have come back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from itsdangerous import BadSignature, Signer

from litesess.errors import ConfigError, ConfigTypeError
from litesess.flask_session.names import key_of_name, names_of
from litesess.integrations.flask import FlaskManager, FlaskVisit, Litesess
from litesess.moving.cookies import MovingManager, MovingVisit, OldCookies, OldSession, successor
from litesess.web import values_of

if TYPE_CHECKING:
    from flask import Flask

    from litesess.integrations.flask.config import Live

_PREFIX: Final = "SESSION_KEY_PREFIX"
_SIGNED: Final = "SESSION_USE_SIGNER"
_LENGTH: Final = "SESSION_ID_LENGTH"
#: The fewest bytes that an id must be made of, and the characters that stand for them.
_FEWEST_BYTES: Final = 16
#: From 0.6 on an id is base64url, of 32 bytes by default; before, it was str(uuid.uuid4()).
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22,}\Z")


class _FlaskSessionCookies(OldCookies):
    """Flask-Session's cookies: an id, which is signed only with ``SESSION_USE_SIGNER``."""

    def __init__(self, app: Flask, secret: bytes) -> None:
        self._app = app
        self._secret = secret
        config = app.config
        self._prefix = config.get(_PREFIX, "session:")
        if not isinstance(self._prefix, str):
            raise ConfigTypeError(f"{_PREFIX} is of type {type(self._prefix).__name__}, not str")
        length = config.get(_LENGTH, _FEWEST_BYTES)
        if not isinstance(length, int) or length < _FEWEST_BYTES:
            raise ConfigError(
                f"{_LENGTH} {length!r} bytes: ids of fewer than {_FEWEST_BYTES} bytes can be"
                " guessed, and are not accepted; use Litesess(app), and all users log in again"
            )
        self._unsigned = _unsigner(app) if config.get(_SIGNED) else lambda value: value

    def sessions(self, header: str) -> Iterator[OldSession]:
        """Yield the sessions of the ids that a ``Cookie`` header has in Flask-Session's form."""
        for value in values_of(self._app.config["SESSION_COOKIE_NAME"], header):
            old_id = self._unsigned(value)
            if old_id is not None and _ID.match(old_id):
                keys = [key_of_name(name) for name in names_of(self._prefix + old_id)]
                yield OldSession(keys, successor(self._secret, old_id))


def _unsigner(app: Flask) -> Callable[[str], str | None]:
    """Return a function that returns the id in a signed cookie; None: it is not signed by us.

    Source: Flask-Session, base.py, ``_get_signer``.
    """
    older = app.config.get("SECRET_KEY_FALLBACKS") or ()
    if isinstance(older, (str, bytes)):  # one, and not its characters
        older = [older]
    keys = [*reversed(older), app.secret_key]
    if not app.secret_key:
        raise ConfigError(f"{_SIGNED} is set, but not SECRET_KEY, which signed the cookies")
    signer = Signer(keys, salt="flask-session", key_derivation="hmac")

    def unsigned(value: str) -> str | None:
        try:
            return signer.unsign(value).decode()
        except BadSignature:
            return None

    return unsigned


class _TransitionVisit(MovingVisit, FlaskVisit):
    """A request that can carry a cookie of Flask-Session's."""

    __slots__ = ()
    rules: _TransitionManager


class _TransitionManager(MovingManager, FlaskManager):
    """A manager that accepts Flask-Session's cookies."""

    visit_class = _TransitionVisit
    used_keys = frozenset({_PREFIX, _SIGNED, _LENGTH})

    def __init__(self, app: Flask, options: Mapping[str, Any], live: Live) -> None:
        super().__init__(app, options, live)
        self.old_cookies = _FlaskSessionCookies(app, self.options.secret[0])


class FlaskSessionTransition(Litesess):
    """The extension for Flask, which accepts Flask-Session's cookies, too.

    If a client sends Flask-Session's cookie, it continues the session that ``litesess
    import-flask-session`` has brought over.  The session gets another id, and the client gets
    litesess's cookie in place of Flask-Session's.  When all those clients have come back, or their
    sessions have expired, ``Litesess`` is enough.

    Three keys of Flask-Session's have the effect that they had there: ``SESSION_KEY_PREFIX``,
    ``SESSION_USE_SIGNER`` and ``SESSION_ID_LENGTH``.
    """

    manager_class = _TransitionManager
