"""The session as an app changes it: saved, destroyed, given another id or another owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litesess import ids
from litesess.errors import HeadersSent, SessionGone, StoreUnavailable
from litesess.stores.base import KEEP
from litesess.web import announcing, ending, following, saving
from litesess.web.cookie import ROTATION_DUE
from litesess.web.loaded import GONE, UNSTORED, Move, Status
from litesess.web.state import State

if TYPE_CHECKING:
    from typing_extensions import Self


class Actions(State):
    """A request's use of its session, as far as the app acts on it."""

    __slots__ = ()

    def writable(self) -> Self:
        """Do as :meth:`look`, and raise the reason why the app can't change the session, if any."""
        self.is_looked_at = True
        if self.status is Status.UNREAD:
            self.look()
        status = self.status
        if status is Status.STORED:
            return self
        if status is Status.NEW:
            if self.is_late:
                raise HeadersSent("the client can't be told of a new session any more")
            return self
        if status is Status.DESTROYED:
            raise SessionGone("the session was destroyed; call regenerate() to begin another")
        if status is Status.LOST:
            raise SessionGone("the session is gone; call regenerate() to begin another")
        return self

    def save(self) -> None:
        """Store the session now; raises SessionGone if it is not there any more."""
        self.check_not_atomic()
        self._check_reached()
        self.ask_owner()
        if self.is_late and self.status is Status.NEW:
            return  # that was a logout
        if self.is_blank():
            self.end_cleared()
        elif self.status in UNSTORED:
            self.begin_if_possible()
        elif not saving.write(self, is_forced=True):
            raise SessionGone("the session was destroyed or has expired meanwhile")

    def begin_if_possible(self) -> None:
        """Store a session that begins with this request, if the client can come back to it."""
        if not announcing.is_possible(self):
            return
        if self.status is Status.OVERTAKEN:
            if self.move is None:  # a login inside of atomic()
                self.renew_id(Move.ROTATE)
            saving.begin_anew(self)
        else:
            saving.create(self)

    def reload(self) -> None:
        """Load the session again; raises SessionGone if it is not there any more."""
        record = None
        if self.status is Status.OVERTAKEN:
            self.load(self.id, None, self._key)
            return
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
        ending.delete(self)

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
        """Remove all data and the owner; the session then holds only values set from now on."""
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

    def set_owner(self, owner: ids.OwnerName | None) -> None:
        """Make this the session of *owner*; None: remove the owner with all data."""
        if owner is None:
            if self.status in GONE:
                self.writable()
            if self.owner() is not None or self.strays or self.is_anonymous:
                self.clear()
            return
        name = ids.owner_of(owner)
        if name != self.writable().owner():
            self.log_in(name)
        self.is_owner_said = True

    def _begin_empty(self) -> None:
        self.contents = self.empty()
        self.forget_cookie()
        self.new_owner = KEEP
        self.is_owner_said = False
        self.renew_id(Move.REGENERATE)

    def end_cleared(self) -> None:
        """End a session that was cleared; values set from now on begin another one."""
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
        # A user that the framework's own login has just named is no other user.
        record = self.standing()
        stored = None if record is None else record.owner
        former = self.owner() if self.is_owner_said else stored
        if former not in (None, owner):
            # Data belongs to its owner: on a shared computer the next user must not see it.
            self._begin_empty()
        self.rotate()
        self.new_owner = owner
        self.is_owner_said = True
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
        """Set the owner that the app's function returns, if the session is to be written."""
        if self.rules.owner_function is None:
            return
        owner = following.by_function(self)
        if owner is not KEEP:
            self.change_owner(None if owner is None else str(owner))

    def change_owner(self, owner: str | None) -> None:
        """Give the session another owner, or none, with its data and another id.

        Where the client can't be told another id, it gets one at the next request that can.
        """
        self._check_reached()
        self.drop_tokens()
        self.new_owner = owner
        if self.is_atomic:
            return  # stored with the function's changes; see finish_change_of_owner()
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

    def finish_change_of_owner(self) -> None:
        """Give the session another id, after ``atomic()`` has stored its owner.

        At once, as nothing that the request does later undoes the login under the former id.
        """
        if not self.is_late:
            self.current_cookie().note_rotation(is_due=False)
            self.renew_id(Move.ROTATE)
            saving.write(self)
        elif self.new_owner is None:
            self.end_cleared()
        else:
            self.new_owner = KEEP

    def rotate(self) -> None:
        """Go on with another id and the same data."""
        self._check_announceable()
        if self.move is None:
            self.renew_id(Move.ROTATE)

    def rotate_if_due(self) -> None:
        """Give a stored session another id if it has kept one beyond a login."""
        cookie = self.own_cookie() if self.status is Status.STORED else None
        if cookie and cookie.get(ROTATION_DUE) and announcing.is_possible(self):
            self.current_cookie().note_rotation(is_due=False)
            if self.move is None:
                self.renew_id(Move.OVERDUE)

    def keep_id(self) -> None:
        """Keep the id until the next request, as the client can't be told another one by this."""
        self.move = self._new_id = None
        self.current_cookie().note_rotation(is_due=True)

    def renew_id(self, move: Move) -> None:
        """Give the session another id, at the next write if it is stored."""
        if self.status is Status.NEW:
            self.id = None  # no client has seen it
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
        """Raise :class:`StoreUnavailable` for a change that must not be silently lost."""
        if self.is_anonymous:
            raise StoreUnavailable("the store could not be reached when the session was loaded")
