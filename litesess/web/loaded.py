"""The session that a request has loaded: its stored record, and its pending changes."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

from litesess import codec, ids
from litesess.stores.base import KEEP, Owner, Record
from litesess.web.contents import Contents
from litesess.web.cookie import CookieSettings, SessionCookie, life_ends_at
from litesess.web.rules import Rules


class Status(enum.Enum):
    """Where a session stands."""

    UNREAD = "nobody has looked at it"
    NEW = "not stored"
    STORED = "stored"
    # The request sees an empty session.  Its changes are dropped, and it sends no cookie, because
    # that could replace the cookie that the other request has set.
    OVERTAKEN = "another request has just given it another id, so this one is late"
    DESTROYED = "destroyed by this request"
    LOST = "was gone when this request came to write or reload it"


GONE: Final = (Status.DESTROYED, Status.LOST)
#: The app sees a session that is not stored.
UNSTORED: Final = (Status.NEW, Status.OVERTAKEN)


class Move(enum.Enum):
    """Why a session gets another id at the next write."""

    ROTATE = "same data"
    OVERDUE = "same data, as a login could not change it"
    REGENERATE = "empty"


class Loaded:
    """The session that a request has loaded; :meth:`load` sets all there is to know of it."""

    __slots__ = (
        "_cookie",
        "_key",
        "_new_id",
        "contents",
        "environ",
        "id",
        "is_cleared",
        "is_owner_said",
        "move",
        "new_owner",
        "record",
        "rules",
        "status",
    )

    rules: Rules
    environ: Mapping[str, Any]
    status: Status
    #: The id that it is stored under; None: it is not stored, or was not given one yet.
    id: str | None
    record: Record | None
    contents: Contents
    #: The next write gives it another id, for this reason.
    move: Move | None
    #: The owner it gets at the next write; None: none; KEEP: the one that it has.
    new_owner: Owner
    _cookie: SessionCookie | None
    _new_id: str | None

    def load(self, session_id: str | None, record: Record | None, key: str | None = None) -> None:
        """Stand for a stored session, for one that this request is late for, or for a new one.

        Args:
            session_id: of a stored session, or of one that is stored under another id by now; None:
                no session.
            record: the stored session; None: it is not shown to this request.
            key: where it is stored, if that was computed already.
        """
        self.id = session_id
        self._key = key
        self.record = record
        frames = {} if record is None else record.frames
        self.contents = Contents(frames, self.rules.options.max_session_bytes)
        self.move = self._cookie = self._new_id = None
        self.new_owner = KEEP
        #: The app itself has named the owner of this session.
        self.is_owner_said = False
        #: The app has removed all data and the owner: only values set since then count.
        self.is_cleared = False
        # Order: last, as other threads of the request go on when they see it.
        if record is not None:
            self.status = Status.STORED
        else:
            self.status = Status.NEW if session_id is None else Status.OVERTAKEN

    def empty(self) -> Contents:
        """Return the contents of an empty session."""
        return self.of({})

    def of(self, frames: codec.Frames) -> Contents:
        """Return contents that are stored as *frames*."""
        return Contents(frames, self.rules.options.max_session_bytes)

    # Where the session stands.

    def standing(self) -> Record | None:
        """Return the stored record of this session; None: it is new, or begins anew."""
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
        if self.new_owner is not KEEP:
            return None if self.new_owner is None else str(self.new_owner)
        if self.is_cleared:
            return None
        record = self.standing()
        return None if record is None else record.owner

    def is_changed(self) -> bool:
        """Return whether there is anything to store: content, id, owner or cookie settings."""
        is_cookie_changed = self.changed_cookie() is not None
        return self.is_moved() or is_cookie_changed or any(self.contents.changes())

    def is_moved(self) -> bool:
        """Return whether the session gets another id, or ends, at the next write."""
        return self.move is not None or (self.is_cleared and self.status is Status.STORED)

    def is_login(self) -> bool:
        """Return whether the next write makes this the session of a user who has just come."""
        return isinstance(self.new_owner, str)

    def is_blank(self) -> bool:
        """Return whether the session was cleared and nothing was set since: it is to end."""
        return self.is_cleared and not self.is_login() and not self.has_content()

    def has_content(self) -> bool:
        """Return whether there is anything worth keeping in the session."""
        return len(self.contents.names()) > 0

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
        """Return when the session expires if it is stored, as it is now, at *now*.

        Args:
            created_at: when it was created, in Unix seconds.
            now: in Unix seconds.
        """
        rules = self.rules
        # The owner is asked for only where it makes a difference.
        owner = None if rules.store.anonymous_ttl is None else self.owner()
        settings = self.settings()
        return rules.expiry(settings, self.own_cookie(), owner, created_at, now)

    def has_life(self) -> bool:
        """Return whether the stored session's cookie has an end, and not that of the browser."""
        assert self.record is not None
        return life_ends_at(self.settings(), self.record.cookie or {}, 0.0) is not None

    def ends_at(self, record: Record) -> float:
        """Return the end of a stored session: its stored expiry or the options' one, if sooner.

        A timeout that was made shorter holds for the sessions that there are, too.

        Args:
            record: the session, which is not loaded yet.
        """
        ends_at, seen_at = record.expires_at, record.last_seen_at
        if seen_at is None:  # a store of another project does not know it
            return ends_at
        settings = self.settings_of(record)
        wanted = self.rules.expiry(
            settings, record.cookie, record.owner, record.created_at, seen_at
        )
        return wanted if wanted < ends_at else ends_at

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

    def forget_cookie(self) -> None:
        """Go on without cookie settings of the session's own."""
        self._cookie = None

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

    def lose(self, status: Status = Status.LOST) -> None:
        """Stand for nothing any more."""
        self.contents = self.empty()
        self.move = self._new_id = None
        self.new_owner = KEEP
        self.is_cleared = False
        self.status = status

    # Methods that an integration may override.

    def settings(self) -> CookieSettings:
        """Return the cookie settings that the session has, but for its own changes to them."""
        return self.rules.settings_of(self.environ)

    def settings_of(self, record: Record) -> CookieSettings:  # noqa: ARG002  # the integrations that override this method need it
        """Return the same of the session in *record*, which is not loaded yet."""
        return self.rules.settings_of(self.environ)
