"""``SessionStore``, the class of Django's ``request.session``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import UpdateError

from litesess import ids
from litesess.integrations.django.configured import manager
from litesess.integrations.django.session import DjangoSession
from litesess.integrations.django.standing import Standing
from litesess.stores.keeping import keys_of
from litesess.web import Status

ResultT = TypeVar("ResultT")

_ABSENT: Any = object()


class SessionStore(Standing):
    """A session with Django's names; in-place changes of its values, at any depth, are noticed.

    Changes are merged key by key into the stored session.  If it was deleted meanwhile, it stays
    dead: :meth:`save` raises ``UpdateError``.
    """

    # Its values.

    def _get_session(self, no_load: bool = False) -> DjangoSession:  # Django's
        self.accessed = True
        session: DjangoSession | None = self.__dict__.get("_session_cache")
        if session is None:
            if no_load:
                self._begin(None)
            session = self._session_cache = DjangoSession(self._visit.look())
        return session

    async def _aget_session(self, no_load: bool = False) -> DjangoSession:
        session: DjangoSession | None = self.__dict__.get("_session_cache")
        if session is None:
            return await sync_to_async(self._get_session)(no_load)
        self.accessed = True
        return session

    _session = property(_get_session)

    def pop(self, key: str, default: Any = _ABSENT) -> Any:
        """Remove a value and return it; raise KeyError if it is missing without a *default*."""
        return self._popped(self._get_session(), key, default)

    async def apop(self, key: str, default: Any = _ABSENT) -> Any:
        """Do as :meth:`pop` does."""
        return self._popped(await self._aget_session(), key, default)

    def _popped(self, session: DjangoSession, key: str, default: Any) -> Any:
        if key in session:
            self._is_marked = True
        return session.pop(key) if default is _ABSENT else session.pop(key, default)

    def clear(self) -> None:
        """Remove all values, and the owner with them; see :meth:`flush` for a logout."""
        session = self._get_session()
        for key in list(session):
            del session[key]
        self._is_marked = True

    def atomic(self, function: Callable[[SessionStore], ResultT]) -> ResultT:
        """Call *function* with this session as it is stored now, and store its changes.

        If another request has written the session meanwhile, *function* is called again with the
        new data.  Use it for counters, and wherever you read a value before you set it.

        Returns:
            The result of the last call of *function*.

        Raises:
            VersionConflict: other requests were faster for as long as the store's ``lock_timeout``.
            SessionGone: the session was deleted, has expired or was given another id.
            Exception: an error of *function*; none of its changes is stored.
        """
        return self._get_session().atomic(lambda _values: function(self))

    # The stored session.

    def exists(self, session_key: str | None) -> bool:
        """Return whether a session is stored under this id, and does not leave it."""
        if session_key is None or not self._validate_session_key(session_key):
            return False
        if self._is_loaded() and session_key == self._visit.id != self._visit.known_id():
            return False
        return manager().store.load(ids.key_of(session_key)) is not None

    def load(self) -> dict[str, Any]:
        """Return the stored values; if the session is not stored, drop its id."""
        session_key = self._get_session_key()
        looked = None
        if session_key is not None:
            looked = SessionStore(session_key)._visit.look()  # noqa: SLF001  # the session of another store object, of this same class
        if looked is None or looked.status is not Status.STORED:
            self._begin(None)
            return {}
        return dict(DjangoSession(looked))

    def create(self) -> None:
        """Store its values as a new session.

        Raises:
            UpdateError: the store is full.
            EncodeError: a value can't be stored.
        """
        self._create(None)
        self._is_marked = True

    def save(self, must_create: bool = False) -> None:  # Django's
        """Store the changes; without changes, extend the session's life.

        Args:
            must_create: store it as a new session under the id that was given.

        Raises:
            UpdateError: it was deleted or has expired, or was given another id, under which the
                changes are stored then; or it is new, and the store is full.
            CreateError: there is a session of that id already.
            EncodeError: a value can't be stored; nothing is.
            StoreError: the store can't work.
        """
        session_key = self._get_session_key()
        if must_create and session_key is not None:
            self._create(session_key)
            return
        if session_key is None:
            self.create()
            return
        self._get_session()
        visit = self._visit
        if visit.status is Status.NEW:
            self.create()
            return
        if self._is_marked and visit.status is Status.STORED and not visit.is_written:
            visit.is_touched = True
        visit.commit_unannounced()
        if self._is_excused():
            return
        if visit.status is not Status.STORED or visit.is_anonymous:
            raise UpdateError
        self._passed_over = ({}, [])

    def _create(self, session_key: str | None) -> None:
        values = self.__dict__.get("_session_cache")
        if session_key is not None or values is None or self._visit.status is not Status.NEW:
            held = {} if values is None else dict(values)
            self._begin(session_key)
            visit = self._visit
            visit.is_given_kept = session_key is not None
            session = self._get_session()
            visit.id = session_key
            session.update(held)
        self.accessed = True
        visit = self._visit
        visit.is_announced = True
        visit.commit_unannounced()
        if visit.status is not Status.STORED:
            raise UpdateError
        self._passed_over = ({}, [])

    def delete(self, session_key: str | None = None) -> None:
        """Delete a session now, durably: this one, or that of another id."""
        if session_key is None:
            session_key = self._visit.id if self._is_loaded() else self._given
        if session_key is not None and self._validate_session_key(session_key):
            manager().store.delete(ids.key_of(session_key))

    def flush(self) -> None:
        """Delete it now, durably; values set afterwards begin a session with another id."""
        self._get_session()
        self._visit.end_cleared()
        self._passed_over = ({}, [])
        self._is_marked = True

    async def aflush(self) -> None:
        """Do as :meth:`flush` does."""
        await sync_to_async(self.flush)()

    def cycle_key(self) -> None:
        """Give it another id, with the same values, when it is saved.

        A change of another request that overlaps that is not lost, unless this one is a login.
        """
        self._get_session()
        visit = self._visit.writable()
        visit.rotate()
        if visit.status is Status.NEW:
            visit.is_announced = True
            visit.current_id()
        self._is_marked = True

    async def acycle_key(self) -> None:
        """Do as :meth:`cycle_key` does."""
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the sessions that have expired; the collector does so by itself, too."""
        manager().store.collect()

    def keys_kept(self) -> set[str]:
        """Return the keys that the session is, and will be, stored under."""
        visit = self._visit.look()
        return set() if visit.known_id() is None else visit.keys()


@keys_of.register
def _(session: SessionStore) -> set[str]:
    return session.keys_kept()
