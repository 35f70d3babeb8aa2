"""The index of each owner's sessions: a sorted set of keys, by the time until which it has them.

A session is put into the index before it becomes the owner's, so that a logout of all the owner's
sessions finds it.  A key in the index whose session never became the owner's is harmless.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from litesess.stores.base import KEEP, Record, StoredOwner
from litesess.stores.redis import scripts
from litesess.stores.redis.link import Call, Link
from litesess.stores.redis.records import Fields
from litesess.stores.redis.sessions import BATCH, Sessions, seconds

#: An owner's index is sure to have a session for so many of its lives more, so that few touches
#: have to look after it.
_LIVES_INDEXED: Final = 10


class Owners:
    """The indexes of one store."""

    def __init__(self, link: Link, sessions: Sessions) -> None:
        self._link = link
        self._sessions = sessions

    def hash_of(self, owner: StoredOwner) -> str:
        """Return an owner as a script takes it: a hash in hex; "" for no owner, "-" for KEEP."""
        return "-" if owner is KEEP else self._sessions.records.owner_hash(owner)

    def entry(
        self, key: str, owner: str | None, ends_at: float, now: float
    ) -> tuple[list[Call], Fields]:
        """Return the calls that put a session into its owner's index, and the field that says so.

        Args:
            key: the session's.
            owner: its owner, if it has one.
            ends_at: when it expires, in Unix seconds.
            now: in Unix seconds.
        """
        if owner is None:
            return [], []
        owner_hash = self.hash_of(owner)
        return [self.addition(key, owner_hash, ends_at, now)], ["i", self.until(ends_at, now)]

    def addition(self, key: str, owner_hash: str, ends_at: float, now: float) -> Call:
        """Return the call that puts a session into an owner's index."""
        name = self._sessions.name("o", owner_hash)
        return Call(scripts.INDEX, [name], (repr(now), self.until(ends_at, now), key))

    @staticmethod
    def until(ends_at: float, now: float) -> str:
        """Return until when an index is sure to have a session that expires at *ends_at*."""
        return repr(ends_at + _LIVES_INDEXED * max(ends_at - now, 0.0))

    def removal(self, key: str, owner_hash: str) -> Call:
        """Return the call that takes a session out of an owner's index."""
        return Call(scripts.UNINDEX, [self._sessions.name("o", owner_hash)], ("0", key))

    def keys(self, owner: str) -> list[str]:
        """Return the keys in an owner's index."""
        name = self._sessions.name("o", self.hash_of(owner))
        return [key.decode() for key in self._link.ask("zrange", name, 0, -1)]

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
