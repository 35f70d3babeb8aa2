"""The session as an app sees it: a mapping of its data, loaded when it is first looked at.

A session knows what it was loaded with and what the app made of it; what that means for the
store and the client is :mod:`litesess.manager`'s business.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from litesess import codec, ids
from litesess.errors import HeadersSent, SessionGone
from litesess.messages import Messages

if TYPE_CHECKING:
    from litesess.cookie import SessionCookie
    from litesess.stores.base import Record


logger = logging.getLogger("litesess.session")

ResultT = TypeVar("ResultT")


class Status(enum.Enum):
    """Where a session stands."""

    UNREAD = "nobody has looked at it"
    NEW = "not stored"
    STORED = "stored"
    DESTROYED = "destroyed by this request"
    LOST = "was gone when this request came to write or reload it"


class Move(enum.Enum):
    """Why a session gets another id at the next write."""

    ROTATE = "same data"
    REGENERATE = "empty"


class Keeper(Protocol):
    """What a session asks its manager for."""

    def hydrate(self, session: Session) -> None:
        """Find out which session the request's cookie stands for, and load it."""

    def make_id(self, session: Session) -> str:
        """Return an id that no session has."""

    def make_cookie(self, session: Session) -> SessionCookie:
        """Return the cookie settings of the session."""

    def save(self, session: Session) -> None:
        """Store the session now."""

    def reload(self, session: Session) -> None:
        """Load the session again."""

    def destroy(self, session: Session) -> None:
        """Delete the session now."""

    def atomic(self, session: Session, function: Callable[[Session], ResultT]) -> ResultT:
        """Store what *function* does to the session if nobody else has written it meanwhile."""


class _Unread:
    """Stands for a value that nobody has asked for, so that it stays encoded."""

    def __repr__(self) -> str:
        return "<unread>"


_UNREAD: Final = _Unread()


class Session(Messages):
    """The data of one client's session, and what can be done with it.

    It is a mapping of the app's own keys; in-place changes of its values, at any depth, are
    noticed.  It belongs to one request and is not to be shared between threads.
    """

    __slots__ = (
        "_assigned",
        "_cookie",
        "_data",
        "_environ",
        "_frames",
        "_id",
        "_is_atomic",
        "_keeper",
        "_move",
        "_new_id",
        "_new_owner",
        "_record",
        "accessed",
        "client_id",
        "has_cookie",
        "has_strays",
        "is_abandoned",
        "is_announced",
        "is_anonymous",
        "is_content_written",
        "is_cookie_written",
        "is_forced_touch",
        "is_late",
        "is_refused",
        "is_stale",
        "is_tried",
        "is_written",
        "loaded_seen_at",
        "status",
        "written_at",
    )

    _assigned: set[str]
    _cookie: SessionCookie | None
    _data: dict[str, Any]
    _frames: codec.Frames
    _id: str | None
    _move: Move | None
    _new_id: str | None
    _new_owner: list[str | None]
    _record: Record | None

    def __init__(self, keeper: Keeper, environ: Mapping[str, Any]) -> None:
        """Stand for the session of a request; nothing is parsed or loaded yet."""
        self._keeper = keeper
        self._environ = environ
        self.status = Status.UNREAD
        #: Whether the app has looked at it in any way.
        self.accessed = False
        #: Whether the store was asked for it.
        self.is_tried = False
        #: The request has failed: nothing of what it made of the session is to be kept.
        self.is_abandoned = False
        #: The store could not be reached: it stands for nobody, and nothing of it is to be kept.
        self.is_anonymous = False
        #: The store could not be reached, which is not this app's fault: see ``Manager.excuses``.
        self.is_refused = False
        #: The headers have left, so nothing can be told to the client any more.
        self.is_late = False
        self._is_atomic = False

    # What the manager sets and asks.

    @property
    def environ(self) -> Mapping[str, Any]:
        """The request."""
        return self._environ

    @property
    def record(self) -> Record | None:
        """What is stored, as far as this request knows."""
        return self._record

    @property
    def frames(self) -> codec.Frames:
        """What is stored of its data, as far as this request knows."""
        return self._frames

    def drop_id(self) -> None:
        """Take another id: this one is taken."""
        if self._move is None:
            self._id = None
        else:
            self._new_id = self._keeper.make_id(self)

    def current_id(self) -> str:
        """Return the id it has, or gets at the next write."""
        if self._new_id is not None:
            return self._new_id
        if self._id is None:
            self._id = self._keeper.make_id(self)
        return self._id

    def current_cookie(self) -> SessionCookie:
        """Return its cookie settings; this is no look of the app's."""
        if self._cookie is None:
            self._cookie = self._keeper.make_cookie(self)
        return self._cookie

    def begin(self, session_id: str | None, record: Record | None) -> None:
        """Stand for a stored session, or for a new one if *record* is None."""
        self.status = Status.NEW if record is None else Status.STORED
        self._id = session_id
        self._record = record
        self._frames = {} if record is None else record.frames
        self._data = dict.fromkeys(self._frames, _UNREAD)
        self._assigned = set()
        self._cookie = None
        self._move = None
        self._new_id = None
        self._new_owner = []
        #: When a request had used it last, when this one began.
        self.loaded_seen_at = None if record is None else record.last_seen_at
        #: The id that the client came with and will come with again, unless it is told another.
        self.client_id = session_id
        #: The client is to be told, whether or not the app wrote anything.
        self.is_announced = False
        #: The app asked for a touch.
        self.is_forced_touch = False
        #: The client came with a cookie of ours, whatever became of its session.
        self.has_cookie = session_id is not None
        #: This request has stored it, when, ...
        self.is_written = False
        self.written_at: float | None = None
        #: ... with another content or id than before,
        self.is_content_written = False
        #: ... and with cookie settings of its own.
        self.is_cookie_written = False
        #: The cookie was signed with an older secret.
        self.is_stale = False
        #: The request came with several live sessions, so it has none.
        self.has_strays = False

    def changes(self) -> tuple[codec.Frames, list[str]]:
        """Return the changed values, encoded, and the removed keys, since it was stored last.

        Raises:
            EncodeError: a value can't be stored.
        """
        changed = {}
        frames = self._frames
        for key, value in self._data.items():
            if value is _UNREAD:
                continue
            if type(value) in codec.IMMUTABLE and key not in self._assigned:
                continue
            frame = codec.encode(value, key)
            before = frames.get(key)
            if before is None or not codec.same_content(before, frame):
                changed[key] = frame
        removed = [key for key in frames if key not in self._data]
        return changed, removed

    @property
    def move(self) -> Move | None:
        """Why it gets another id at the next write, if it does."""
        return self._move

    @property
    def new_owner(self) -> list[str | None]:
        """The owner it gets at the next write, in a list; an empty list: as before."""
        return self._new_owner

    def stored_as(self, session_id: str, record: Record, changed: codec.Frames) -> None:
        """Take note of what was just stored; values the app holds stay the same objects.

        Args:
            session_id: under which it was stored.
            record: what is stored now, others' changes included.
            changed: the values this request changed, as :meth:`changes` gave them.
        """
        mine, own = self._data, self._frames | changed
        self._id = session_id
        self._record = record
        self._frames = record.frames
        self._data = {
            key: mine[key] if key in mine and own[key] == frame else _UNREAD
            for key, frame in record.frames.items()
        }
        self._assigned.clear()
        self._move = self._new_id = None
        self._new_owner = []
        self.status = Status.STORED
        self.is_written = True
        if self._cookie is not None:
            self._cookie.stored_until(record.expires_at)

    def revert(self, frames: codec.Frames) -> None:
        """Make the data of a new session what *frames* say."""
        self._data = {key: codec.decode(frame) for key, frame in frames.items()}
        self._assigned = set(self._data)

    def lose(self, status: Status) -> None:
        """Stand for nothing any more."""
        self.status = status
        self._data = {}
        self._frames = {}
        self._assigned.clear()
        self._move = self._new_id = None

    # Attributes.

    @property
    def id(self) -> str:
        """The session id: the client's secret, not for logs or pages."""
        self._look()
        return self.current_id()

    @property
    def stored_id(self) -> str | None:
        """The id it is stored under; None: it is not stored, or was not given one yet."""
        return self._id

    @property
    def handle(self) -> str:
        """The session's public name, for logs, pages and the command line."""
        return ids.handle_of(ids.key_of(self.id))

    @property
    def cookie(self) -> SessionCookie:
        """This session's cookie settings; what is set here stays with the session.

        Raises:
            SessionGone: the session was destroyed.
        """
        self._look()
        if self.status in (Status.DESTROYED, Status.LOST):
            raise SessionGone("the session is gone, and its cookie settings with it")
        return self.current_cookie()

    @property
    def is_new(self) -> bool:
        """Whether nothing of it is stored yet."""
        return self._standing() is None

    @property
    def created_at(self) -> float | None:
        """When it was created, in Unix seconds; None: not stored yet."""
        record = self._standing()
        return None if record is None else record.created_at

    @property
    def last_seen_at(self) -> float | None:
        """When a request before this one used it, in Unix seconds.

        To within ``touch_interval``: what is not worth a touch leaves no trace, nor does one that
        only reads a session whose end no request moves.  None: it is not stored yet.
        """
        return None if self._standing() is None else self.loaded_seen_at

    @property
    def expires_at(self) -> float | None:
        """When it expires as it is stored now, in Unix seconds; None: not stored yet."""
        record = self._standing()
        return None if record is None else record.expires_at

    @property
    def modified(self) -> bool:
        """Whether the id or the content, at any depth, differs from what is stored."""
        self._look()
        return self._move is not None or any(self.changes())

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to store: content, id, owner or cookie settings."""
        is_cookie_changed = self._cookie is not None and self._cookie.is_changed
        return self.modified or bool(self._new_owner) or is_cookie_changed

    @property
    def owner(self) -> str | None:
        """Whose session this is; settable.  Another owner gets another session id."""
        record = self._standing()
        if self._new_owner:
            return self._new_owner[0]
        return None if record is None else record.owner

    @owner.setter
    def owner(self, value: object) -> None:
        self._check_writable()
        owner = None if value is None else str(value)
        if owner != self.owner:
            # Source: OWASP Session Management Cheat Sheet, "Renew the Session ID After Any
            # Privilege Level Change".
            self.rotate()
            self._new_owner = [owner]
            # Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet: a login has its own.
            self._drop_csrf_token()

    # What an app does with it.

    def save(self) -> None:
        """Store the session now, whether or not it was changed.

        If another request has rotated it meanwhile, it is stored, and gone for this one.

        Raises:
            SessionGone: it was destroyed or has expired; nothing is stored.
            EncodeError: a value can't be stored; nothing is.
            HeadersSent: it is new, and the client can't be told its id any more.
            StoreError: the store can't work.
        """
        self._check_writable()
        self._check_not_atomic()
        self._keeper.save(self)

    def reload(self) -> None:
        """Read the session's data again from the store, and drop what was changed since.

        Raises:
            SessionGone: it was destroyed, has expired or was never stored.
            StoreError: the store can't work.
        """
        self._check_writable()
        self._check_not_atomic()
        self._keeper.reload(self)

    def atomic(self, function: Callable[[Session], ResultT]) -> ResultT:
        """Call *function* with this session as it is stored now, and store what it made of it.

        If another request, of this process or another, has written the session meanwhile,
        nothing is stored, and *function* is called again with what that has made of it: for
        counters, and for what is looked at before it is set.  Nothing is locked while it runs.
        What was changed before is saved first; values taken out of the session before are not
        its own any more.  A new session, which nobody else knows, is stored with the response.

        Args:
            function: called once or more; it may change the data, and destroy the session, but
                not save, reload or rotate it.

        Returns:
            What *function* returned the last time.

        Raises:
            VersionConflict: others were faster for as long as the store's ``lock_timeout``.
            SessionGone: the session was destroyed, has expired or was given another id.
            Exception: what *function* raised; nothing that it did is stored.
        """
        self._check_writable()
        self._check_not_atomic()
        self._is_atomic = True
        try:
            return self._keeper.atomic(self, function)
        finally:
            self._is_atomic = False

    def touch(self) -> None:
        """Let the session's life begin anew when the request ends, also if that is throttled."""
        self._check_writable()
        self.is_forced_touch = True

    def destroy(self) -> None:
        """Delete the session now, durably, and let the client forget its cookie.

        Raises:
            StoreError: the store can't work; the session lives on.
        """
        self._look()
        # Also if another request has moved it, or was faster.
        self._keeper.destroy(self)

    def regenerate(self) -> None:
        """Go on as a new, empty session with another id; the old one ends at the next write.

        Raises:
            HeadersSent: the client can't be told the id any more.
        """
        self._look()
        self._check_announceable()
        self._check_not_atomic()
        if self.status in (Status.DESTROYED, Status.LOST):
            self._keeper.destroy(self)
            came_with = self.client_id, self.has_cookie
            self.begin(None, None)
            self.client_id, self.has_cookie = came_with
        self._data = {}
        self._frames = {}
        self._assigned.clear()
        self._cookie = None
        self._new_owner = []
        self._renew_id(Move.REGENERATE)
        self.is_announced = True

    def rotate(self) -> None:
        """Go on with another id and the same data; the old id is dead from the next write on.

        Call it whenever the user's rights change, at login above all.

        Raises:
            SessionGone: the session was destroyed.
            HeadersSent: the client can't be told the id any more.
        """
        self._check_writable()
        self._check_announceable()
        if self._move is None:
            self._renew_id(Move.ROTATE)

    def _renew_id(self, move: Move) -> None:
        self._check_not_atomic()
        if self.status is Status.NEW:
            self._id = None  # nobody has seen it
            self._move = None
        else:
            self._move = move
            self._new_id = self._keeper.make_id(self)

    # The mapping.

    def __getitem__(self, key: str) -> Any:
        self._look()
        value = self._data[key]
        if value is _UNREAD:
            try:
                value = codec.decode(self._frames[key])
            except ValueError as error:
                # Its checksum was good, so nothing rotted; it must not fail for ever.  What is
                # stored stays: another release may know how to read it.
                logger.exception("a session's value can't be decoded, treated as absent")
                del self._data[key], self._frames[key]
                raise KeyError(key) from error
            self._data[key] = value
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_writable()
        self._data[codec.check_key(key)] = value
        self._assigned.add(key)

    def __delitem__(self, key: str) -> None:
        self._check_writable()
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        self._look()
        # Whoever goes through all of them asks for the values next.
        return iter([key for key in list(self._data) if self._is_readable(key)])

    def _is_readable(self, key: str) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __len__(self) -> int:
        self._look()
        return len(self._data)

    def __contains__(self, key: object) -> bool:
        self._look()
        return key in self._data

    def clear(self) -> None:
        """Remove all data; id and cookie stay."""
        self._check_writable()
        self._data.clear()

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Session:
        self.update(other)
        return self

    def __repr__(self) -> str:
        # Neither id nor data: reprs end up in logs.
        return f"<Session {self.status.name.lower()}>"

    def _standing(self) -> Record | None:
        """Return what is stored of this session; None: nothing yet, or it begins anew."""
        self._look()
        is_stored = self.status is Status.STORED and self._move is not Move.REGENERATE
        return self._record if is_stored else None

    def _look(self) -> None:
        self.accessed = True
        if self.status is Status.UNREAD:
            self.is_tried = True
            self._keeper.hydrate(self)

    def _check_writable(self) -> None:
        self._look()
        if self.status is Status.DESTROYED:
            raise SessionGone("the session was destroyed; call regenerate() to begin another")
        if self.status is Status.LOST:
            raise SessionGone("the session is gone; call regenerate() to begin another")
        if self.is_late and self.status is Status.NEW:
            raise HeadersSent("the client can't be told of a new session any more")

    def _check_not_atomic(self) -> None:
        if self._is_atomic:
            raise RuntimeError("inside atomic() a session can't be saved, reloaded or rotated")

    def _check_announceable(self) -> None:
        if self.is_late:
            raise HeadersSent("the client can't be told another session id any more")
