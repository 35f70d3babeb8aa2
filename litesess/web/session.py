"""The session as an app sees it: a mapping of its data, loaded when it is first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from litesess import ids
from litesess.errors import SessionGone
from litesess.stores.keeping import keys_of
from litesess.web import atomic
from litesess.web.csrf import CSRF_KEY, CsrfToken, new_token
from litesess.web.flash import FlashMessages
from litesess.web.loaded import GONE
from litesess.web.visit import Visit

if TYPE_CHECKING:
    from litesess.web.cookie import SessionCookie

ResultT = TypeVar("ResultT")


class Session(FlashMessages, CsrfToken):
    """The data of one client's session, with its operations.

    It is a mapping of the app's own keys; in-place changes of its values, at any depth, are
    noticed.  It belongs to one request.  Threads and greenlets of that request can share it:
    the first use loads it.
    """

    __slots__ = ("_visit",)

    def __init__(self, visit: Visit) -> None:
        """Stand for the session of a request; nothing is parsed or loaded yet."""
        self._visit = visit

    # Attributes.

    @property
    def id(self) -> str:
        """The session id: the client's secret, not for logs or pages."""
        visit = self._visit.look()
        with visit.lock:  # two threads must not make two
            return visit.current_id()

    @property
    def handle(self) -> str:
        """The session's public name, for logs, pages and the command line."""
        return ids.handle_of(ids.key_of(self.id))

    @property
    def cookie(self) -> SessionCookie:
        """This session's cookie settings; changes to them are stored with the session.

        Raises:
            SessionGone: the session was destroyed.
        """
        visit = self._visit.look()
        if visit.status in GONE:
            raise SessionGone("the session is gone, and its cookie settings with it")
        return visit.current_cookie()

    @property
    def accessed(self) -> bool:
        """Whether the app has looked at it in any way."""
        return self._visit.is_looked_at

    @property
    def is_new(self) -> bool:
        """Whether the session is not stored yet."""
        return self._visit.look().standing() is None

    @property
    def created_at(self) -> float | None:
        """When it was created, in Unix seconds; None: not stored yet."""
        record = self._visit.look().standing()
        return None if record is None else record.created_at

    @property
    def last_seen_at(self) -> float | None:
        """When a request before this one used it, in Unix seconds.

        It is exact to within ``touch_interval``: a request soon after a touch leaves no trace.  Nor
        does a request that only reads a session with a fixed end.  None: it is not stored yet.
        """
        visit = self._visit.look()
        return None if visit.standing() is None else visit.seen_at

    @property
    def expires_at(self) -> float | None:
        """The stored expiry, in Unix seconds; None: not stored yet."""
        record = self._visit.look().standing()
        return None if record is None else record.expires_at

    @property
    def modified(self) -> bool:
        """Whether the id or the content, at any depth, differs from the stored session."""
        visit = self._visit.look()
        return visit.is_moved() or any(visit.contents.changes())

    @property
    def owner(self) -> str | None:
        """The user that the session belongs to, or None; you can set a str, an int or a UUID.

        To set the owner that the session has changes nothing, so that an app can do it at each
        request.  To set another one is a :meth:`login`.  ``None`` is a :meth:`clear` if the session
        has an owner; otherwise the data stays.

        Raises:
            ConfigTypeError: the owner is no str, int or UUID.
            SessionGone: the session was destroyed.
            HeadersSent: it would be a login, and the client can't be told the new id any more.
        """
        return self._visit.look().owner()

    @owner.setter
    def owner(self, value: ids.OwnerName | None) -> None:
        self._visit.look().set_owner(value)

    def login(self, owner: ids.OwnerName) -> None:
        """Make this the session of *owner*, a user who has just logged in.

        The session gets a new id and CSRF token, also if it has that owner already, and
        ``absolute_timeout`` begins anew.  Changes that other requests, already under way, make
        under the old id are dropped.  An anonymous session keeps its data; the data of another
        owner is deleted.
        All other sessions that the request has cookies of end.  The login is stored with the other
        changes of this request.

        Args:
            owner: the user, as ``store.find()`` and ``store.delete_owner()`` know them.

        Raises:
            ConfigTypeError: the owner is no str, int or UUID.
            SessionGone: the session was destroyed.
            HeadersSent: the client can't be told the new id any more.

        Source: OWASP ASVS 5.0, 7.2.4.
        """
        self._visit.writable().log_in(ids.owner_of(owner))

    def logout(self) -> None:
        """Do as :meth:`destroy` does."""
        self.destroy()

    # Operations for the app.

    def save(self) -> None:
        """Store the session now, whether or not it was changed.

        If another request has rotated it meanwhile, it is stored, and gone for this one.  A new
        session is not stored if ``max_sessions`` is reached and no session can end for it.

        Raises:
            SessionGone: it was destroyed or has expired; nothing is stored.
            EncodeError: a value can't be stored; nothing is.
            HeadersSent: it is new, and the client can't be told its id any more.
            StoreError: the store can't work.
        """
        self._visit.writable().save()

    def reload(self) -> None:
        """Read the session's data again from the store, and drop the changes made since.

        Raises:
            SessionGone: it was destroyed, has expired or was never stored.
            StoreError: the store can't work.
        """
        visit = self._visit.writable()
        visit.check_not_atomic()
        visit.reload()

    def atomic(self, function: Callable[[Session], ResultT]) -> ResultT:
        """Call *function* with this session as it is stored now, and store its changes.

        If another request, of this process or another, has written the session meanwhile,
        nothing is stored, and *function* is called again with the new data.  Use it for counters,
        and wherever you read a value before you set it.  Nothing is locked while it runs.
        Earlier changes are saved first; objects that you took out of the session before are no
        longer part of it.  A new session, which no other request knows, is stored with the
        response.

        Args:
            function: called once or more; it may change the data, and destroy the session, but
                not save, reload or rotate it.

        Returns:
            The result of the last call of *function*.

        Raises:
            VersionConflict: other requests were faster for as long as the store's ``lock_timeout``.
            SessionGone: the session was destroyed, has expired or was given another id.
            Exception: an error of *function*; none of its changes is stored.
        """
        return atomic.apply(self._visit.writable(), lambda: function(self))

    def touch(self) -> None:
        """Restart the session's life when the request ends, even soon after another touch."""
        self._visit.writable().is_touched = True

    def destroy(self) -> None:
        """Delete the session now, durably, and let the client forget its cookie.

        Raises:
            StoreError: the store can't work; the session lives on.
        """
        # Also if another request has moved it, or was faster.
        self._visit.look().destroy()

    def regenerate(self) -> None:
        """Go on as a new, empty session with another id; the old one ends at the next write.

        Raises:
            HeadersSent: the client can't be told the id any more.
        """
        self._visit.look().regenerate()

    def rotate(self) -> None:
        """Go on with another id and the same data; the old id is dead from the next write on.

        Call it when the user's rights change; at login, call :meth:`login`.

        Raises:
            SessionGone: the session was destroyed.
            HeadersSent: the client can't be told the id any more.
        """
        self._visit.writable().rotate()

    def _first_csrf_token(self) -> str:
        visit = self._visit.look()
        if CSRF_KEY in visit.contents.frames:  # it was taken out: another one is wanted
            return new_token()
        return visit.rules.signer.csrf_token(visit.current_id(), visit.owner())

    # The mapping.

    def __getitem__(self, key: str) -> Any:
        return self._visit.look().contents[key]

    def __setitem__(self, key: str, value: Any) -> None:
        visit = self._visit.writable()
        visit.contents[key] = value
        if key == visit.rules.owner_key:
            visit.follow_key()

    def __delitem__(self, key: str) -> None:
        visit = self._visit.writable()
        del visit.contents[key]
        if key == visit.rules.owner_key:
            visit.follow_key()

    def __iter__(self) -> Iterator[str]:
        return iter(self._visit.look().contents)

    def __len__(self) -> int:
        return len(self._visit.look().contents)

    def __bool__(self) -> bool:
        return bool(self._visit.look().contents)

    def __contains__(self, key: object) -> bool:
        return key in self._visit.look().contents

    def clear(self) -> None:
        """Remove all data and the owner, at the next write.

        If nothing is set after that, the session is deleted and the client forgets its cookie;
        otherwise it goes on under another id, without an owner.  Inside of :meth:`atomic` that is
        done when it ends.  After the headers have left, the session is deleted at once, and later
        writes raise :class:`~litesess.HeadersSent`.

        Raises:
            SessionGone: the session was destroyed.
        """
        self._visit.look().clear()

    def copy(self) -> dict[str, Any]:
        """Return the data as a dict, with the same values."""
        return dict(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(dict(self), memo)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self) | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(other) | dict(self) if isinstance(other, Mapping) else NotImplemented

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value under *key*; the first time, set it to *default*."""
        with self._visit.look().lock:
            return super().setdefault(key, default)

    def get_csrf_token(self) -> str:
        """Return the token; the first time, make one: overlapping requests make the same."""
        with self._visit.look().lock:
            return super().get_csrf_token()

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Session:
        self.update(other)
        return self

    def __repr__(self) -> str:
        # Neither id nor data: reprs end up in logs.
        return f"<Session {self._visit.status.name.lower()}>"


def visit_of(session: Session) -> Visit:
    """Return the request's use of *session*: for integrations, which commit it."""
    return session._visit  # noqa: SLF001  # what an app sees of a session has no name for it


@keys_of.register
def _(session: Session) -> set[str]:
    return visit_of(session).look().keys()
