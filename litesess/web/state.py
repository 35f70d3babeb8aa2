"""Where a request's session stands: what the client came with, what is stored, what is due.

What outlives a reload is set by :meth:`State.find` alone; what is loaded, by :meth:`State.load`.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping, Sequence
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Final

from litesess import codec, ids
from litesess.errors import StoreUnavailable
from litesess.stores.base import Record
from litesess.web.arrival import Arrival, arrival_of, chosen_of, own_scopes
from litesess.web.contents import Contents
from litesess.web.cookie import CookieSettings, SessionCookie
from litesess.web.rules import Rules
from litesess.web.strays import Scope

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("litesess")


class Status(enum.Enum):
    """Where a session stands."""

    UNREAD = "nobody has looked at it"
    NEW = "not stored"
    STORED = "stored"
    DESTROYED = "destroyed by this request"
    LOST = "was gone when this request came to write or reload it"


# Guards: State._first_look, while it is made.
_looking: Final = Lock()

GONE: Final = (Status.DESTROYED, Status.LOST)


class Move(enum.Enum):
    """Why a session gets another id at the next write."""

    ROTATE = "same data"
    REGENERATE = "empty"


class State:
    """The session of one request, as far as the request knows.

    The attributes have two lifetimes.  Those of the request are set when it begins and by
    :meth:`find`; a reload and a new beginning leave them as they are.  Those of the session that is
    loaded are set by :meth:`load`, all of them, whenever the request goes on with another session.
    """

    __slots__ = (
        "_cookie",
        "_first_look",
        "_key",
        "_new_id",
        "client_id",
        "contents",
        "environ",
        "has_cookie",
        "has_ended",
        "id",
        "is_abandoned",
        "is_announced",
        "is_anonymous",
        "is_atomic",
        "is_cleared",
        "is_content_written",
        "is_cookie_written",
        "is_late",
        "is_looked_at",
        "is_refused",
        "is_stale",
        "is_touched",
        "is_tried",
        "is_written",
        "move",
        "new_owner",
        "record",
        "rules",
        "scopes",
        "seen_at",
        "status",
        "strays",
        "written_at",
    )

    #: The id that it is stored under; None: it is not stored, or was not given one yet.
    id: str | None
    record: Record | None
    contents: Contents
    #: The next write gives it another id, for this reason.
    move: Move | None
    #: The owner it gets at the next write, by a login; None: no login.
    new_owner: str | None
    _cookie: SessionCookie | None
    _new_id: str | None

    def __init__(self, rules: Rules, environ: Mapping[str, Any]) -> None:
        """Begin with a request; nothing is parsed or loaded yet."""
        self.rules = rules
        self.environ = environ
        self.status = Status.UNREAD
        self._first_look: RLock | None = None
        #: Whether the app has looked at the session in any way.
        self.is_looked_at = False
        #: Whether the store was asked for it.
        self.is_tried = False
        #: The request has failed: nothing of what it made of the session is to be kept.
        self.is_abandoned = False
        #: The store could not be reached: it stands for nobody, and nothing of it is to be kept.
        self.is_anonymous = False
        #: The store could not be reached, which is not this app's fault: see :meth:`Visit.excuses`.
        self.is_refused = False
        #: The headers have left, so nothing can be told to the client any more.
        self.is_late = False
        self.is_atomic = False

    # What the client came with.

    def look(self) -> Self:
        """Load the session if nobody has looked at it before; return this."""
        self.is_looked_at = True
        if self.status is Status.UNREAD:
            self.look_first()
        return self

    def look_first(self) -> None:
        """Load the session: of the threads and greenlets of a request, the one that comes first."""
        with _looking:
            if self._first_look is None:
                self._first_look = RLock()
        # May be taken again: a callable of the app's may look at the session, too.
        with self._first_look:
            if self.status is Status.UNREAD:
                self.is_tried = True
                self.find()

    def find(self) -> None:
        """Find out which session the request's cookie stands for, and load it."""
        came = self._arrival_or_outage()
        if self.status is not Status.UNREAD:
            return  # another greenlet of this thread was faster
        live, chosen = came.live, chosen_of(came.live)
        #: The client came with a cookie of ours, whatever became of its session.
        self.has_cookie = came.has_cookie or chosen is not None
        #: The ids of other sessions that the client came with cookies of.
        self.strays: Sequence[str] = came.strays
        #: The scopes of cookies whose sessions have scopes of their own.
        self.scopes: Sequence[Scope] = ()
        #: This request has ended a session; the client is to forget it, and the strays end, too.
        self.has_ended = False
        #: The app asked for a touch.
        self.is_touched = False
        #: The client is to be told, whether or not the app wrote anything.
        self.is_announced = False
        #: This request has stored the session, when, ...
        self.is_written = False
        self.written_at: float | None = None
        #: ... with another content or id than before,
        self.is_content_written = False
        #: ... and with cookie settings of its own.
        self.is_cookie_written = False
        #: The id that the client came with and will come with again, unless it is told another.
        self.client_id: str | None = None
        #: When a request had used the session last, when this one began.
        self.seen_at: float | None = None
        #: The cookie was signed with an older secret.
        self.is_stale = False
        if len(live) > 1 or (live and live[0][1].cookie):
            self.scopes = own_scopes(self.rules, self.environ, live)
            self.strays = [
                *came.strays,
                *(each[0].session_id for each in live if each is not chosen),
            ]
        if self.strays:
            self._warn_of_strays(is_served=chosen is not None)
        # An id that is not stored is never adopted: whoever chose it may know it.
        # Source: OWASP Session Management Cheat Sheet, "strict" session management.
        if chosen is None:
            self.load(None, None)
        else:
            verified, record = chosen
            self.client_id, self.is_stale = verified.session_id, verified.is_stale
            self.seen_at = record.last_seen_at
            self.load(verified.session_id, record, verified.key)

    def _arrival_or_outage(self) -> Arrival:
        try:
            return self.arrival()
        except StoreUnavailable as error:
            self.is_refused = True
            if self.rules.options.if_unavailable != "anonymous":
                raise
            # No cookie is sent, or whoever is logged in would not be when the store is back.
            log_outage("a request is served as nobody's", error)
            self.is_anonymous = True
            return Arrival([], (), has_cookie=False)

    def arrival(self) -> Arrival:
        """Return what the client came with."""
        return arrival_of(self.rules, self.environ)

    def _warn_of_strays(self, *, is_served: bool) -> None:
        logger.warning(
            "a request came with cookies of %d sessions, so it has %s; another site on a"
            " neighbouring subdomain can plant them, the name __Host-... prevents that",
            len(self.strays) + is_served,
            "the newest, as all are of one owner" if is_served else "none",
        )

    def load(self, session_id: str | None, record: Record | None, key: str | None = None) -> None:
        """Stand for a stored session, or for a new one if *record* is None.

        Args:
            session_id: of a stored session.
            record: what is stored.
            key: where it is stored, if that was computed already.
        """
        self.id = session_id
        self._key = key
        self.record = record
        self.contents = self.empty() if record is None else self.of(record.frames)
        self.move = self.new_owner = self._cookie = self._new_id = None
        #: The app has taken all data and the owner away: what it set since is all there is.
        self.is_cleared = False
        # Order: last, as other threads of the request go on when they see it.
        self.status = Status.NEW if record is None else Status.STORED

    def empty(self) -> Contents:
        """Return the contents of a session that has none."""
        return self.of({})

    def of(self, frames: codec.Frames) -> Contents:
        """Return contents that are stored as *frames*."""
        return Contents(frames, self.rules.options.max_session_bytes)

    # Where the session stands.

    def standing(self) -> Record | None:
        """Return what is stored of this session; None: nothing yet, or it begins anew."""
        is_stored = self.status is Status.STORED and self.move is not Move.REGENERATE
        return self.record if is_stored else None

    def stored(self) -> tuple[str, Record]:
        """Return the key and the record of a session that is stored."""
        assert self.id is not None
        assert self.record is not None
        if self._key is None:
            self._key = ids.key_of(self.id)
        return self._key, self.record

    def owner(self) -> str | None:
        """Return the owner that the session has, or gets at the next write."""
        if self.new_owner is not None or self.is_cleared:
            return self.new_owner
        record = self.standing()
        return None if record is None else record.owner

    def is_changed(self) -> bool:
        """Return whether there is anything to store: content, id, owner or cookie settings."""
        is_cookie_changed = self.changed_cookie() is not None
        return self.is_moved() or is_cookie_changed or any(self.contents.changes())

    def is_moved(self) -> bool:
        """Return whether the session gets another id, or ends, at the next write."""
        return self.move is not None or (self.is_cleared and self.status is Status.STORED)

    def is_blank(self) -> bool:
        """Return whether the session was cleared and nothing was set since: it is to end."""
        return self.is_cleared and self.new_owner is None and not self.has_content()

    def has_content(self) -> bool:
        """Return whether there is anything worth keeping in the session."""
        return len(self.contents) > 0

    def current_id(self) -> str:
        """Return the id it has, or gets at the next write."""
        if self._new_id is not None:
            return self._new_id
        if self.id is None:
            self.id = self.rules.make_id(self.environ)
        return self.id

    def keys(self) -> set[str]:
        """Return the keys that the session is, and will be, stored under."""
        return {ids.key_of(each) for each in (self.id, self.current_id()) if each is not None}

    def drop_id(self) -> None:
        """Take another id: this one is taken."""
        if self.move is None:
            self.id = self._key = None
        else:
            self._new_id = self.rules.make_id(self.environ)

    def expiry(self, created_at: float, now: float) -> float:
        """Return when the session expires if it is used at *now*, in Unix seconds."""
        return self.rules.expiry(self.settings(), self.own_cookie() or {}, created_at, now)

    def own_cookie(self) -> Mapping[str, Any] | None:
        """Return the session's own cookie settings; None: it has none."""
        if self._cookie is not None:
            return self._cookie.changes or None
        record = self.record if self.move is not Move.REGENERATE else None
        return None if record is None else record.cookie

    def changed_cookie(self) -> Mapping[str, Any] | None:
        """Return the session's own cookie settings if the app has changed them; otherwise None."""
        cookie = self._cookie
        return cookie.changes if cookie is not None and cookie.is_changed else None

    def current_cookie(self) -> SessionCookie:
        """Return its cookie settings; this is no look of the app's."""
        if self._cookie is None:
            record = self.record if self.move is not Move.REGENERATE else None
            self._cookie = SessionCookie(
                self.rules.signer.name,
                self.settings(),
                self.own_cookie(),
                None if record is None else record.expires_at,
                self.rules.clock,
            )
        return self._cookie

    def stored_as(self, record: Record, changed: Any) -> None:
        """Take note of what was just stored, under the id that the session was to get.

        Args:
            record: what is stored now, others' changes included.
            changed: the values this request changed, encoded.
        """
        if self._new_id is not None:
            self.id, self._key = self._new_id, None
        self.record = record
        self.contents.stored(record.frames, changed)
        self.move = self._new_id = self.new_owner = None
        self.is_cleared = False
        self.status = Status.STORED
        self.is_written = True
        if self._cookie is not None:
            self._cookie.stored_until(record.expires_at)

    def prolonged(self, expires_at: float, now: float) -> None:
        """Take note that only the session's life was prolonged.

        Args:
            expires_at: when it expires now, in Unix seconds.
            now: in Unix seconds.
        """
        _, record = self.stored()
        record.expires_at = expires_at
        self.written_at = now
        if self._cookie is not None:
            self._cookie.stored_until(expires_at)

    def lose(self, status: Status = Status.LOST) -> None:
        """Stand for nothing any more."""
        self.contents = self.empty()
        self.move = self._new_id = self.new_owner = None
        self.is_cleared = False
        self.status = status

    # What an integration may know better.

    def settings(self) -> CookieSettings:
        """Return the cookie settings that the session has, but for its own changes to them."""
        return self.rules.settings_of(self.environ)

    def is_rolling(self) -> bool:
        """Say whether the response sends the cookie of the session if it was looked at."""
        return self.rules.options.rolling

    def is_https(self) -> bool:
        """Say whether the client's request came by https, or counts as if it had."""
        return self.rules.is_https(self.environ)


def log_outage(what: str, error: StoreUnavailable) -> None:
    """Log that the store is away."""
    # Without a traceback: an outage has one of these for every request.
    logger.error("%s: %s", what, error)
