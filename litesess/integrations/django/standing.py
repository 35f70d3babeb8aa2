"""The session that a ``SessionStore`` stands for, and its state."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase, UpdateError

from litesess import ids
from litesess.errors import EncodeError
from litesess.integrations.django.configured import manager
from litesess.integrations.django.session import DjangoVisit
from litesess.web import ID, Status


class Standing(SessionBase):
    """A session as Django's middleware asks of it; a subclass stores it."""

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
        #: Django's own middleware was told that there is something to save.
        self._is_promised = False
        self.__dict__.pop("_session_cache", None)

    def come_by(self, environ: dict[str, Any]) -> None:
        """Be the session of a request; its middleware can serve a page without a session."""
        self._environ = environ

    @property
    def _visit(self) -> DjangoVisit:
        visit = self._visit_or_none
        if visit is None:
            opened = manager().begin({} if self._environ is None else self._environ)
            assert isinstance(opened, DjangoVisit)  # no path is out of its scope
            self._visit_or_none = visit = opened
            visit.given = self._given
            if type(self).get_session_cookie_age is not Standing.get_session_cookie_age:
                visit.age_of = lambda _owner: self.get_session_cookie_age()
        return visit

    # Facts about the session.

    def _validate_session_key(self, key: object) -> bool:
        """Return whether *key* can be an id: 8 to 128 of A-Z a-z 0-9 _ -."""
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
        """The user that the session belongs to, as ``store.find()`` knows them, or None."""
        return self._visit.look().owner()

    @property
    def modified(self) -> bool:
        """Whether there is something to store: its content, at any depth, its id or its owner.

        Set it to True, and the session's life begins anew.  Set it to False, and the changes made
        so far are no reason to store it.
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

        Without a session that middleware would answer 400.  Asked here before, it serves the page.
        The changes of such a request are stored if another one has given the session another id;
        otherwise they are dropped.
        """
        visit = self._visit
        is_late = visit.status is Status.OVERTAKEN or (
            visit.status is Status.STORED and visit.rules.store.load(visit.stored()[0]) is None
        )
        if is_late:
            with suppress(UpdateError):
                self.save()
        is_there = visit.status in (Status.STORED, Status.NEW, Status.UNREAD)
        self._is_promised = is_there and not visit.is_anonymous
        return self._is_promised

    def _is_excused(self) -> bool:
        """Return whether to ignore silently that a session could not be saved.

        It has ended after Django's own middleware was told that it is there, which sends the
        cookie again: of a session that is dead that does no harm, and the page is served.  Of one
        that has another id by now it would take the new one's place.
        """
        visit = self._visit
        if not self._is_promised or visit.status is not Status.LOST:
            return False
        key, _ = visit.stored()
        return visit.rules.store.moved_at(key) is None

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
        """Return whether to answer 503, because a view turned the store's outage into a 500."""
        visit = self._visit_or_none
        return visit is not None and visit.excuses(status)

    def get_session_cookie_age(self) -> float:
        """Return how long it lives if it has no expiry of its own, in seconds."""
        rules = manager()
        if rules.store.anonymous_ttl is None:
            return rules.cookie_age(None)
        return rules.cookie_age(self.owner)
