"""Moving a session to another key, so that late changes and deletions find it.

Where both keys lie on one node that is one script.  On a cluster it takes three steps: the new
session waits where nothing loads it; a forwarding record takes the old session's place, if that is
still what was read, and from then on the move counts; then the new session is let in, by the
rotation itself or by a late request that the forwarding record has led there.
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
from litesess.stores.redis.link import Call, Link
from litesess.stores.redis.owners import Owners
from litesess.stores.redis.sessions import Found, Sessions

_FIRST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 0.02


class Former(NamedTuple):
    """A session as it was read: it is moved if it is still stored so."""

    key: str
    version: int
    expires_at: float
    owner: str | None

    @classmethod
    def of(cls, found: Found) -> Former:
        """Return the session as it is before it is changed."""
        key, record = found
        return cls(key, record.version, record.expires_at, record.owner)


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
            changes: what changes.
            timeout: how long to try again if other requests change the session, in seconds.

        Returns:
            The session as it was, and as it is now; None: it is gone.

        Raises:
            StoreUnavailable: other requests have changed the session for too long.
            VersionConflict: *new* is taken; nothing was changed.
        """
        check_key(new)
        for _ in _tries("rotated", timeout):
            stored = self._sessions.hash(old)
            record = self._sessions.session_in(old, stored, changes.now)
            if record is None:
                return None
            former = Former.of(Found(old, record))
            changes.merge_into(record)
            outcome = self._move(
                former,
                new,
                record,
                changes.now,
                tokens=stored.get(b"w", b""),
                # A request that started before a login can't change what the login began.
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
            The session as it was; None: there is none, and nothing was done.
        """
        for _ in _tries("replaced", timeout):
            found = self._sessions.find(old, now)
            if found is None:
                return None
            former = Former.of(found)
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
        old = former.key
        fields = self._sessions.records.fields(new, record, now, former.version + 1)
        as_read = repr(now), str(former.version), repr(former.expires_at)
        changes_until = now + LATE_FOR if takes_changes else 0.0
        forward = (*as_read, new, repr(changes_until), repr(now + MOVED_FOR))
        calls, indexed = self._owners.entry(new, record.owner, record.expires_at, now)
        fields += "f", old, "w", tokens, *indexed
        names, new_names = self._sessions.names(old), self._sessions.names(new)
        if self._link.are_together(names[0], new_names[0]):
            arguments = (*forward, repr(record.expires_at), *fields)
            calls.append(Call(scripts.MOVE, [*names, *new_names], arguments))
            outcome: str = self._link.call_all(calls)[-1].decode()
        else:
            waiting = (repr(now), repr(now + MOVED_FOR), *fields)
            calls.append(Call(scripts.WAIT, new_names, waiting))
            outcome = self._link.call_all(calls)[-1].decode()
            if outcome == "done":
                outcome = self._link.call(scripts.FORWARD, names, *forward).decode()
                if outcome != "done":
                    # Without a forwarding record it is nothing, and would keep the key from other
                    # sessions.
                    self._link.pipe("unlink", [(self._sessions.name("p", new),)])
                elif not self._link.call(scripts.LET_IN, new_names, repr(now)):
                    outcome = "gone"
        if outcome == "taken":
            raise VersionConflict("the new key is taken")
        if outcome == "done" and former.owner is not None:
            self._link.call_all([self._owners.removal(old, self._owners.hash_of(former.owner))])
        return outcome


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
