"""Flask's names for a session, and what Flask's config decides of each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from flask.sessions import SessionMixin

from litesess import codec
from litesess.cookie import CookieSettings
from litesess.errors import StoreError
from litesess.manager import Manager
from litesess.session import Move, Session, Status

if TYPE_CHECKING:
    from flask import Flask

    from litesess.cookie import SessionCookie
    from litesess.stores.base import Record

logger = logging.getLogger("litesess.flask")

#: Where Flask keeps whether a session is permanent; by itself that is no content.
PERMANENT: Final = "_permanent"
_TRUE: Final = codec.encode(True, PERMANENT)


class FlaskSession(Session, SessionMixin):
    """A :class:`litesess.Session` with the names that Flask has for it."""

    def __init__(self, manager: FlaskManager, environ: Mapping[str, Any]) -> None:
        super().__init__(manager, environ)
        self._manager = manager
        self._is_cleared = False
        #: Whether it was permanent when it was loaded.
        self.was_permanent = False

    @property
    def new(self) -> bool:  # type: ignore[override]  # Flask: a constant; here it is known
        """Whether nothing of it is stored yet."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether the content, at any depth, or the id differs from what is stored.

        Setting it is not needed: to True it is a :meth:`touch`, to False it does nothing.
        """
        return super().modified

    @modified.setter
    def modified(self, value: bool) -> None:
        if value and not self.is_new:
            self.touch()

    def clear(self) -> None:
        """Remove all data, and the owner; if nothing is set after that, it is destroyed."""
        super().clear()
        self._is_cleared = True
        if self.owner is None or self._is_atomic:
            return
        # Guards: a logout that clears, and leaves a message for the next page.
        if self.is_late:
            self.destroy()  # as the client can't be told another id
        else:
            self.owner = None

    def begin(self, session_id: str | None, record: Record | None) -> None:
        """Stand for a stored session, or for a new one if *record* is None."""
        super().begin(session_id, record)
        self._is_cleared = False
        self.was_permanent = self.frames.get(PERMANENT) == _TRUE

    def current_cookie(self) -> SessionCookie:
        """Return its cookie settings; this is no look of the app's."""
        cookie = super().current_cookie()
        # Whether it is permanent may have changed since they were made.
        cookie.settings = self._manager.settings_for(self)
        return cookie

    @property
    def is_permanent(self) -> bool:
        """As ``permanent``, but no look of the app's."""
        accessed = self.accessed
        try:
            return bool(self.get(PERMANENT))
        finally:
            self.accessed = accessed

    def settle(self) -> None:
        """Destroy the session if the app has emptied it; begin none that has no content."""
        if self.is_abandoned:
            return
        if self.status is Status.STORED and self._is_emptied():
            self.destroy()
        elif self.status is Status.NEW and not self.is_late and self._is_blank():
            # As an app does in before_request for whoever comes by.
            self.pop(PERMANENT, None)

    def _is_emptied(self) -> bool:
        if self.move is Move.REGENERATE or self._has_content():
            return False
        if self._is_cleared:  # and nobody has logged in after that
            return self.new_owner in ([], [None])
        had_content = any(key != PERMANENT for key in self.frames)
        # A login outlives its last message; another request may have put something in.
        return had_content and self.owner is None and self._manager.is_current(self)

    def _is_blank(self) -> bool:
        is_wanted = self.is_announced or self.new_owner or self._manager.options.save_uninitialized
        return not (is_wanted or self._has_content()) and PERMANENT in self

    def _has_content(self) -> bool:
        return len(self) > (PERMANENT in self)


class FlaskManager(Manager):
    """Opens, commits and announces the sessions of one Flask app."""

    def __init__(self, app: Flask, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._app = app
        cookie = self.options.cookie
        self._is_secure = isinstance(cookie, CookieSettings) and cookie.secure is True

    def settings_for(self, session: Session) -> CookieSettings:
        """Return the cookie settings of a session: a permanent one lives as the config says."""
        settings = super().settings_for(session)
        if _ours(session).is_permanent:
            return _living(settings, self._app.permanent_session_lifetime)
        return settings

    def is_rolling(self, session: Session) -> bool:
        """Say whether each response sends the cookie of a session that was looked at."""
        if super().is_rolling(session):
            return True
        ours = _ours(session)
        if ours.is_permanent:
            return not ours.was_permanent or self._app.config["SESSION_REFRESH_EACH_REQUEST"]
        return ours.was_permanent

    def is_https(self, environ: Mapping[str, Any]) -> bool:
        """Say whether the client's request came by https, or counts as if it had."""
        # As in Flask: SESSION_COOKIE_SECURE says that it does, whatever a proxy does not tell.
        return self._is_secure or super().is_https(environ)

    def commit(self, session: Session, *, is_unset: bool = False) -> list[str]:
        """Store what is to be stored; see :meth:`Manager.commit`."""
        _ours(session).settle()
        return super().commit(session, is_unset=is_unset)

    def finish_late(self, session: Session, *, is_unset: bool = False) -> None:
        """Commit what was changed after the headers had left; what can't be is logged."""
        try:
            _ours(session).settle()
        except StoreError:
            logger.exception("a session that was emptied late was not destroyed")
        super().finish_late(session, is_unset=is_unset)


def _ours(session: Session) -> FlaskSession:
    assert isinstance(session, FlaskSession)  # the interface makes no others
    return session


@lru_cache(maxsize=64)
def _living(settings: CookieSettings, life: timedelta) -> CookieSettings:
    return replace(settings, max_age=life.total_seconds(), expires=None)
