"""Moving a session to another key, so that late changes and deletions find it.

Where both keys lie on one node that is one script.  On a cluster it takes three steps: the new
session waits under a name that nothing loads; a forwarding record replaces the old session, if it
has not changed since it was read, and from then on the move counts; then the new session is let
in, by the rotation itself or by a late request that the forwarding record has led there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from litesess.clocks import pauses
from litesess.errors import StoreUnavailable, VersionConflict
from litesess.ids import check_key
from litesess.stores.base import LATE_FOR, MOVED_FOR, Record
from litesess.stores.changes import Changes
from litesess.stores.redis import scripts
from litesess.stores.redis.link import Link
from litesess.stores.redis.owners import Owners
from litesess.stores.redis.records import Fields
from litesess.stores.redis.sessions import Found, Sessions, Stored

_FIRST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 0.02


class Former(NamedTuple):
    """A session as it was read: it is moved if it is still stored so."""

    key: str
    version: int
    expires_at: float
    owner: str | None
    #: The owner's generations that it is part of.
    generations: bytes
    #: The tokens of the last writes to it.
    tokens: bytes

    @classmethod
    def of(cls, key: str, stored: Stored) -> Former:
        """Return the session as it is before it is changed."""
        record, found = stored
        return cls(
            key, record.version, record.expires_at, record.owner,
            found.get(b"g", b""), found.get(b"w", b""),
        )  # fmt: skip


class Rotation:
    """Moves the sessions of one store."""

    def __init__(self, link: Link, sessions: Sessions, owners: Owners) -> None:
        self._link = link
        self._sessions = sessions
        self._owners = owners

    def rotate(
        self, old: str, new: str, changes: Changes, timeout: float
    ) -> tuple[Former, Record] | None:
        """Merge *changes* into the session *old* and move it to *new*; see :meth:`Store.rotate`.

        Args:
            old: the session's key.
            new: the key it gets.
            changes: the changes of the request.
            timeout: how long to try again if other requests change the session, in seconds.

        Returns:
            The session as it was, and as it is now; None: it is gone.

        Raises:
            StoreUnavailable: other requests have changed the session for too long.
            VersionConflict: *new* is taken; nothing was changed.
        """
        check_key(new)
        for _ in _tries("rotated", timeout):
            stored = self._sessions.read(old, changes.now)
            if stored is None:
                return None
            former, record = Former.of(old, stored), stored.record
            changes.merge_into(record)
            outcome = self._move(
                former,
                new,
                record,
                changes.now,
                tokens=former.tokens,
                # A request that started before a login can't change the login's session.
                takes_changes=not changes.is_login,
            )
            if outcome == "done":
                return former, record
            if outcome == "gone":
                return None
        raise AssertionError  # it ends by an error

    def replace(
        self, old: str, new: str, record: Record, now: float, timeout: float
    ) -> Found | None:
        """Store *record* as *new* in the place of the session that has, or had, the key *old*.

        Args and errors are those of :meth:`rotate`.

        Returns:
            The session as it was; None: it was not found, and nothing was done.
        """
        for _ in _tries("replaced", timeout):
            found = self._sessions.find(old, now)
            if found is None:
                return None
            former = Former.of(found.key, found.stored)
            outcome = self._move(former, new, record, now, tokens=b"", takes_changes=False)
            if outcome == "done":
                return found
        raise AssertionError  # it ends by an error

    def _move(
        self,
        former: Former,
        new: str,
        record: Record,
        now: float,
        *,
        tokens: bytes,
        takes_changes: bool,
    ) -> str:
        """Store *record* as *new* in the place of *former*, if that is stored as it was read.

        Args:
            former: the session as it was read.
            new: the key it gets.
            record: the session from now on.
            now: in Unix seconds.
            tokens: of the last writes to it.
            takes_changes: whether late changes under the old key are done to it.

        Returns:
            "done"; "again": it has changed; "gone".

        Raises:
            VersionConflict: *new* is taken.
        """
        sessions, owners = self._sessions, self._owners
        old, ends_at = former.key, repr(record.expires_at)
        fields = sessions.records.fields(new, record, now, former.version + 1)
        changes_until = now + LATE_FOR if takes_changes else 0.0
        forward = (
            str(former.version), repr(former.expires_at), former.generations,
            new, repr(changes_until), repr(now + MOVED_FOR),
        )  # fmt: skip
        owner_hash, old_hash = owners.hash_of(record.owner), owners.hash_of(former.owner)
        generation: str | bytes = owners.join(new, owner_hash, record.expires_at, now)
        fields += "f", old, "w", tokens
        if self._link.are_together(sessions.name("s", old), sessions.name("s", new)):
            call = sessions.step(
                scripts.MOVE, old, now, *forward, ends_at, owner_hash, generation, *fields, new=new
            )
            outcome = _word(sessions.ask(call))
        else:
            if owner_hash == old_hash:
                generation = former.generations
            fields += "g", generation
            outcome = self._move_apart(old, new, now, forward, fields)
        if outcome == "taken":
            raise VersionConflict("the new key is taken")
        if outcome == "done":
            owners.leave_all([(old, old_hash)], now)
        return outcome

    def _move_apart(
        self, old: str, new: str, now: float, forward: tuple[str | bytes, ...], fields: Fields
    ) -> str:
        """Do as the script ``MOVE`` does, where the keys lie on two nodes."""
        sessions = self._sessions
        waiting = sessions.step(scripts.WAIT, new, now, repr(now + MOVED_FOR), *fields)
        outcome = _word(sessions.ask(waiting))
        if outcome != "done":
            return outcome
        outcome = _word(sessions.ask(sessions.step(scripts.FORWARD, old, now, *forward)))
        if outcome == "done":
            return _word(sessions.ask(sessions.step(scripts.LET_IN, new, now)))
        # Without a forwarding record it is nothing, and would keep the key from other sessions.
        self._link.pipe("unlink", [(sessions.name("p", new),)])
        return outcome


def _word(answer: list[bytes]) -> str:
    return answer[0].decode()


def _tries(
    what: str, timeout: float, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Yield before each try, with pauses between them.

    Raises:
        StoreUnavailable: *timeout* seconds have passed.
    """
    deadline = monotonic() + timeout
    for pause in pauses(_FIRST_WAIT, _LONGEST_WAIT):
        yield
        if monotonic() > deadline:
            raise StoreUnavailable(
                f"other requests changed the session each time it was about to be {what}, for"
                f" {timeout:g} s"
            )
        time.sleep(pause)
