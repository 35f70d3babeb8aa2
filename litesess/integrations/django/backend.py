"""``SessionStore``: what Django makes ``request.session`` with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from litesess import ids
from litesess.errors import EncodeError
from litesess.integrations.django.configured import manager
from litesess.integrations.django.session import DjangoSession, DjangoVisit
from litesess.stores.keeping import keys_of
from litesess.web import ID, Status

ResultT = TypeVar("ResultT")

_ABSENT: Any = object()


class SessionStore(SessionBase):
    """A session with Django's names; in-place changes of its values, at any depth, are noticed.

    Changes are merged key by key into what is stored.  A session that was deleted meanwhile stays
    dead: :meth:`save` raises ``UpdateError``.
    """

    def __init__(self, session_key: str | None = None) -> None:
        """Stand for a session; nothing is loaded yet.

        Args:
            session_key: its id; None, or one that is not stored: it is a new one.
        """
        self._environ: dict[str, Any] | None = None
        self._is_marked = False
        self._begin(None)
        super().__init__(session_key)

    def _begin(self, session_key: str | None) -> None:
        """Stand for another session."""
        self._given = session_key
        self._visit_or_none: DjangoVisit | None = None
        #: The changes that were made when it last counted as unmodified.
        self._passed_over: Any = ({}, [])
        self.__dict__.pop("_session_cache", None)

    def come_by(self, environ: dict[str, Any]) -> None:
        """Be the session of a request whose middleware can serve a page without its session."""
        self._environ = environ

    @property
    def _visit(self) -> DjangoVisit:
        visit = self._visit_or_none
        if visit is None:
            opened = manager().begin({} if self._environ is None else self._environ)
            assert isinstance(opened, DjangoVisit)  # no path is out of its scope
            self._visit_or_none = visit = opened
            visit.given = self._given
        return visit

    # What is known of it.

    def _validate_session_key(self, key: object) -> bool:
        """Say whether *key* can be an id: 8 to 128 of A-Z a-z 0-9 _ -."""
        return isinstance(key, str) and len(key) >= 8 and ID.match(key) is not None

    def _get_session_key(self) -> str | None:
        visit = self._visit_or_none
        if visit is None:
            return self._given
        return None if visit.status is Status.DESTROYED else visit.known_id()

    def _set_session_key(self, value: str | None) -> None:
        self._begin(value if self._validate_session_key(value) else None)

    session_key = property(_get_session_key)
    _session_key = property(_get_session_key, _set_session_key)

    @property
    def handle(self) -> str | None:
        """The session's public name, for pages, logs and the command line; None: it has no id."""
        session_id = self._get_session_key()
        return None if session_id is None else ids.handle_of(ids.key_of(session_id))

    @property
    def owner(self) -> str | None:
        """The user whose session this is, as ``store.find()`` knows them, or None."""
        return self._visit.look().owner()

    @property
    def modified(self) -> bool:
        """Whether there is something to store: its content, at any depth, its id or its owner.

        Set it to True, and the session's life begins anew.  Set it to False, and what was changed
        so far is no reason to store it.
        """
        if not (self._is_marked or self._is_changed()):
            return False
        return self._environ is not None or self._is_current()

    @modified.setter
    def modified(self, value: bool) -> None:
        self._is_marked = value
        if not value and self._is_loaded():
            self._passed_over = self._visit.contents.changes()

    def _is_loaded(self) -> bool:
        visit = self._visit_or_none
        return visit is not None and visit.status is not Status.UNREAD

    def _is_changed(self) -> bool:
        if not self._is_loaded():
            return False
        visit = self._visit
        try:
            return visit.is_moved() or visit.contents.changes() != self._passed_over
        except EncodeError:
            return True  # which save() tells of

    def _is_current(self) -> bool:
        """Return whether the session is there still, for Django's own middleware.

        That answers 400 where it is not.  Asked before, it serves the page.  What such a request
        has changed is stored, if another one has given the session another id, or dropped.
        """
        visit = self._visit
        is_late = visit.status is Status.OVERTAKEN or (
            visit.status is Status.STORED
            and visit.rules.store.load(visit.stored()[0]) is None
        )
        if is_late:
            with suppress(UpdateError):
                self.save()
        is_there = visit.status in (Status.STORED, Status.NEW, Status.UNREAD)
        return is_there and not visit.is_anonymous

    def is_empty(self) -> bool:
        """Return whether it has no id and no values."""
        if self._get_session_key() is None:
            return not (self._is_loaded() and self._visit.has_content())
        # Django's middleware would save it: the one way to have the page served.
        is_over = self._is_loaded() and self._visit.status in (Status.LOST, Status.OVERTAKEN)
        return (
            is_over
            and self._environ is None
            and settings.SESSION_SAVE_EVERY_REQUEST
            and not self._visit.is_login()
        )

    def is_unheard_of(self) -> bool:
        """Return whether there is no session, and this request has not ended one."""
        return self.is_empty() and not (self._is_loaded() and self._visit.has_ended)

    def excuses(self, status: int) -> bool:
        """Return whether a response is to be 503: the store is away, and a view made it 500."""
        visit = self._visit_or_none
        return visit is not None and visit.excuses(status)

    def get_session_cookie_age(self) -> float:
        """Return how long it lives if it has no expiry of its own, in seconds."""
        rules = manager()
        if rules.store.anonymous_ttl is None:
            return rules.cookie_age(None)
        return rules.cookie_age(self.owner)

    # Its values.

    def _get_session(self, no_load: bool = False) -> DjangoSession:  # noqa: FBT001, FBT002  # Django's
        self.accessed = True
        session: DjangoSession | None = self.__dict__.get("_session_cache")
        if session is None:
            if no_load:
                self._begin(None)
            session = self._session_cache = DjangoSession(self._visit.look())
        return session

    async def _aget_session(self, no_load: bool = False) -> DjangoSession:  # noqa: FBT001, FBT002
        session: DjangoSession | None = self.__dict__.get("_session_cache")
        if session is None:
            return await sync_to_async(self._get_session)(no_load)
        self.accessed = True
        return session

    _session = property(_get_session)

    def pop(self, key: str, default: Any = _ABSENT) -> Any:
        """Take a value out and return it; raise KeyError if there is none, and no *default*."""
        return self._popped(self._get_session(), key, default)

    async def apop(self, key: str, default: Any = _ABSENT) -> Any:
        """Do as :meth:`pop` does."""
        return self._popped(await self._aget_session(), key, default)

    def _popped(self, session: DjangoSession, key: str, default: Any) -> Any:
        if key in session:
            self._is_marked = True
        return session.pop(key) if default is _ABSENT else session.pop(key, default)

    def clear(self) -> None:
        """Take all values out, and the owner with them; see :meth:`flush` for a logout."""
        session = self._get_session()
        for key in list(session):
            del session[key]
        self._is_marked = True

    def atomic(self, function: Callable[[SessionStore], ResultT]) -> ResultT:
        """Call *function* with this session as it is stored now, and store what it made of it.

        If another request has written the session meanwhile, *function* is called again with what
        that has made of it: for counters, and for what is looked at before it is set.

        Returns:
            What *function* returned the last time.

        Raises:
            VersionConflict: others were faster for as long as the store's ``lock_timeout``.
            SessionGone: the session was deleted, has expired or was given another id.
            Exception: what *function* raised; nothing that it did is stored.
        """
        return self._get_session().atomic(lambda _values: function(self))

    # What is stored of it.

    def exists(self, session_key: str | None) -> bool:
        """Return whether a session is stored under this id, and does not leave it."""
        if session_key is None or not self._validate_session_key(session_key):
            return False
        if self._is_loaded() and session_key == self._visit.id != self._visit.known_id():
            return False
        return manager().store.load(ids.key_of(session_key)) is not None

    def load(self) -> dict[str, Any]:
        """Return what is stored; if nothing is, this has no id any more."""
        session_key = self._get_session_key()
        looked = None
        if session_key is not None:
            looked = SessionStore(session_key)._visit.look()  # noqa: SLF001  # of this class
        if looked is None or looked.status is not Status.STORED:
            self._begin(None)
            return {}
        return dict(DjangoSession(looked))

    def create(self) -> None:
        """Store what it holds as a new session.

        Raises:
            UpdateError: the store is full.
            EncodeError: a value can't be stored.
        """
        self._create(None)
        self._is_marked = True

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's
        """Store what was changed; if nothing was, let it live on.

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
        """Delete it now, durably; what is set after that begins another one, under another id."""
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


__all__ = ["CreateError", "SessionStore", "UpdateError"]
