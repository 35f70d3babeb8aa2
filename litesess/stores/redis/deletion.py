"""Ending sessions: of given keys, of one owner, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
from typing import NamedTuple

from litesess import ids
from litesess.errors import StoreError
from litesess.events import Event, Name
from litesess.stores.base import KEEP, StoredOwner
from litesess.stores.keeping import Kept
from litesess.stores.redis import scripts
from litesess.stores.redis.link import Call, Link
from litesess.stores.redis.owners import Owners
from litesess.stores.redis.records import Hash, flat
from litesess.stores.redis.sessions import Sessions, passing_over


class _Step(NamedTuple):
    """One step on the way to a session: the key where it may be.

    Attributes:
        key: that key.
        led: "1" if a forwarding record has led there.
        owner_hash: the owner it must have there; "-": any.
    """

    key: str
    led: str
    owner_hash: str


class Deletion:
    """Deletes the sessions of one store, and tells of each."""

    def __init__(
        self, link: Link, sessions: Sessions, owners: Owners, tell: Callable[[Event], object]
    ) -> None:
        self._link = link
        self._sessions = sessions
        self._owners = owners
        self._tell = tell

    def delete(
        self,
        keys: Collection[str],
        now: float,
        *,
        name: Name | None = "destroyed",
        owner: StoredOwner = KEEP,
        spared: Set[str] = frozenset(),
        is_followed: bool = False,
    ) -> int:
        """Delete the sessions that have, or had, *keys*, in a few round trips; return how many.

        Args:
            keys: of them.
            now: in Unix seconds.
            name: of the event that is told; None: no event.
            owner: the owner they must have; KEEP: any.
            spared: handles of those that must stay.
            is_followed: where a session was moved, it may have any owner.

        Raises:
            DecryptError: a session was tampered with; all are deleted, and the others told of.
            StoreError: as :meth:`Link.do` says.
        """
        owner_hash = self._owners.hash_of(owner)
        steps = [_Step(key, "0", owner_hash) for key in dict.fromkeys(keys)]
        deleted: list[tuple[str, Hash, bool]] = []
        while steps := [step for step in steps if ids.handle_of(step.key) not in spared]:
            calls = [
                Call(
                    scripts.DELETE,
                    self._sessions.names(step.key),
                    (repr(now), step.led, step.owner_hash, *spared),
                )
                for step in steps
            ]
            further: list[_Step] = []
            for step, (what, *details) in zip(steps, self._link.call_all(calls), strict=True):
                if what == b"moved":
                    owner_hash = "-" if is_followed else step.owner_hash
                    further.append(_Step(details[0].decode(), "1", owner_hash))
                elif what == b"waits":
                    # An owner's index may lead here.  The session waits to be moved here, and only
                    # the end of that move, if it is not stopped, makes it valid.
                    further.append(_Step(details[0].decode(), "0", step.owner_hash))
                elif what != b"gone":
                    deleted.append((step.key, flat(details[0]), what == b"expired"))
            steps = further
        return self._finish(deleted, name)

    def _finish(self, deleted: list[tuple[str, Hash, bool]], name: Name | None) -> int:
        """Take sessions out of the indexes and tell of them; return how many had not expired.

        Args:
            deleted: the key and the hash of each, and whether it had expired.
            name: of the event that is told of the others; None: no event.
        """
        self._link.call_all(
            [
                self._owners.removal(key, owner_hash.decode(errors="replace"))
                for key, found, _ in deleted
                if (owner_hash := found.get(b"h"))
            ]
        )
        count, failure = 0, None
        for key, found, is_expired in deleted:
            try:
                record = self._sessions.records.record(key, found)
            except StoreError as error:
                failure = error
                continue
            if record is None:
                continue
            count += not is_expired
            if name is not None:
                told: Name = "expired" if is_expired else name
                self._tell(Event(told, ids.handle_of(key), record))
        if failure is not None:
            raise failure
        return count

    def end_owner(self, owner: str, keep: Kept, clock: Callable[[], float]) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        began_at = clock()
        keys, seen = self._owners.listed(owner), set[str]()
        spared = {*keep.handles}
        deleted = 0
        while keys:
            # Order: read the owner's index first and resolve `keep` second, so that a kept session
            # which rotates in between is found through its forwarding record.
            for key in keep.keys:
                spared.update(map(ids.handle_of, self._sessions.later_keys(key, clock())))
            for key, is_owners in keys.items():
                # A session that was the owner's when it was listed is deleted wherever it went.
                with passing_over(key):
                    deleted += self.delete(
                        [key], clock(), owner=owner, spared=spared, is_followed=is_owners
                    )
            seen.update(keys)
            # A rotation whose forwarding record has expired meanwhile leads to these alone.
            keys = self._owners.listed(owner, seen, began_before=began_at)
        return deleted

    def evict(self, owner: str, limit: int, clock: Callable[[], float]) -> None:
        """Delete the oldest sessions of *owner* beyond *limit*.

        They go by their age alone, and the session that has just begun is not spared: two that
        begin at once would end each other.
        """
        found = self._owners.find(owner, clock())
        found.sort(key=lambda item: (item[1].created_at, item[0]))
        self.delete([key for key, _ in found[:-limit]], clock(), name="evicted", owner=owner)

    def clear(self, clock: Callable[[], float]) -> None:
        """Delete every session; those that begin meanwhile may stay."""
        for keys in self._sessions.keys("s"):
            self._unlink(keys)
        now = clock()
        for keys in self._sessions.keys("m"):
            for key in keys:
                with passing_over(key):
                    # It may have been moved to where the search had been.
                    self.delete([key], now, name=None)
        for kind in "pm":
            for keys in self._sessions.keys(kind):
                self._link.pipe("unlink", [(self._sessions.name(kind, key),) for key in keys])

    def _unlink(self, keys: list[str]) -> None:
        owners = [owner for owner, _ in self._sessions.facts(keys)]
        self._link.pipe("unlink", [(self._sessions.name("s", key),) for key in keys])
        # Not a whole index: it may have a session that begins now.
        indexed = zip(keys, owners, strict=True)
        self._link.pipe(
            "zrem",
            [(self._sessions.name("o", owner.decode()), key) for key, owner in indexed if owner],
        )
