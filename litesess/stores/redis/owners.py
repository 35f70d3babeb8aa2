"""The owners in Redis: the index of an owner's sessions, and their generation.

The index is a sorted set of keys, by the time until which it has them.  A session is put into it
before it becomes the owner's, and again with each touch if Redis has lost it.  A key in it is
harmless if its session never became the owner's.

The generation decides: a new one ends all sessions of the owner, also those that the index lacks.
Where one server has all keys, the scripts of the sessions look after both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Set
from typing import Final, NamedTuple

from litesess import ids
from litesess.errors import StoreClosed, StoreError, StoreUnavailable
from litesess.stores.base import KEEP, Record, StoredOwner
from litesess.stores.keeping import Kept
from litesess.stores.redis import scripts
from litesess.stores.redis.calling import Call
from litesess.stores.redis.link import Link
from litesess.stores.redis.lua import Script, new_token
from litesess.stores.redis.sessions import BATCH, Sessions, is_among, seconds

logger = logging.getLogger("litesess.store")


class _Step(NamedTuple):
    """One step on the way to a kept session: its possible key, and the handles that keep it."""

    key: str
    led: str
    handles: tuple[str, ...]


class Renewed(NamedTuple):
    """A generation of an owner that has ended, and the next one; "-" and "": there was none."""

    former: bytes
    coming: str


#: No generation has ended.
NONE_ENDED: Final = Renewed(b"", "")


class Owners:
    """The owners of one store."""

    def __init__(self, link: Link, sessions: Sessions) -> None:
        self._link = link
        self._sessions = sessions

    def hash_of(self, owner: StoredOwner) -> str:
        """Return an owner as a script takes it: a hash in hex; "" for no owner, "-" for KEEP."""
        return "-" if owner is KEEP else self._sessions.records.owner_hash(owner)

    def join_all(self, joining: Collection[tuple[str, str, float]], now: float) -> list[str]:
        """Return the generation that each session is part of if it becomes an owner's.

        Where one server has all keys that is a fresh one: the script that stores the session puts
        it into the index, and takes the owner's if there is one.  On a cluster that is done here.

        Args:
            joining: key, owner's hash ("" for none) and expiry, in Unix seconds, of each.
            now: in Unix seconds.
        """
        generations = [new_token() if owner else "" for _, owner, _ in joining]
        if not self._sessions.are_together:
            at = [number for number, generation in enumerate(generations) if generation]
            calls = [
                self._call(scripts.INDEX, owner, now, key, repr(ends_at), generation)
                for (key, owner, ends_at), generation in zip(joining, generations, strict=True)
                if generation
            ]
            for number, (_, generation) in zip(at, self._link.call_all(calls), strict=True):
                generations[number] = generation.decode()
        return generations

    def join(self, key: str, owner_hash: str, ends_at: float, now: float) -> str:
        """Return the generation for one session, as :meth:`join_all` does."""
        return self.join_all([(key, owner_hash, ends_at)], now)[0]

    def is_current(
        self, key: str, owner_hash: str, generations: bytes, ends_at: float, now: float
    ) -> bool:
        """Return whether a session that has just been changed is part of its owner's generation.

        On a cluster, where the script could not look, it is put into the index again, too, if that
        lacks it; or ended.
        """
        if self._sessions.are_together or not owner_hash:
            return True
        generation = self.join(key, owner_hash, ends_at, now)
        if is_among(generation.encode(), generations):
            return True
        # It may have been kept, meanwhile, as part of a new one.
        return self._sessions.read(key, now) is not None

    def leave_all(self, leaving: Collection[tuple[str, str]], now: float) -> None:
        """Take sessions that have ended out of the indexes, if no script has done that.

        Args:
            leaving: key and owner's hash, "" for none, of each.
            now: in Unix seconds.
        """
        if not self._sessions.are_together:
            self.drop_all(leaving, now)

    def drop_all(self, leaving: Collection[tuple[str, str]], now: float) -> None:
        """Take sessions out of the indexes, as :meth:`leave_all` does."""
        self._link.call_all(
            [self._call(scripts.UNINDEX, owner, now, key) for key, owner in leaving if owner]
        )

    def _call(self, script: Script, owner_hash: str, now: float, *arguments: str | bytes) -> Call:
        """Return the call of a script for an owner."""
        sessions = self._sessions
        names = [sessions.name(kind, owner_hash) for kind in "og"]
        return Call(script, names, (repr(now), sessions.key_file.mark, *arguments))

    def keys(self, owner: str) -> list[str]:
        """Return the keys in an owner's index; none, and it is logged, if it is no index."""
        name = self._sessions.name("o", self.hash_of(owner))
        try:
            found = self._link.ask("zrange", name, 0, -1)
        except (StoreUnavailable, StoreClosed):
            raise
        except StoreError:
            logger.exception("the value under %s is no index of ours", name)
            return []
        keys = [key.decode(errors="replace") for key in found]
        return [key for key in keys if ids.is_key(key)]

    def find(self, owner: str, now: float) -> list[tuple[str, Record]]:
        """Return the sessions of *owner* that have not expired, with their keys."""
        found: dict[str, Record] = {}
        seen: set[str] = set()
        keys = self.keys(owner)
        while keys:
            seen.update(keys)
            for at in range(0, len(keys), BATCH):
                found.update(self._sessions.load_each(keys[at : at + BATCH], now))
            # They may have been moved since the index was read.
            moved = self._sessions.forwards([key for key in keys if key not in found], now)
            keys = [key for key in moved if key not in seen]
        return [(key, record) for key, record in found.items() if record.owner == owner]

    def listed(
        self, owner: str, seen: Set[str] = frozenset(), began_before: float | None = None
    ) -> dict[str, bool]:
        """Return the keys in an owner's index, and whether the owner's session is there just now.

        Args:
            owner: the owner.
            seen: keys to leave out.
            began_before: only the owner's sessions that began before then, in Unix seconds; None:
                also keys of other sessions.
        """
        owner_hash = self.hash_of(owner).encode()
        found: dict[str, bool] = {}
        keys = [key for key in self.keys(owner) if key not in seen]
        for at in range(0, len(keys), BATCH):
            batch = keys[at : at + BATCH]
            for key, (hashed, begun) in zip(batch, self._sessions.facts(batch), strict=True):
                is_owners = hashed == owner_hash
                if began_before is None or (is_owners and seconds(begun) < began_before):
                    found[key] = is_owners
        return found

    def renew(
        self,
        owner: str,
        listed: Collection[str],
        keep: Kept,
        spared: Set[str],
        clock: Callable[[], float],
    ) -> Renewed:
        """End the generation of *owner*, and with it all sessions but those that are kept.

        Sessions that begin later are part of another one.

        Args:
            owner: the owner.
            listed: the keys in the owner's index.
            keep: the sessions that are kept.
            spared: their handles, also those of their later keys.
            clock: returns the time in Unix seconds.
        """
        owner_hash = self.hash_of(owner)
        while generation := self._sessions.generations([owner_hash.encode()])[0]:
            # Order: the kept sessions join the next generation before it becomes the owner's.
            coming, is_kept = new_token(), False
            if spared:
                is_kept = self._adopt_all(
                    owner_hash, generation, coming, listed, keep, spared, clock()
                )
            call = self._call(
                scripts.RENEW, owner_hash, clock(), generation, coming if is_kept else ""
            )
            (what,) = self._link.call_all([call])[0]
            if what == b"done":
                return Renewed(generation, coming)
        return Renewed(b"-", "")

    def _adopt_all(
        self,
        owner_hash: str,
        generation: bytes,
        coming: str,
        listed: Collection[str],
        keep: Kept,
        spared: Set[str],
        now: float,
    ) -> bool:
        """Let the kept sessions be part of the *coming* generation; return whether there is one."""
        is_kept, missing = False, {*keep.bare_handles}
        steps = [_Step(key, "0", (*spared,)) for key in dict.fromkeys([*keep.keys, *listed])]
        seen = {(step.key, step.led) for step in steps}
        while steps or missing:
            if not steps:
                # Redis may have lost the index.
                steps = [_Step(key, "0", (*spared,)) for key in self._located(missing)]
                missing = set()
            calls = [
                self._sessions.step(
                    scripts.ADOPT, step.key, now, step.led, owner_hash, generation, coming,
                    *step.handles,
                )
                for step in steps
            ]  # fmt: skip
            further: list[_Step] = []
            for step, (what, *details) in zip(steps, self._sessions.ask_all(calls), strict=True):
                if what == b"done":
                    is_kept = True
                    missing.discard(details[0].decode())
                elif what in {b"moved", b"waits"}:
                    here = details[0].decode(errors="replace")
                    handles = step.handles
                    if ids.handle_of(step.key) in handles:
                        handles += (ids.handle_of(here),)
                    led = "1" if what == b"moved" else "0"
                    if ids.is_key(here) and (here, led) not in seen:
                        seen.add((here, led))
                        further.append(_Step(here, led, handles))
            steps = further
        return is_kept

    def _located(self, handles: Collection[str]) -> list[str]:
        """Return the keys with these handles, also of moved sessions; this searches all keys."""
        return [
            key
            for handle in handles
            for kind in "sm"
            for batch in self._sessions.keys(kind, handle)
            for key in batch
        ]
