"""A session as the web layer has it, with Django's ideas of its id, its life and its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError
from django.utils.crypto import get_random_string

from litesess import ids
from litesess.integrations.django.messages import MESSAGES_KEY, items_of, text_of
from litesess.web import (
    Arrival,
    CookieSettings,
    Manager,
    Session,
    Status,
    Verified,
    Visit,
    arrival_by,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from litesess.stores.base import Record
    from litesess.web import Contents

#: Where Django keeps a session's own expiry: a number of seconds, or a date, also as text.
EXPIRY_KEY: Final = "_session_expiry"
#: As long as Django's, which projects keep in columns of 40 characters: 165 random bits.
ID_CHARACTERS: Final = 32


class DjangoSession(Session):
    """The values of a session, as Django's names for one see them."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return text_of(value) if key == MESSAGES_KEY else value

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, items_of(value) if key == MESSAGES_KEY else value)


class DjangoVisit(Visit):
    """A request's use of its session, which Django's middleware finds and announces."""

    __slots__ = ("age_of", "given", "is_given_kept")
    rules: DjangoManager

    def __init__(self, rules: DjangoManager, environ: Mapping[str, Any]) -> None:
        """Begin with a request; nothing is loaded yet."""
        super().__init__(rules, environ)
        #: The id that the client came with, or that a caller has named.
        self.given: str | None = None
        #: A new session is to have that id and no other.
        self.is_given_kept = False
        #: Returns how long a session of this owner lives that has no expiry of its own, in seconds.
        self.age_of: Callable[[str | None], float] = rules.cookie_age

    def arrival(self) -> Arrival:
        """Return the sessions that the client has cookies of."""
        given = self.given
        if given is None or self.is_given_kept:
            return Arrival()
        # As secure as Django's settings say: Django sets the cookie.
        verified = Verified(given, ids.key_of(given), is_stale=False, is_secure=True)
        return arrival_by(self, [verified])

    def known_id(self) -> str | None:
        """Return the id that the session has, or gets; None: it was not given one yet."""
        if self.status is Status.UNREAD:
            return self.given
        if self.status is Status.NEW and self.is_announced and self.has_content():
            # A signal of a login, say, takes it down before the session is stored.
            return self.current_id()
        return self.id if self._new_id is None else self._new_id

    def drop_id(self) -> None:
        """Take another id: this one is taken."""
        if self.is_given_kept:
            raise CreateError
        super().drop_id()

    def writable(self) -> Self:
        """Let the app continue with a lost session, without storing its changes."""
        return self.look() if self.status is Status.LOST else super().writable()

    def settings(self) -> CookieSettings:
        """Return the settings of a session that lives as Django says."""
        return self._lives(self.contents, self.owner())

    def settings_of(self, record: Record) -> CookieSettings:
        """Return those of a session that is not loaded yet."""
        contents: Any = self.of(record.frames) if EXPIRY_KEY in record.frames else {}
        return self._lives(contents, record.owner)

    def _lives(self, contents: Contents | dict[str, Any], owner: str | None) -> CookieSettings:
        expiry: Any = None
        if EXPIRY_KEY in contents:
            expiry = contents[EXPIRY_KEY]
        if isinstance(expiry, str):
            expiry = datetime.fromisoformat(expiry)
        if isinstance(expiry, datetime):
            return CookieSettings(expires=expiry.timestamp())
        # 0, too, has that life: its cookie ends with the browser.
        life = expiry or self.age_of(owner)
        return _living(life) if life > 0 else CookieSettings(expires=self.rules.clock() + life)


class DjangoManager(Manager):
    """Opens the sessions of a project."""

    visit_class = DjangoVisit
    session_class = DjangoSession
    list_keys = (*Manager.list_keys, MESSAGES_KEY)

    def make_id(self, _environ: Mapping[str, Any]) -> str:
        """Return an id that no session has."""
        session_id: str = get_random_string(ID_CHARACTERS, VALID_KEY_CHARS)
        return session_id

    def cookie_age(self, owner: str | None) -> float:
        """Return how long a session lives that has no expiry of its own, in seconds."""
        anonymous = self.store.anonymous_ttl if owner is None else None
        age: float = settings.SESSION_COOKIE_AGE
        return age if anonymous is None else anonymous


@lru_cache(maxsize=64)
def _living(life: float) -> CookieSettings:
    return CookieSettings(max_age=life)
