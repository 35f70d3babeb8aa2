"""Ending sessions: of given keys, of one owner, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
from typing import Final, NamedTuple

from litesess import ids
from litesess.events import Event, Name
from litesess.stores.base import KEEP, StoredOwner
from litesess.stores.keeping import Kept
from litesess.stores.redis import scripts
from litesess.stores.redis.link import Link
from litesess.stores.redis.owners import NONE_ENDED, Owners, Renewed
from litesess.stores.redis.passing import PassedOver, passing_over
from litesess.stores.redis.records import Hash, flat
from litesess.stores.redis.sessions import Sessions, seconds

#: How often an eviction looks again for the oldest sessions.
_TRIES: Final = 3


class _Step(NamedTuple):
    """One step on the way to a session: a key under which it may be stored.

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
        ended: Renewed = NONE_ENDED,
        is_followed: bool = False,
        is_older: bool = False,
        passed_over: PassedOver | None = None,
    ) -> int:
        """Delete the sessions that have, or had, *keys*, in a few round trips; return how many.

        Args:
            keys: of them.
            now: in Unix seconds.
            name: of the event that is told; None: no event.
            owner: the owner they must have; KEEP: any.
            spared: handles of those that must stay.
            ended: generations of *owner*: only the sessions of the former end.
            is_followed: where a session was moved, it may have any owner.
            is_older: a login that has moved one made it a new session, which stays.
            passed_over: counts the keys without a session.

        Raises:
            StoreError: as :meth:`Link.do` says.
        """
        passed_over = passed_over or PassedOver()
        owner_hash = self._owners.hash_of(owner)
        steps = [_Step(key, "0", owner_hash) for key in dict.fromkeys(keys)]
        deleted: list[tuple[str, Hash, bytes]] = []
        seen = set[tuple[str, str]]()
        while steps := [step for step in steps if ids.handle_of(step.key) not in spared]:
            calls = [
                self._sessions.step(
                    scripts.DELETE, step.key, now, step.led, step.owner_hash, *ended, *spared
                )
                for step in steps
            ]
            further: list[_Step] = []
            for step, (what, *details) in zip(steps, self._sessions.ask_all(calls), strict=True):
                if what in {b"moved", b"waits"}:
                    here = details[0].decode(errors="replace")
                    # An owner's index may lead to where a session waits to be moved to.  Only the
                    # end of that move, if it is not stopped, makes it valid.
                    led = "1" if what == b"moved" else "0"
                    is_any = what == b"moved" and is_followed
                    if is_older and what == b"moved" and not seconds(details[1]):
                        continue
                    if ids.is_key(here) and (here, led) not in seen:
                        seen.add((here, led))
                        further.append(_Step(here, led, "-" if is_any else step.owner_hash))
                elif what == b"foreign":
                    passed_over.add(step.key)
                elif what == b"ended":
                    self._sessions.end(step.key, details[0], now)
                elif what != b"gone":
                    deleted.append((step.key, flat(details[0]), what))
            steps = further
        return self._finish(deleted, name, now)

    def _finish(self, deleted: list[tuple[str, Hash, bytes]], name: Name | None, now: float) -> int:
        """Take sessions out of the indexes and tell of them; return how many had not ended.

        Args:
            deleted: of each the key, the hash and the outcome: b"done", if it had not ended.
            name: of the event for those that had not ended; None: no event.
            now: in Unix seconds.
        """
        self._owners.leave_all(
            [(key, found.get(b"h", b"").decode(errors="replace")) for key, found, _ in deleted],
            now,
        )
        count = 0
        for key, found, what in deleted:
            record = self._sessions.records.record(key, found)
            if record is None:
                continue
            count += what == b"done"
            if name is not None:
                told: Name = "expired" if what == b"expired" else name
                self._tell(Event(told, ids.handle_of(key), record))
        return count

    def end_owner(self, owner: str, keep: Kept, clock: Callable[[], float]) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        began_at = clock()
        keys, seen = self._owners.listed(owner), set[str]()
        spared = {*keep.handles}
        # Order: read the owner's index first and resolve `keep` second, so that a kept session
        # which rotates in between is found through its forwarding record.
        self._spare_later(keep, spared, clock())
        ended = self._owners.renew(owner, keys, keep, spared, clock)
        # Add the sessions that began, or became the owner's, before that.
        keys = self._owners.listed(owner) | keys
        deleted = 0
        with passing_over("ended with their owner's") as passed_over:
            while keys:
                self._spare_later(keep, spared, clock())
                for key, is_owners in keys.items():
                    # A session that was the owner's when it was listed is deleted wherever it went.
                    with passed_over.guard(key):
                        deleted += self.delete(
                            [key], clock(), owner=owner, spared=spared, ended=ended,
                            is_followed=is_owners, passed_over=passed_over,
                        )  # fmt: skip
                seen.update(keys)
                # If a forwarding record has expired meanwhile, only the index leads on.
                keys = self._owners.listed(owner, seen, began_before=began_at)
        return deleted

    def _spare_later(self, keep: Kept, spared: set[str], now: float) -> None:
        """Add the handles that the kept sessions have by now."""
        for key in keep.keys:
            spared.update(map(ids.handle_of, self._sessions.later_keys(key, now)))

    def evict(self, owner: str, limit: int, clock: Callable[[], float]) -> None:
        """Delete the oldest sessions of *owner* beyond *limit*.

        They go by their age alone, and the session that has just begun is not spared: two that
        begin at once would end each other.
        """
        for _ in range(_TRIES):
            found = self._owners.find(owner, clock())
            found.sort(key=lambda item: (item[1].created_at, item[0]))
            oldest = [key for key, _ in found[:-limit]]
            deleted = self.delete(oldest, clock(), name="evicted", owner=owner, is_older=True)
            # One of them may be the newest by now, as its user has logged in anew.
            if deleted == len(oldest):
                return

    def collect(self, now: float, *, is_heard: bool) -> int:
        """Delete the sessions that have expired; return how many.

        Args:
            now: in Unix seconds.
            is_heard: whether to tell of each.
        """
        sessions, removed = self._sessions, 0
        with passing_over("collected") as passed_over:
            for keys in sessions.keys("s"):
                calls = [sessions.step(scripts.COLLECT, key, now) for key in keys]
                for key, (what, *details) in zip(keys, sessions.ask_all(calls), strict=True):
                    if what == b"ended":
                        sessions.end(key, details[0], now)
                    elif what == b"foreign":
                        passed_over.add(key)
                    elif what == b"done":
                        removed += 1
                        self._collected(key, flat(details[0]), now, is_heard=is_heard)
        return removed

    def _collected(self, key: str, found: Hash, now: float, *, is_heard: bool) -> None:
        self._owners.leave_all([(key, found.get(b"h", b"").decode(errors="replace"))], now)
        record = self._sessions.records.record(key, found) if is_heard else None
        if record is not None:
            self._tell(Event("expired", ids.handle_of(key), record))

    def clear(self, clock: Callable[[], float]) -> None:
        """Delete every session; those that begin meanwhile may stay."""
        for keys in self._sessions.keys("s"):
            self._unlink(keys, clock())
        now = clock()
        with passing_over("deleted") as passed_over:
            for keys in self._sessions.keys("m"):
                for key in keys:
                    with passed_over.guard(key):
                        # It may have been moved to where the search had been.
                        self.delete([key], now, name=None, passed_over=passed_over)
        for kind in "pm":
            for keys in self._sessions.keys(kind):
                self._link.pipe("unlink", [(self._sessions.name(kind, key),) for key in keys])

    def _unlink(self, keys: list[str], now: float) -> None:
        owners = [owner for owner, _ in self._sessions.facts(keys)]
        self._link.pipe("unlink", [(self._sessions.name("s", key),) for key in keys])
        # Not a whole index: it may have a session that begins now.
        self._owners.drop_all(
            [
                (key, (owner or b"").decode(errors="replace"))
                for key, owner in zip(keys, owners, strict=True)
            ],
            now,
        )
