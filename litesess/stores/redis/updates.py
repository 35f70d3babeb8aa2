"""Changes to a session where it is stored: Redis merges them, so that none is lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from litesess.errors import StoreUnavailable
from litesess.ids import check_key
from litesess.stores.base import KEEP, Record
from litesess.stores.changes import Changes
from litesess.stores.redis import scripts
from litesess.stores.redis.calling import Call
from litesess.stores.redis.lua import TOKENS, new_token
from litesess.stores.redis.owners import Owners
from litesess.stores.redis.records import SETTINGS, Fields, Hash, flat
from litesess.stores.redis.sessions import Sessions, seconds


class Updates:
    """Creates, changes and touches the sessions of one store."""

    def __init__(self, sessions: Sessions, owners: Owners, ttl: float) -> None:
        """Begin.

        Args:
            sessions: the sessions that are changed.
            owners: their owners' indexes.
            ttl: how long, on a cluster, an index is to have a session that gets an owner and no
                new expiry, in seconds; a touch looks after it then.
        """
        self._sessions = sessions
        self._owners = owners
        self._ttl = ttl

    def create_all(self, records: Mapping[str, Record], now: float) -> list[bool]:
        """Store new sessions, in one go; return of each whether its key was free."""
        owners = [
            (check_key(key), self._owners.hash_of(record.owner), record.expires_at)
            for key, record in records.items()
        ]
        generations = self._owners.join_all(owners, now)
        calls = [
            self._sessions.step(
                scripts.CREATE, key, now,
                new_token(), repr(record.expires_at), owner_hash, generation,
                *self._sessions.records.fields(key, record, now),
            )
            for (key, owner_hash, _), record, generation in zip(
                owners, records.values(), generations, strict=True
            )
        ]  # fmt: skip
        created = [answer == [b"done"] for answer in self._sessions.ask_all(calls)]
        for (key, owner_hash, ends_at), generation, is_new in zip(
            owners, generations, created, strict=True
        ):
            if is_new:
                # It may have been cleared out of the index, if it was created a second time.
                self._owners.is_current(key, owner_hash, generation.encode(), ends_at, now)
        return created

    def update(self, key: str, changes: Changes) -> Record | None:
        """Merge *changes* into the session that has, or had, *key*; see :meth:`Store.update`."""
        here, led, token, seen = check_key(key), "0", new_token(), {key}
        lost: list[str] = []
        if changes.owner is not KEEP and not self._sessions.are_together:
            # This ends a session if the generation of its former owner has ended.
            self._sessions.find(key, changes.now)
        while True:
            call = self._merging(here, changes, token, led, is_moved=here != key)
            what, *details = self._sessions.ask(call, on_loss=lambda: lost.append(token))
            if what == b"done":
                return self._merged(here, flat(details[0]), changes, is_moved=here != key)
            if lost and not changes.follows and what in {b"conflict", b"moved"}:
                _check_is_undone(what, details, changes)
            if what == b"conflict":
                changes.check_version(int(details[0]))
            is_led = what == b"moved" and changes.follows and changes.now < seconds(details[1])
            if not is_led or (here := details[0].decode()) in seen:
                return None
            seen.add(here)
            led = "1"

    def _merged(self, key: str, found: Hash, changes: Changes, *, is_moved: bool) -> Record | None:
        record = self._sessions.records.record(key, found)
        if record is None or not self._owners.is_current(
            key,
            found.get(b"h", b"").decode(errors="replace"),
            found.get(b"g", b""),
            record.expires_at,
            changes.now,
        ):
            return None
        record.is_moved = is_moved
        record.replaced_version = record.version - 1
        return record

    def _merging(self, key: str, changes: Changes, token: str, led: str, *, is_moved: bool) -> Call:
        """Return the call that merges *changes* into the session under *key*."""
        records, ends_at, now = self._sessions.records, changes.expires_at, changes.now
        gone = [f"={name}" for name in changes.removed]
        gone += [SETTINGS[name] for name, value in changes.settings.items() if value is None]
        fields = records.values(key, changes.frames) + records.settings(key, changes.settings)
        owner_hash, generation = self._owners.hash_of(changes.owner), ""
        if isinstance(changes.owner, str):
            until = now + self._ttl if ends_at is None else ends_at
            generation = self._owners.join(key, owner_hash, until, now)
        arguments: Fields = [
            token, led,
            _or_empty(changes.if_version),
            _or_empty(None if is_moved else ends_at),
            "0" if ends_at is None else "1",
            owner_hash, generation, str(len(gone)),
        ]  # fmt: skip
        return self._sessions.step(scripts.UPDATE, key, now, *arguments, *gone, *fields)

    def strip_all(
        self, versions: Mapping[str, int], removed: Collection[str], now: float
    ) -> list[bool]:
        """Take values out of sessions that are at their versions still, in one go.

        Args:
            versions: by key.
            removed: top-level keys to take out.
            now: in Unix seconds.

        Returns:
            Of each session whether that was done.
        """
        changes = {
            check_key(key): Changes(now, {}, removed, if_version=version)
            for key, version in versions.items()
        }
        calls = [
            self._merging(key, each, new_token(), "0", is_moved=False)
            for key, each in changes.items()
        ]
        answers = self._sessions.ask_all(calls)
        return [what == b"done" for what, *_ in answers]

    def touch(self, key: str, expires_at: float, version: int | None, now: float) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        call = self._sessions.step(
            scripts.TOUCH, check_key(key), now, _or_empty(version), repr(expires_at)
        )
        what, *details = self._sessions.ask(call)
        if what != b"done":
            return False
        owner_hash, generations = details
        return self._owners.is_current(
            key, owner_hash.decode(errors="replace"), generations, expires_at, now
        )


def _check_is_undone(what: bytes, details: Sequence[bytes], changes: Changes) -> None:
    """Check that a refused write was not done before, when its answer was lost.

    Raises:
        StoreUnavailable: it may have been: the session no longer has its token.
    """
    needed = changes.if_version or 0
    if what == b"moved" or not 0 < int(details[0]) - needed < TOKENS:
        raise StoreUnavailable("the answer to a write was lost, and whether it was done is unknown")


def _or_empty(value: float | None) -> str:
    """Return a number as a script takes it; "" for None."""
    return "" if value is None else repr(value)
