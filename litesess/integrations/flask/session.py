"""Flask's names for a session, and Flask's settings that apply to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from flask import g, has_app_context
from flask.sessions import SessionMixin

from litesess import codec
from litesess.errors import StoreError
from litesess.integrations.flask.cookie import check_cookie_name
from litesess.stores.base import Record
from litesess.web import (
    Contents,
    CookieSettings,
    CookieSigner,
    Manager,
    Move,
    Session,
    Status,
    Visit,
)

if TYPE_CHECKING:
    from flask import Flask

    from litesess.web import SessionCookie

logger = logging.getLogger("litesess.flask")

#: The session key of Flask-Login for the user's id.
OWNER_KEY: Final = "_user_id"
#: The session key of Flask for a permanent session; alone it does not count as content.
PERMANENT: Final = "_permanent"
_TRUE: Final = codec.encode(True, PERMANENT)


class FlaskSession(Session, SessionMixin):
    """A :class:`litesess.Session` with the names that Flask has for it."""

    _visit: FlaskVisit

    @property
    def new(self) -> bool:
        """Whether the session is not stored yet."""
        return self.is_new

    @new.setter
    def new(self, value: bool) -> None:
        pass  # It is known, but in Flask it can be set.

    @property
    def accessed(self) -> bool:
        """Whether the app has used the session in any way; Flask sets it, too."""
        return self._visit.is_looked_at

    @accessed.setter
    def accessed(self, value: bool) -> None:
        self._visit.is_looked_at = value

    @property
    def modified(self) -> bool:
        """Whether the content, at any depth, or the id differs from the stored session.

        You need not set it: True has the effect of :meth:`touch`, False has none.
        """
        return super().modified

    @modified.setter
    def modified(self, value: bool) -> None:
        if value and not self.is_new:
            self.touch()

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            raise AttributeError(
                f"a session has no attribute {name!r}{_nearest(name)}; a value is set by"
                f" session[{name!r}]"
            )
        super().__setattr__(name, value)


def _nearest(name: str) -> str:
    known = [each for each in dir(FlaskSession) if not each.startswith("_")]
    nearest = get_close_matches(name, known, n=1)
    return f", did you mean {nearest[0]!r}?" if nearest else ""


class FlaskVisit(Visit):
    """A request's use of its session, as Flask's config has it."""

    __slots__ = ("was_permanent",)
    rules: FlaskManager

    def find(self) -> None:
        """Load the session that the request's cookie names."""
        super().find()
        #: Whether it was permanent when this request came.
        self.was_permanent = self.contents.frames.get(PERMANENT) == _TRUE

    def current_cookie(self) -> SessionCookie:
        """Return its cookie settings; this does not count as a use by the app."""
        cookie = super().current_cookie()
        # The session may have become permanent, or not permanent, since they were made.
        cookie.settings = self.settings()
        return cookie

    def settings(self) -> CookieSettings:
        """Return the cookie settings: a permanent session lives as the config says."""
        settings = super().settings()
        if self._is_permanent(self.contents):
            return _living(settings, self.rules.app.permanent_session_lifetime)
        return settings

    def settings_of(self, record: Record) -> CookieSettings:
        """Return the cookie settings of a session that is not loaded yet."""
        settings = super().settings_of(record)
        if PERMANENT in record.frames and self._is_permanent(self.of(record.frames)):
            return _living(settings, self.rules.app.permanent_session_lifetime)
        return settings

    def is_rolling(self) -> bool:
        """Return whether the response sends the cookie of a session that was used."""
        if super().is_rolling():
            return True
        if self._is_permanent(self.contents):
            refreshes: bool = self.rules.app.config["SESSION_REFRESH_EACH_REQUEST"]
            return not self.was_permanent or refreshes
        return self.was_permanent

    def commit(self, *, is_unset: bool = False) -> list[str]:
        """Store the session; see :meth:`Visit.commit`."""
        self._settle()
        return super().commit(is_unset=is_unset)

    def finish_late(self, *, is_unset: bool = False) -> None:
        """Commit changes made after the headers were sent, or log why they can't be stored."""
        try:
            self._settle()
        except StoreError:
            logger.exception("a session that was emptied late was not destroyed")
        super().finish_late(is_unset=is_unset)

    def drop_tokens(self) -> None:
        """Remove the CSRF tokens, Flask-WTF's among them."""
        super().drop_tokens()
        if has_app_context():
            # Flask-WTF keeps its token there for the rest of the request.
            g.pop(self.rules.form_token_key(), None)

    @staticmethod
    def _is_permanent(contents: Contents) -> bool:
        return PERMANENT in contents and bool(contents[PERMANENT])

    def _settle(self) -> None:
        """Destroy the session if the app has emptied it; start no session without content."""
        if self.is_abandoned:
            return
        if self.status is Status.STORED and self._is_emptied():
            self.destroy()
        elif self.status is Status.NEW and not self.is_late and self._is_blank():
            # Apps set it in before_request for every visitor.
            del self.contents[PERMANENT]

    def _is_emptied(self) -> bool:
        if self.move is Move.REGENERATE or self.has_content():
            return False
        had_content = any(key != PERMANENT for key in self.contents.frames)
        # A login outlives its last message.  Another request may have added a value.
        return had_content and self.owner() is None and self._is_current()

    def _is_current(self) -> bool:
        """Return whether the stored session is unchanged since this request loaded it."""
        key, record = self.stored()
        stored = self.rules.store.load(key)
        return stored is not None and stored.version == record.version

    def _is_blank(self) -> bool:
        is_wanted = self.is_announced or self.new_owner or self.rules.options.save_uninitialized
        return not (is_wanted or self.has_content()) and PERMANENT in self.contents

    def has_content(self) -> bool:
        """Return whether there is anything worth keeping in the session."""
        return any(key != PERMANENT for key in self.contents.names())


class FlaskManager(Manager):
    """Opens the sessions of one Flask app."""

    visit_class = FlaskVisit
    session_class = FlaskSession
    # Flask's flash() appends to the list under this key.
    list_keys = (*Manager.list_keys, "_flashes")
    #: Keys of Flask-Session's in the app's config that have an effect.
    used_keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, app: Flask, options: Mapping[str, Any], live: Mapping[str, Callable[[], Any]]
    ) -> None:
        self._signer: CookieSigner
        self._live_name = live.get("cookie_name")
        self._live_settings = live.get("cookie")
        super().__init__({"owner_key": OWNER_KEY, **options})
        if self._live_settings is not None:
            self.fixed_settings = None
        self.app = app
        self.token_keys = (*self.token_keys, self.form_token_key())

    @property
    def signer(self) -> CookieSigner:
        """The signer of the cookie by the name that it has now."""
        if self._live_name is not None:
            name = self._live_name()
            if name != self._signer.name:
                check_cookie_name("SESSION_COOKIE_NAME", name, self._known_settings())
                self._signer = CookieSigner(name, self.options.secret)
        return self._signer

    @signer.setter
    def signer(self, signer: CookieSigner) -> None:
        self._signer = signer

    def settings_of(self, environ: Mapping[str, Any]) -> CookieSettings:
        """Return the cookie's settings, as configured for a request."""
        return self._known_settings() or super().settings_of(environ)

    def _known_settings(self) -> CookieSettings | None:
        """Return the settings of the cookie now, unless the app asks a function for them."""
        return self.fixed_settings if self._live_settings is None else self._live_settings()

    def form_token_key(self) -> str:
        """Return the session key, and the name in ``flask.g``, of Flask-WTF's token."""
        key: str = self.app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token")
        return key

    def is_https(self, environ: Mapping[str, Any]) -> bool:
        """Return whether the client's request came by https, or counts as if it had."""
        # As in Flask: SESSION_COOKIE_SECURE means https, also if a proxy does not report it.
        known = self._known_settings()
        if known is not None and known.secure is True:
            return True
        return super().is_https(environ)


@lru_cache(maxsize=64)
def _living(settings: CookieSettings, life: timedelta) -> CookieSettings:
    return replace(settings, max_age=life.total_seconds(), expires=None)
