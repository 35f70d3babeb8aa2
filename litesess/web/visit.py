"""The end of a request: its session is stored, and the client told of it."""

from __future__ import annotations

import logging
from http import HTTPStatus

from litesess.errors import (
    EncodeError,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from litesess.web import announcing, ending, saving
from litesess.web.actions import Actions
from litesess.web.caching import Headers, guard_caches, vary_by_cookie
from litesess.web.loaded import UNSTORED, Move, Status
from litesess.web.state import log_outage

logger = logging.getLogger("litesess")


class Visit(Actions):
    """One request's use of its session, up to its end."""

    __slots__ = ()

    def commit(self, *, is_unset: bool = False) -> list[str]:
        """Store the session's changes; return the ``Set-Cookie`` values, if any.

        Args:
            is_unset: the app has taken the session out of the environ.

        Raises:
            EncodeError: a value can't be stored; nothing is.
            StoreError: the store can't work.
        """
        if self.status is Status.UNREAD and not (is_unset or self.rules.commits_unread):
            self.is_late = True
            return []
        try:
            if is_unset or self.status is Status.UNREAD:
                cookies = self._seldom_outcome(is_unset=is_unset)
            elif self.is_abandoned or self.is_anonymous:
                cookies = []
            else:
                self._store()
                # Order: no cookie may name a session that is not stored.
                cookies = announcing.cookies(self)
        except StoreUnavailable as error:
            self._bear(error)
            cookies = []
        self.is_late = True  # not if that raised: the app may still answer otherwise
        return cookies

    def commit_unannounced(self) -> None:
        """Store the session's changes, for a framework that sends the cookie by its own means.

        The session's status shows the outcome.  The request may go on, and commit again.

        Raises:
            EncodeError: a value can't be stored; nothing is.
            StoreError: the store can't work.
        """
        if self.is_anonymous:
            return
        try:
            self._store()
            if self.status is Status.STORED:
                announcing.is_lost(self)
        except StoreUnavailable as error:
            self._bear(error)

    def _bear(self, error: StoreUnavailable) -> None:
        """Go on without a session if that is wanted while the store is away; else raise *error*."""
        self.is_refused = True
        if self.rules.options.if_unavailable != "anonymous":
            raise error
        log_outage("what a request has done to its session is lost", error)
        self.is_anonymous = True

    def _seldom_outcome(self, *, is_unset: bool) -> list[str]:
        """Commit a session that the app has taken out of the environ, or did not look at."""
        if self.is_abandoned or self.is_anonymous:
            return []
        if is_unset:
            return self._unset()
        if self.is_tried:  # the store has failed
            return []
        try:
            return self._commit_unread()
        except StoreFull:
            # The page does not depend on it, and existing sessions are kept.
            logger.exception("a session that the app did not look at was not stored")
            return []

    def _commit_unread(self) -> list[str]:
        """Commit a session that the app did not use, if an option requires it."""
        options = self.rules.options
        self.find()
        if self.status is Status.STORED and not (options.rolling or options.resave):
            return []
        if self.is_anonymous:  # the store has just failed
            return []
        self._store()
        return announcing.cookies(self)  # Order: as in commit()

    def _store(self) -> None:
        if self.rules.owner_function is not None:
            self.ask_owner()
        if self.record is not None and self.record.cookie:
            self.rotate_if_due()
        if self.is_cleared and self.is_blank() and (self.status is not Status.NEW or self.strays):
            self.end_cleared()
        elif self.status is Status.STORED:
            saving.write(self)
            if self.status is Status.STORED and not self.is_written:
                saving.prolong(self)
        elif self.status in UNSTORED:
            if saving.is_due(self):
                self.begin_if_possible()
            if self.status is Status.OVERTAKEN:
                ending.drop(self)

    def _unset(self) -> list[str]:
        if self.rules.options.unset == "keep":
            return []
        if self.status is Status.UNREAD:
            self.find()
        self.destroy()
        return announcing.cookies(self)

    def decorate(self, headers: Headers, cookies: list[str]) -> Headers:
        """Return the app's headers, unchanged, with those of the session added.

        Args:
            headers: the app's.
            cookies: the result of :meth:`commit`.
        """
        if not (cookies or self.is_looked_at):
            return headers
        if cookies and announcing.sets_cookie(headers, self.signer().name):
            logger.warning(
                "the app sets cookie %s too; the session's comes last", self.signer().name
            )
        if self.rules.options.cache_headers:
            headers = guard_caches(headers, cookies) if cookies else vary_by_cookie(headers)
        return [*headers, *[("Set-Cookie", cookie) for cookie in cookies]] if cookies else headers

    def excuses(self, status: int) -> bool:
        """Return whether to answer 503, because a view turned the store's outage into an error.

        Most frameworks turn any exception of a view into a page, so that it never gets here.

        Args:
            status: of the app's answer.
        """
        is_excused = (
            self.is_refused
            and status == HTTPStatus.INTERNAL_SERVER_ERROR
            and self.rules.options.if_unavailable == "503"
        )
        if is_excused:
            logger.error("a request is refused: its session could not be reached")
        return is_excused

    def heed(self, status: int) -> None:
        """Discard the request's changes if *status*, its response's, says that it failed.

        Only with ``keep_on_error=False``.
        """
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not self.rules.options.keep_on_error:
            self.is_abandoned = True

    def leave(self, *names: str) -> None:
        """Let the environ go, as the request is over; the session can still be looked at.

        The environ holds the session.  As the two refer to each other, both would stay until the
        collector of garbage comes, with all that the server has put there, and the next request
        would find no warm memory.

        Args:
            *names: those under which the environ holds the session, too, or objects that do.
        """
        environ = dict(self.environ)
        environ.pop(self.rules.environ_key, None)
        for name in names:
            environ.pop(name, None)
        self.environ = environ

    def finish_unanswered(self, *, is_unset: bool = False) -> None:
        """Commit the changes of a request without a response; log those that need a cookie.

        The connection has become a WebSocket, say.
        """
        is_moved = self.status is Status.STORED and self.is_moved()
        self.is_late = True
        if is_moved and not (is_unset or self.is_abandoned):
            try:
                self._move_unannounced()
            except (EncodeError, StoreError):
                logger.exception("the changes of a request without a response are lost")
        self.finish_late(is_unset=is_unset)

    def _move_unannounced(self) -> None:
        """Store a session that was to get an id that the client can't be told."""
        if self.move is Move.ROTATE:
            logger.warning(
                "a session was given another id by a request that sent no response; it keeps its"
                " id until the next request"
            )
            self.keep_id()
            saving.write(self)
            return
        if self.has_content():
            logger.error("a new session was written by a request that sent no response; it is lost")
        self.end_cleared()

    def finish_late(self, *, is_unset: bool = False) -> None:
        """Commit changes made after the headers were sent, or log why they can't be stored."""
        if self.is_abandoned or self.is_anonymous:
            return
        try:
            if is_unset:
                self._unset()
            elif self.status is Status.STORED:
                self.ask_owner()
                if self.changed_cookie() is not None and not self.is_login():
                    logger.error("a cookie was changed after the headers had left: not announced")
                saving.write(self)
            elif (
                self.status is Status.NEW
                and any(self.contents.changes())
                and announcing.is_possible(self)
            ):
                logger.error("a new session was written after the headers had left; it is lost")
        except (EncodeError, StoreError):
            logger.exception("what the app changed after the headers had left is lost")
