"""Changes to a session where it is stored: Redis merges them, so that none is lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from litesess import ids
from litesess.errors import StoreUnavailable, VersionConflict
from litesess.ids import check_key
from litesess.stores.base import Record
from litesess.stores.changes import Changes
from litesess.stores.redis import scripts
from litesess.stores.redis.link import Call, Link
from litesess.stores.redis.owners import Owners
from litesess.stores.redis.records import SETTINGS, Fields, flat
from litesess.stores.redis.sessions import Sessions, seconds

_TOKEN_BYTES: Final = 8
#: A session has the tokens of so many writes, as ``UPDATE`` says.
_TOKENS: Final = 8


class Updates:
    """Creates, changes and touches the sessions of one store."""

    def __init__(self, link: Link, sessions: Sessions, owners: Owners, ttl: float) -> None:
        """Begin.

        Args:
            link: the way to Redis.
            sessions: the sessions that are changed.
            owners: their owners' indexes.
            ttl: how long an index is to have a session that gets an owner and no new expiry, in
                seconds; a touch looks after it then.
        """
        self._link = link
        self._sessions = sessions
        self._owners = owners
        self._ttl = ttl

    def create_all(self, records: Mapping[str, Record], now: float) -> list[bool]:
        """Store new sessions, in one go; return of each whether its key was free."""
        calls: list[Call] = []
        for key, record in records.items():
            fields = self._sessions.records.fields(check_key(key), record, now)
            additions, indexed = self._owners.entry(key, record.owner, record.expires_at, now)
            begun = (repr(now), _token(), repr(record.expires_at), *fields, *indexed)
            calls += [*additions, Call(scripts.CREATE, self._sessions.names(key), begun)]
        answers = self._link.call_all(calls)
        return [
            bool(answer)
            for call, answer in zip(calls, answers, strict=True)
            if call.script is scripts.CREATE
        ]

    def update(self, key: str, changes: Changes) -> Record | None:
        """Merge *changes* into the session that has, or had, *key*; see :meth:`Store.update`."""
        now, here, led, token = changes.now, check_key(key), "0", _token()
        calls: list[Call] = []
        lost: list[str] = []
        indexed = "", ""
        if isinstance(changes.owner, str):
            until = now + self._ttl if changes.expires_at is None else changes.expires_at
            calls, indexed = self._indexing(key, self._owners.hash_of(changes.owner), until, now)
        while True:
            call = self._merging(here, changes, token, led, indexed, is_moved=here != key)
            answers = self._link.call_all([*calls, call], on_loss=lambda: lost.append(token))
            what, *details = answers[-1]
            calls = []
            if what == b"done":
                record = self._sessions.records.record(here, flat(details[0]))
                if record is not None:
                    record.is_moved = here != key
                    record.replaced_version = record.version - 1
                return record
            if lost and not changes.follows and what in {b"conflict", b"moved"}:
                _check_is_undone(what, details, changes)
            if what == b"conflict":
                changes.check_version(int(details[0]))
            if what == b"unindexed":
                owner_hash, until = details[0].decode(), float(details[1])
                calls, indexed = self._indexing(here, owner_hash, until, now)
            elif what == b"moved" and changes.follows and now < seconds(details[1]):
                here, led, indexed = details[0].decode(), "1", ("", "")
            else:
                return None

    def _indexing(
        self, key: str, owner_hash: str, until: float, now: float
    ) -> tuple[list[Call], tuple[str, str]]:
        """Return the calls that put a session into an index, and the script's arguments then."""
        call = self._owners.addition(key, owner_hash, until, now)
        return [call], (owner_hash, self._owners.until(until, now))

    def _merging(
        self,
        key: str,
        changes: Changes,
        token: str,
        led: str,
        indexed: tuple[str, str],
        *,
        is_moved: bool,
    ) -> Call:
        """Return the call that merges *changes* into the session under *key*."""
        records, ends_at = self._sessions.records, changes.expires_at
        gone = [f"={name}" for name in changes.removed]
        gone += [SETTINGS[name] for name, value in changes.settings.items() if value is None]
        fields = records.values(key, changes.frames) + records.settings(key, changes.settings)
        arguments: Fields = [
            repr(changes.now), token, led,
            _or_empty(changes.if_version),
            _or_empty(None if is_moved else ends_at),
            "0" if ends_at is None else "1",
            self._owners.hash_of(changes.owner), *indexed,
        ]  # fmt: skip
        return Call(
            scripts.UPDATE,
            self._sessions.names(key),
            (*arguments, str(len(gone)), *gone, *fields),
        )

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
            self._merging(key, each, _token(), "0", ("", ""), is_moved=False)
            for key, each in changes.items()
        ]
        answers = self._link.call_all(calls)
        return [
            # To look after an owner's index takes another call.
            what == b"done" or (what == b"unindexed" and self._strip(key, each))
            for (key, each), (what, *_) in zip(changes.items(), answers, strict=True)
        ]

    def _strip(self, key: str, changes: Changes) -> bool:
        try:
            return self.update(key, changes) is not None
        except VersionConflict:
            return False

    def touch(self, key: str, expires_at: float, version: int | None, now: float) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        names, indexed = self._sessions.names(check_key(key)), ("", "")
        calls: list[Call] = []
        while True:
            arguments = (repr(now), _or_empty(version), repr(expires_at), *indexed)
            call = Call(scripts.TOUCH, names, arguments)
            what, *details = self._link.call_all([*calls, call])[-1]
            if what != b"unindexed":
                return bool(what == b"done")
            calls, indexed = self._indexing(key, details[0].decode(), expires_at, now)


def _check_is_undone(what: bytes, details: Sequence[bytes], changes: Changes) -> None:
    """Check that a write whose answer was lost, and that is refused now, was not done then.

    Raises:
        StoreUnavailable: it may have been: the session no longer has its token.
    """
    needed = changes.if_version or 0
    if what == b"moved" or not 0 < int(details[0]) - needed < _TOKENS:
        raise StoreUnavailable("the answer to a write was lost, and whether it was done is unknown")


def _or_empty(value: float | None) -> str:
    """Return a number as a script takes it; "" for None."""
    return "" if value is None else repr(value)


def _token() -> str:
    """Return a new token, by which a script knows a write that is tried again."""
    return ids.random_bytes(_TOKEN_BYTES).hex()
