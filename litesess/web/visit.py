"""One request's use of its session: what the app asks for, and what becomes of it at the end."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from litesess import ids
from litesess.errors import (
    EncodeError,
    HeadersSent,
    SessionGone,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from litesess.stores.base import KEEP
from litesess.web import announcing, following, saving
from litesess.web.caching import Headers, guard_caches
from litesess.web.cookie import ROTATION_DUE
from litesess.web.loaded import GONE, Move, Status
from litesess.web.state import State, log_outage

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("litesess")


class Visit(State):
    """One request's use of its session."""

    __slots__ = ()

    # What the app asks for.

    def writable(self) -> Self:
        """Do as :meth:`look`, and raise what keeps the app from changing the session."""
        self.is_looked_at = True
        if self.status is Status.UNREAD:
            self.look_first()
        if self.status is Status.STORED:
            return self
        if self.status is Status.DESTROYED:
            raise SessionGone("the session was destroyed; call regenerate() to begin another")
        if self.status is Status.LOST:
            raise SessionGone("the session is gone; call regenerate() to begin another")
        if self.is_late:
            raise HeadersSent("the client can't be told of a new session any more")
        return self

    def save(self) -> None:
        """Store the session now; raises SessionGone if it is not there any more."""
        self.check_not_atomic()
        self._check_reached()
        self.ask_owner()
        if self.is_blank():
            self.end_cleared()
        elif self.status is Status.NEW:
            if announcing.is_possible(self):
                saving.create(self)
        elif not saving.write(self, is_forced=True):
            raise SessionGone("the session was destroyed or has expired meanwhile")

    def reload(self) -> None:
        """Load the session again; raises SessionGone if it is not there any more."""
        record = None
        if self.status is Status.STORED:
            key, _ = self.stored()
            record = self.rules.store.load(key)
        if record is None:
            # A session that was never stored goes on: no other request has ended it.
            if self.status is not Status.NEW or self.has_cookie:
                self.lose()
            raise SessionGone(
                "the session was destroyed, has expired, was given another id or was never stored"
            )
        self.load(self.id, record, key)

    def destroy(self) -> None:
        """Delete the session now."""
        self._check_reached()
        saving.delete(self)

    def regenerate(self) -> None:
        """Go on as a new, empty session with another id."""
        self._check_announceable()
        if self.status in GONE:
            self.destroy()
            self.load(None, None)
            self.seen_at = None
        self._begin_empty()
        self.is_cleared = False
        self.is_announced = True

    def clear(self) -> None:
        """Take all data and the owner away: what is set from now on is all there is."""
        self._check_reached()
        if self.status in GONE or not self.is_late:
            self.writable()
        if self.is_atomic:
            self.contents.clear()
            self.new_owner = KEEP
            self.is_cleared = True
        elif self.is_late:
            self.end_cleared()  # as the client can't be told another id
        else:
            self._begin_empty()
            self.is_cleared = True
            self.is_announced = False

    def set_owner(self, owner: str | int | None) -> None:
        """Make this the session of *owner*, if it is not; None: of nobody, without their data."""
        if owner is None:
            if self.status in GONE:
                self.writable()
            if self.owner() is not None or self.strays or self.is_anonymous:
                self.clear()
            return
        name = ids.owner_of(owner)
        if name != self.writable().owner():
            self.log_in(name)

    def _begin_empty(self) -> None:
        self.contents = self.empty()
        self.forget_cookie()
        self.new_owner = KEEP
        self.renew_id(Move.REGENERATE)

    def end_cleared(self) -> None:
        """End a session that was cleared; what is set from now on begins another one."""
        self.destroy()
        self.load(None, None)
        self.seen_at = None

    def log_in(self, owner: str) -> None:
        """Go on as *owner*'s session: with another id, without the CSRF token from before.

        Source: OWASP Session Management Cheat Sheet, "Renew the Session ID After Any Privilege
        Level Change"; OWASP ASVS 5.0, 7.2.4 (also at re-authentication).
        """
        self._check_reached()
        self._check_announceable()
        self.is_owner_said = True
        if self.owner() not in (None, owner):
            # Data belongs to its owner: on a shared computer the next user must not see it.
            self._begin_empty()
        self.rotate()
        self.new_owner = owner
        self.drop_tokens()

    def drop_tokens(self) -> None:
        """Take out the tokens against forged requests: another user's session has its own.

        Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet.
        """
        for key in self.rules.token_keys:
            if key in self.contents:
                del self.contents[key]

    def follow_key(self) -> None:
        """Make the value of the owner key, which was just set or removed, the owner."""
        owner = following.by_key(self)
        if owner is not KEEP:
            self.change_owner(None if owner is None else str(owner))

    def ask_owner(self) -> None:
        """Make what the app's function says the owner, if the session is to be written."""
        if self.rules.owner_function is None:
            return
        owner = following.by_function(self)
        if owner is not KEEP:
            self.change_owner(None if owner is None else str(owner))

    def change_owner(self, owner: str | None) -> None:
        """Let the session go on as *owner*'s, or as nobody's, with its data and another id.

        Where the client can't be told another id, it gets one at the next request that can.
        """
        self.drop_tokens()
        self.new_owner = owner
        if self.is_atomic:
            return  # stored with what the function does; its id changes after that
        if not self.is_late:
            self.rotate()
        elif owner is None:
            self.end_cleared()
        else:
            self.current_cookie().note_rotation(is_due=True)
            self.rules.warn_once(
                "a user has logged in where no cookie can be sent, so the session keeps its id"
                " until the next request"
            )

    def rotate(self) -> None:
        """Go on with another id and the same data."""
        self._check_announceable()
        if self.move is None:
            self.renew_id(Move.ROTATE)

    def _rotate_if_due(self) -> None:
        """Give the session another id if it has kept one beyond a login."""
        cookie = self.own_cookie()
        if cookie and cookie.get(ROTATION_DUE) and announcing.is_possible(self):
            self.current_cookie().note_rotation(is_due=False)
            if self.move is None:
                self.renew_id(Move.ROTATE)

    def renew_id(self, move: Move) -> None:
        """Give the session another id, at the next write if it is stored."""
        if self.status is Status.NEW:
            self.id = None  # nobody has seen it
            self.move = None
        else:
            self.move = move
            self._new_id = self.rules.make_id(self.environ)

    def check_not_atomic(self) -> None:
        """Raise RuntimeError inside of ``atomic()``."""
        if self.is_atomic:
            raise RuntimeError("inside atomic() a session can't be saved, reloaded or rotated")

    def _check_announceable(self) -> None:
        if self.is_late:
            raise HeadersSent("the client can't be told another session id any more")
        self.check_not_atomic()

    def _check_reached(self) -> None:
        """Raise :class:`StoreUnavailable` for what must not be passed over in silence."""
        if self.is_anonymous:
            raise StoreUnavailable("the store could not be reached when the session was loaded")

    # The end of a request.

    def commit(self, *, is_unset: bool = False) -> list[str]:
        """Store what is to be stored; return the ``Set-Cookie`` values, if any.

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
            cookies = self._outcome(is_unset=is_unset)
        except StoreUnavailable as error:
            self.is_refused = True
            if self.rules.options.if_unavailable != "anonymous":
                raise
            log_outage("what a request has done to its session is lost", error)
            self.is_anonymous = True
            cookies = []
        self.is_late = True  # not if that raised: the app may still answer otherwise
        return cookies

    def _outcome(self, *, is_unset: bool) -> list[str]:
        if self.is_abandoned or self.is_anonymous:
            return []
        if is_unset:
            return self._unset()
        if self.status is not Status.UNREAD:
            return self._commit()
        if self.is_tried:  # the store has failed
            return []
        try:
            return self._commit_unread()
        except StoreFull:
            # The page has nothing to do with it; who has a session keeps it.
            logger.exception("a session that the app did not look at was not stored")
            return []

    def _commit_unread(self) -> list[str]:
        """Commit a session that the app did not look at, as an option says that it may be due."""
        options = self.rules.options
        self.find()
        if self.status is Status.STORED and not (options.rolling or options.resave):
            return []
        return self._commit()

    def _commit(self) -> list[str]:
        if self.is_anonymous:
            return []
        self.ask_owner()
        if self.status is Status.STORED:
            self._rotate_if_due()
        if self.is_cleared and self.is_blank() and (self.status is Status.STORED or self.strays):
            self.end_cleared()
        elif self.status is Status.NEW:
            if saving.is_due(self) and announcing.is_possible(self):
                saving.create(self)
        elif self.status is Status.STORED:
            saving.write(self)
            if self.status is Status.STORED and not self.is_written:
                saving.prolong(self)
        # Order: no cookie may name a session that is not stored.
        return announcing.cookies(self)

    def _unset(self) -> list[str]:
        if self.rules.options.unset == "keep":
            return []
        if self.status is Status.UNREAD:
            self.find()
        self.destroy()
        return announcing.cookies(self)

    def decorate(self, headers: Headers, cookies: list[str]) -> Headers:
        """Return the app's headers, which stay as they are, with what the session needs added.

        Args:
            headers: the app's.
            cookies: what :meth:`commit` returned.
        """
        if not (cookies or self.is_looked_at):
            return headers
        if cookies and announcing.sets_cookie(headers, self.signer().name):
            logger.warning(
                "the app sets cookie %s too; the session's comes last", self.signer().name
            )
        if self.rules.options.cache_headers:
            headers = guard_caches(headers, cookies)
        return [*headers, *[("Set-Cookie", cookie) for cookie in cookies]] if cookies else headers

    def excuses(self, status: int) -> bool:
        """Say whether an answer is to be 503: the store is away, and an app took it for a fault.

        Most frameworks make a page of whatever a view raises, so that none of it gets here.

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

    def finish_late(self, *, is_unset: bool = False) -> None:
        """Commit what was changed after the headers had left; what can't be is logged."""
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
