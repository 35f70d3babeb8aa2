"""Sessions in Redis or Valkey, for sites that have outgrown one machine.

The rules are those of every store; what is done in one step is in ``scripts``.  On a cluster the
keys of two sessions lie on two nodes as a rule, so that a rotation takes steps: the new session
waits where nobody looks, a mark takes the old one's place if nobody has changed it, and that is
what counts, then the new one is let in.  A late change or logout that finds the mark goes after it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Signature
from threading import Lock
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeVar

from litesess import codec, ids
from litesess.clocks import pauses
from litesess.crypto import EncryptionKey
from litesess.errors import ConfigError, StoreClosed, StoreError, StoreUnavailable, VersionConflict
from litesess.events import Event
from litesess.options import (
    Options,
    build,
    option,
    seconds,
    signature,
    text,
)
from litesess.stores import options as shared
from litesess.stores.base import (
    KEEP,
    MOVED_FOR,
    Owner,
    Record,
    Store,
    StoredOwner,
    check_key,
    owner_or_keep,
)  # fmt: skip
from litesess.stores.keeping import kept
from litesess.stores.redis import scripts
from litesess.stores.redis.expiries import Expiries
from litesess.stores.redis.link import Call, Link
from litesess.stores.redis.records import (
    IN_THE_CLEAR,
    Fields,
    Hash,
    Records,
    flat,
    merged,
    records_of,
)  # fmt: skip
from litesess.stores.redis.stats import RedisStats

logger = logging.getLogger("litesess.store")

__all__ = ["IN_THE_CLEAR", "RedisOptions", "RedisStore"]

AnswerT = TypeVar("AnswerT")

#: How many keys are asked for at once.
_BATCH: Final = 250
#: An owner's index is sure to have a session for so many of its lives more, so that few touches
#: have to look after it.
_LIVES_INDEXED: Final = 10
_FIRST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 0.02
_TOKEN_BYTES: Final = 8


def _prefix(name: str, value: object) -> str:
    prefix = text(name, value)
    if not prefix or any(letter in "*?[]\\" or not letter.isprintable() for letter in prefix):
        raise ConfigError(
            f"{name} {prefix!r} is empty, or has one of * ? [ ] \\ or what can't be printed"
        )
    # Source: Redis Cluster specification, "Hash tags": what counts is between the first { and }.
    _, is_tagged, rest = prefix.partition("{")
    if is_tagged and rest.find("}") < 1:
        raise ConfigError(
            f"{name} {prefix!r} has a {{ without a tag and }} behind it; leave it out"
        )
    return prefix


@dataclass(frozen=True, kw_only=True)
class RedisOptions(Options):
    """How a :class:`RedisStore` works."""

    prefix: str = option(
        "litesess:", "What the keys in Redis begin with; several stores may share it", check=_prefix
    )
    ttl: float = shared.ttl()
    touch_interval: float | Literal["auto"] = shared.touch_interval()
    encryption_key: EncryptionKey | None = shared.key("the values that are stored")
    max_per_owner: int | None = shared.max_per_owner()
    timeout: float = option(
        1,
        "Longest wait for Redis, tries and pauses together, in seconds; then StoreUnavailable",
        check=seconds,
    )
    clock: Callable[[], float] = shared.clock()


class _Found(NamedTuple):
    """A session that a script has answered with, and the key that it has now."""

    key: str
    record: Record


class RedisStore(Store):
    """A store in Redis: one server, Sentinel or Cluster."""

    #: What a caller may pass, for help() and editors.
    __signature__: ClassVar[Signature] = signature(RedisOptions, "server")

    def __init__(self, server: Any, **options: Any) -> None:
        """Check the options; nothing is connected before the first operation in each process.

        Args:
            server: a client of the package ``redis`` (``Redis``, ``RedisCluster``, what
                ``Sentinel.master_for`` returns), or a URL: ``redis://``, ``rediss://``,
                ``unix://``, ``redis+sentinel://HOST:PORT,HOST:PORT/SERVICE``,
                ``redis+cluster://HOST:PORT,HOST:PORT``.
            **options: those of :class:`RedisOptions`.

        Raises:
            ConfigError: an option is unknown or wrong, or *server* can't be used.
        """
        checked_options = build(RedisOptions, options)
        self._link = Link(server, checked_options.timeout)
        self._prefix = checked_options.prefix
        self._encryption_key = checked_options.encryption_key
        self._max_per_owner = checked_options.max_per_owner
        self.ttl = checked_options.ttl
        self.touch_interval = checked_options.touch_interval
        self.clock = checked_options.clock
        self._lock = Lock()  # Guards: the making of _known.
        self._known: Records | None = None
        self._expiries = Expiries(self._link, self._name, self._tell_expired)

    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""
        check_key(key)
        records = self._open()
        return self._live(key, self._stored(key), records)

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""
        now = self.clock()
        fields = self._open().fields(check_key(key), record, now)
        if not self._create(key, record, fields, now):
            return False
        self.tell(Event("created", ids.handle_of(key), record))
        self._evict(record.owner)
        return True

    def _create(self, key: str, record: Record, fields: Fields, now: float) -> bool:
        return bool(self._link.call_all(self._creation(key, record, fields, now))[-1])

    def _creation(self, key: str, record: Record, fields: Fields, now: float) -> list[Call]:
        calls, indexed = self._index(key, record.owner, record.expires_at, now)
        begun = (repr(now), _token(), repr(record.expires_at), *fields, *indexed)
        return [*calls, Call(scripts.CREATE, self._names(key), begun)]

    def load_all(self, keys: Sequence[str]) -> list[Record | None]:
        """Return what :meth:`load` returns for each key, in one go."""
        records = self._open()
        found = self._hashes("s", [check_key(key) for key in keys])
        return [self._live(key, stored, records) for key, stored in zip(keys, found, strict=True)]

    def create_all(self, records: Mapping[str, Record]) -> list[bool]:
        """Return what :meth:`create` returns for each, in one go."""
        now, made = self.clock(), self._open()
        calls: list[Call] = []
        for key, record in records.items():
            fields = made.fields(check_key(key), record, now)
            calls += self._creation(key, record, fields, now)
        answers = self._link.call_all(calls)
        created = [
            bool(answer)
            for call, answer in zip(calls, answers, strict=True)
            if call.script is scripts.CREATE
        ]
        for (key, record), is_new in zip(records.items(), created, strict=True):
            if is_new:
                self.tell(Event("created", ids.handle_of(key), record))
                self._evict(record.owner)
        return created

    def strip_all(self, versions: Mapping[str, int], removed: Collection[str]) -> list[bool]:
        """Take values out of sessions that are at their versions still, in one go."""
        self._open()
        now, gone = repr(self.clock()), [f"={name}" for name in removed]
        calls = [
            Call(
                scripts.UPDATE,
                self._names(check_key(key)),
                (now, _token(), "0", str(version), "", "-", "", "", str(len(gone)), *gone),
            )
            for key, version in versions.items()
        ]
        answers = self._link.call_all(calls, is_repeatable=False)
        return [
            # To look after an owner's index takes another call.
            answer[0] == b"done"
            or (answer[0] == b"unindexed" and self._strip(key, version, removed))
            for (key, version), answer in zip(versions.items(), answers, strict=True)
        ]

    def update(
        self,
        key: str,
        changes: Mapping[str, Any],
        removed: Collection[str],
        *,
        expires_at: float | None = None,
        cookie: Mapping[str, Any] | None = None,
        owner: Owner = KEEP,
        if_version: int | None = None,
    ) -> Record | None:
        """Merge changes into what is stored now; see :meth:`Store.update`.

        Raises:
            StoreUnavailable: Redis can't be reached.  With *if_version* that is said at once, as
                the change may have been made.
        """
        frames, owner = codec.encode_items(changes), owner_or_keep(owner)
        token, now, led = _token(), self.clock(), "0"
        here, records = check_key(key), self._open()
        version = "" if if_version is None else str(if_version)
        ends_at = "" if expires_at is None else repr(expires_at)
        owner_hash = self._hash_of(owner)
        calls: list[Call] = []
        indexed = "", ""
        if owner is not KEEP and owner is not None:
            until = now + self.ttl if expires_at is None else expires_at
            calls = [self._indexing(here, owner_hash, until, now)]
            indexed = owner_hash, self._indexed_until(until, now)
        while True:
            gone, fields = self._changed(here, frames, removed, cookie, owner)
            arguments = [repr(now), token, led, version, ends_at, owner_hash, *indexed]
            call = Call(
                scripts.UPDATE,
                self._names(here),
                (*arguments, str(len(gone)), *gone, *fields),
            )
            what, *details = self._link.call_all([*calls, call], is_repeatable=not version)[-1]
            calls = []
            if what == b"done":
                record = records.record(here, flat(details[0]))
                if record is not None:
                    record.is_moved = here != key
                    record.replaced_version = record.version - 1
                    if owner is not KEEP and record.created_at == now:
                        self._evict(record.owner)
                return record
            if what == b"conflict":
                raise VersionConflict(f"version {details[0].decode()} is stored, not {version}")
            if what == b"unindexed":
                found, until = details[0].decode(), float(details[1])
                calls = [self._indexing(here, found, until, now)]
                indexed = found, self._indexed_until(until, now)
            elif what == b"moved" and details[1] == b"1" and not version:
                # A life that was counted from what another request has changed since is none.
                here, led, ends_at, indexed = details[0].decode(), "1", "", ("", "")
            else:
                return None

    def _changed(
        self,
        key: str,
        frames: codec.Frames,
        removed: Collection[str],
        cookie: Mapping[str, Any] | None,
        owner: StoredOwner,
    ) -> tuple[list[str], Fields]:
        """Return the names of the fields to remove, and the fields to set."""
        records = self._open()
        gone = [f"={name}" for name in removed]
        fields = records.values(key, frames)
        if cookie:
            fields += "k", records.seal(key, "k", codec.encode(dict(cookie), "cookie"))
        elif cookie is not None:
            gone.append("k")
        if owner is None:
            gone.append("o")
        elif owner is not KEEP:
            fields += "o", records.seal(key, "o", codec.encode(owner, "owner"))
        return gone, fields

    def touch(self, key: str, expires_at: float, *, version: int | None = None) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        now, indexed = self.clock(), ("", "")
        calls: list[Call] = []
        self._open()
        while True:
            stored = "" if version is None else str(version)
            names = self._names(check_key(key))
            call = Call(scripts.TOUCH, names, (repr(now), stored, repr(expires_at), *indexed))
            what, *details = self._link.call_all([*calls, call])[-1]
            if what != b"unindexed":
                return bool(what == b"done")
            owner_hash = details[0].decode()
            calls = [self._indexing(key, owner_hash, expires_at, now)]
            indexed = owner_hash, self._indexed_until(expires_at, now)

    def rotate(
        self,
        old: str,
        new: str,
        changes: Mapping[str, Any],
        removed: Collection[str],
        *,
        expires_at: float | None = None,
        cookie: Mapping[str, Any] | None = None,
        owner: Owner = KEEP,
        client: Mapping[str, Any] | None = None,
    ) -> Record | None:
        """Merge changes and move the session to the key *new*; see :meth:`Store.rotate`."""
        frames, owner, now = codec.encode_items(changes), owner_or_keep(owner), self.clock()
        settings: dict[str, Any] = {
            name: value
            for name, value in (("expires_at", expires_at), ("client", client))
            if value is not None
        }
        if cookie is not None:
            settings["cookie"] = cookie or None
        if owner is not KEEP:
            settings["owner"] = owner
        for _ in self._tries("rotated"):
            stored = self._stored(old)
            found = self._live(old, stored, self._open())
            if found is None:
                return None
            record = merged(found, frames, removed, **settings)
            if expires_at is None:
                record.last_seen_at = found.last_seen_at
            if owner is not KEEP:
                record.created_at = now
            outcome = self._move(
                _Found(old, found),
                check_key(new),
                record,
                now,
                tokens=stored.get(b"w", b""),
                # A request that started before a login can't change what the login began.
                takes_changes=owner is KEEP,
            )
            if outcome == "done":
                self.tell(Event("rotated", ids.handle_of(new), record, ids.handle_of(old)))
                if record.owner != found.owner:
                    self._evict(record.owner)
                return record
            if outcome == "taken":
                raise VersionConflict("the new key is taken")
            if outcome == "gone":
                return None
        raise AssertionError  # it ends by an error

    def _move(
        self,
        found: _Found,
        new: str,
        record: Record,
        now: float,
        *,
        tokens: bytes,
        takes_changes: bool,
    ) -> str:
        """Move *found* to *new*, made *record*, if it is stored as it was found.

        Args:
            found: the session.
            new: the key it gets.
            record: what is stored there.
            now: in Unix seconds.
            tokens: of the last writes to it.
            takes_changes: whether late changes under the old key are done to it.

        Returns:
            "done"; "again": it has changed; "gone"; "taken": there is another session.
        """
        old, former = found
        fields = self._open().fields(new, record, now, former.version + 1)
        record.replaced_version = former.version
        as_found = repr(now), str(former.version), repr(former.expires_at)
        mark = (*as_found, new, "1" if takes_changes else "0", repr(now + MOVED_FOR))
        calls, indexed = self._index(new, record.owner, record.expires_at, now)
        fields += "f", old, "w", tokens, *indexed
        if self._link.are_together(self._name("s", old), self._name("s", new)):
            names = [*self._names(old), *self._names(new)]
            calls.append(Call(scripts.MOVE, names, (*mark, repr(record.expires_at), *fields)))
            outcome: str = self._link.call_all(calls)[-1].decode()
        else:
            waiting = (repr(now), repr(now + MOVED_FOR), *fields)
            calls.append(Call(scripts.WAIT, self._names(new), waiting))
            outcome = self._link.call_all(calls)[-1].decode()
            if outcome == "done":
                outcome = self._link.call(scripts.MARK, self._names(old), *mark).decode()
                if outcome != "done":
                    # Without its mark it is nothing, and would keep the key from other sessions.
                    self._link.pipe("unlink", [(self._name("p", new),)])
                elif not self._link.call(scripts.LET_IN, self._names(new), repr(now)):
                    outcome = "gone"
        if outcome == "done" and former.owner is not None:
            self._unindex(former.owner, [old])
        return outcome

    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*.

        As :meth:`Store.replace` says; in one step, but for a cluster, as with :meth:`rotate`.
        """
        check_key(old)
        now = self.clock()
        gone = self._replace(old, check_key(new), record, now)
        if gone is None:
            fields = self._open().fields(new, record, now)
            if not self._create(new, record, fields, now):
                raise VersionConflict("the new key is taken")
            # It may have come there meanwhile, or have expired.
            gone = self._delete(old, now)
        if gone is not None:
            self.tell(Event("destroyed", ids.handle_of(gone.key), gone.record))
        former = None if gone is None else ids.handle_of(old)
        self.tell(Event("created", ids.handle_of(new), record, former))
        self._evict(record.owner)

    def _replace(self, old: str, new: str, record: Record, now: float) -> _Found | None:
        """Move the session that has, or had, the key *old* to *new*, made *record*.

        Returns:
            The session as it was; None: there is none, and nothing was done.
        """
        for _ in self._tries("replaced"):
            found = self._lead(old, now)
            if found is None:
                return None
            outcome = self._move(found, new, record, now, tokens=b"", takes_changes=False)
            if outcome == "done":
                record.replaced_version = 0  # nothing of it is in there
                return found
            if outcome == "taken":
                raise VersionConflict("the new key is taken")
        raise AssertionError  # it ends by an error

    def _lead(self, key: str, now: float) -> _Found | None:
        """Return the session that has, or had, *key*."""
        records, seen = self._open(), set[str]()
        here: str | None = key
        while here is not None and here not in seen:
            seen.add(here)
            record = self._live(here, self._stored(here), records)
            if record is not None:
                return _Found(here, record)
            here = next(iter(self._moves([here], now)), None)
        return None

    def _tries(self, what: str) -> Iterator[None]:
        """Let what others have come between be tried again and again, with pauses.

        Raises:
            StoreUnavailable: they have done so for too long.
        """
        deadline = time.monotonic() + self.lock_timeout
        for pause in pauses(_FIRST_WAIT, _LONGEST_WAIT):
            yield
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"others have changed the session whenever it was about to be {what}, for"
                    f" {self.lock_timeout:g} s"
                )
            time.sleep(pause)

    def delete(self, key: str) -> bool:
        """Delete the session; say whether there was one."""
        gone = self._delete(check_key(key), self.clock())
        if gone is None:
            return False
        self.tell(Event("destroyed", ids.handle_of(gone.key), gone.record))
        return True

    def _delete(
        self,
        key: str,
        now: float,
        *,
        owner: StoredOwner = KEEP,
        spared: Set[str] = frozenset(),
        is_followed: bool = False,
    ) -> _Found | None:
        """Delete the session that has, or had, *key*; return it.

        Args:
            key: of it.
            now: in Unix seconds.
            owner: whose it must be; KEEP: anybody's.
            spared: handles of those that must stay.
            is_followed: where it was moved, it may be anybody's.
        """
        records, led, here = self._open(), "0", key
        owner_hash = self._hash_of(owner)
        while ids.handle_of(here) not in spared:
            names, conditions = self._names(here), (owner_hash, *spared)
            what, *details = self._link.call(scripts.DELETE, names, repr(now), led, *conditions)
            if what == b"moved":
                here, led = details[0].decode(), "1"
                if is_followed:
                    owner_hash = "-"
            elif what == b"waits":
                # By an owner's index, say: only its move makes it valid, if that is not stopped.
                here, led = details[0].decode(), "0"
            elif what == b"gone":
                return None
            else:
                record = records.record(here, flat(details[0]))
                if record is not None and record.owner is not None:
                    self._unindex(record.owner, [here])
                if record is not None and what == b"expired":
                    self.tell(Event("expired", ids.handle_of(here), record))
                return None if record is None or what == b"expired" else _Found(here, record)
        return None

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield the sessions that have not expired, one at a time, with their keys.

        Those that begin or are moved meanwhile may be left out, or come twice.
        """
        records = self._open()
        for keys in self._keys("s"):
            yield from self._live_ones(keys, records)

    def __len__(self) -> int:
        """Return how many sessions have not expired."""
        return sum(1 for _ in self.records())

    def find(self, owner: str | int) -> list[tuple[str, Record]]:
        """Return the sessions of *owner* that have not expired, with their keys."""
        owner, records = ids.owner_of(owner), self._open()
        found: dict[str, Record] = {}
        seen: set[str] = set()
        keys = self._indexed(owner)
        while keys:
            seen.update(keys)
            for at in range(0, len(keys), _BATCH):
                found.update(self._live_ones(keys[at : at + _BATCH], records))
            # They may have been moved since the index was read.
            moved = self._moves([key for key in keys if key not in found])
            keys = [key for key in moved if key not in seen]
        return [(key, record) for key, record in found.items() if record.owner == owner]

    def locate(self, handle: str) -> str | None:
        """Return the key of the session with that handle; None: there is none."""
        if not ids.is_handle(handle):
            return None
        keys = (key for batch in self._keys("s", handle) for key in batch)
        return next((key for key in keys if self.load(key) is not None), None)

    def delete_owner(self, owner: str | int, *, keep: Collection[Any] = ()) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        owner, given = ids.owner_of(owner), kept(keep)
        began_at = self.clock()
        self._open()
        keys, seen = self._listed(owner), set[str]()
        spared = {*given.handles}
        deleted = 0
        while keys:
            # Order: after the index was read, so that a session to spare which was given another
            # id before is known by its forwarding record.
            for key in given.keys:
                spared.update(ids.handle_of(here) for here in self._moved_to(key, self.clock()))
            for key, is_owners in keys.items():
                deleted += self._end(key, owner, spared, is_owners=is_owners)
            seen.update(keys)
            # A rotation whose forwarding record has expired meanwhile leads to these alone.
            keys = self._listed(owner, seen, began_before=began_at)
        return deleted

    def _listed(
        self, owner: str, seen: Set[str] = frozenset(), began_before: float | None = None
    ) -> dict[str, bool]:
        """Return the keys in an owner's index, and whether the owner's session is there just now.

        Args:
            owner: whose.
            seen: keys to leave out.
            began_before: only sessions that began before then; None: also keys of others.
        """
        owner_hash = self._open().owner_hash(owner).encode()
        found: dict[str, bool] = {}
        keys = [key for key in self._indexed(owner) if key not in seen]
        for at in range(0, len(keys), _BATCH):
            batch = keys[at : at + _BATCH]
            for key, (hashed, begun) in zip(batch, self._facts(batch), strict=True):
                is_owners = hashed == owner_hash
                if began_before is None or (is_owners and _seconds(begun) < began_before):
                    found[key] = is_owners
        return found

    def _facts(self, keys: list[str]) -> list[tuple[bytes | None, bytes | None]]:
        """Return the owner's hash and the beginning of each session; None for what is missing."""

        def ask(keys: list[str]) -> list[tuple[bytes | None, bytes | None]]:
            asked = [(self._name("s", key), "h", "c") for key in keys]
            return list(self._link.pipe("hmget", asked))

        return _of_each(ask, keys, (None, None))

    def _end(self, key: str, owner: str, spared: Set[str], *, is_owners: bool) -> bool:
        """Delete a session of *owner* unless it is spared; say whether that was done.

        Args:
            key: that it had in the owner's index.
            owner: whose it must be.
            spared: handles of those that must stay.
            is_owners: it was the owner's when it was listed, and is deleted wherever it went.
        """
        gone = None
        with _passing_over(key):
            gone = self._delete(
                key, self.clock(), owner=owner, spared=spared, is_followed=is_owners
            )
        if gone is not None:
            self.tell(Event("destroyed", ids.handle_of(gone.key), gone.record))
        return gone is not None

    def _moved_to(self, key: str, now: float) -> list[str]:
        """Return the keys that a session has had since it had *key*."""
        seen = [key]
        while moved := [here for here in self._moves(seen[-1:], now) if here not in seen]:
            seen += moved
        return seen[1:]

    def _moves(self, keys: list[str], now: float | None = None) -> list[str]:
        """Return the keys that sessions have been given in place of *keys*."""
        if now is None:
            now = self.clock()
        marks = self._hashes("m", keys)
        return [mark[b"m"].decode() for mark in marks if mark and _seconds(mark[b"e"]) > now]

    def clear(self) -> None:
        """Delete every session; those that begin meanwhile may stay."""
        self._open()
        for keys in self._keys("s"):
            self._unlink_sessions(keys)
        now = self.clock()
        for keys in self._keys("m"):
            for key in keys:
                with _passing_over(key):
                    # It may have been moved to where the search had been.
                    self._delete(key, now)
        for kind in "pm":
            for keys in self._keys(kind):
                self._link.pipe("unlink", [(self._name(kind, key),) for key in keys])

    def _unlink_sessions(self, keys: list[str]) -> None:
        names = [(self._name("s", key),) for key in keys]
        owners = [owner for owner, _ in self._facts(keys)]
        self._link.pipe("unlink", names)
        # Not a whole index: it may have one that begins now.
        indexed = zip(keys, owners, strict=True)
        self._link.pipe(
            "zrem", [(self._name("o", owner.decode()), key) for key, owner in indexed if owner]
        )

    def collect(self) -> int:
        """Delete the sessions that have expired; return how many.

        Redis does that by itself; what is found here has ended by this machine's clock alone.
        """
        now, records = self.clock(), self._open()
        removed = 0

        for found in self._keys("s"):
            # Not what is no session: Redis would refuse the whole batch when half of it is done.
            facts = zip(found, self._facts(found), strict=True)
            keys = [key for key, (_, begun) in facts if begun is not None]
            calls = [Call(scripts.COLLECT, self._names(key), (repr(now),)) for key in keys]
            for key, answer in zip(keys, self._link.call_all(calls), strict=True):
                removed += bool(answer)
                if not (answer and self.is_heard("expired")):
                    continue
                record = records.record(key, flat(answer))
                if record is not None:
                    self.tell(Event("expired", ids.handle_of(key), record))
        return removed

    @property
    def is_encrypted(self) -> bool:
        """Whether values are encrypted."""
        return self._encryption_key is not None

    def stats(self) -> RedisStats:
        """Return the store in numbers; the sessions are counted one by one.

        Those that begin, move or end meanwhile may be left out, or counted twice.
        """
        self._open()
        now, live, expired = self.clock(), 0, 0
        for keys in self._keys("s"):
            ends = [_seconds(end) for end in self._ends(keys) if end is not None]
            live += sum(end > now for end in ends)
            expired += sum(end <= now for end in ends)
        return RedisStats(
            live=live,
            expired=expired,
            merges=self.tally.merges,
            discarded=self.tally.discarded,
        )

    def _ends(self, keys: list[str]) -> list[bytes | None]:
        """Return when each session expires; None for what is missing."""

        def ask(keys: list[str]) -> list[bytes | None]:
            return self._link.pipe("hget", [(self._name("s", key), "e") for key in keys])

        return _of_each(ask, keys, None)

    def key_file(self) -> bytes | None:
        """Return what says how the store is encrypted; None: it was never used."""
        name = f"{self._prefix}keys"
        found: bytes | None = self._link.do(lambda client: client.get(name))
        return found

    def close(self) -> None:
        """Let go of the connections; later operations raise StoreClosed.  Again is harmless."""
        self._expiries.close()
        self._link.close()

    def __repr__(self) -> str:
        return f"<RedisStore {self._link.name} {self._prefix!r}>"

    # Names.

    def _name(self, kind: str, key: str) -> str:
        return f"{self._prefix}{kind}:{{{key}}}"

    def _names(self, key: str) -> list[str]:
        return [self._name(kind, key) for kind in "smp"]

    def _open(self) -> Records:
        """Return what makes hashes of sessions; by the key file, which is looked at once.

        Raises:
            DecryptError: the encryption key does not go with it.
            StoreError: as :meth:`Link.do` says.
        """
        if not self._expiries.is_listening and self.is_heard("expired"):
            self._expiries.listen()
        if self._known is None:
            with self._lock:
                if self._known is None:
                    name, do = f"{self._prefix}keys", self._link.do
                    self._known = records_of(
                        self._encryption_key,
                        repr(self),
                        self.key_file,
                        lambda file: do(lambda client: client.set(name, file, nx=True)),
                        lambda: not any(self._keys("s")),
                    )
        return self._known

    # Owners.

    def _hash_of(self, owner: StoredOwner) -> str:
        """Return what a script is told of an owner."""
        return "-" if owner is KEEP else self._open().owner_hash(owner)

    def _index(
        self, key: str, owner: str | None, ends_at: float, now: float
    ) -> tuple[list[Call], Fields]:
        """Return what has a session in its owner's index, and the field that says so.

        To be done before it is the owner's: who deletes all of them must find it.  That it may not
        become one is harmless.
        """
        if owner is None:
            return [], []
        owner_hash = self._open().owner_hash(owner)
        until = self._indexed_until(ends_at, now)
        return [self._indexing(key, owner_hash, ends_at, now)], ["i", until]

    def _indexing(self, key: str, owner_hash: str, ends_at: float, now: float) -> Call:
        until = self._indexed_until(ends_at, now)
        return Call(scripts.INDEX, [self._name("o", owner_hash)], (repr(now), until, key))

    @staticmethod
    def _indexed_until(ends_at: float, now: float) -> str:
        return repr(ends_at + _LIVES_INDEXED * max(ends_at - now, 0.0))

    def _unindex(self, owner: str, keys: list[str]) -> None:
        name = self._name("o", self._open().owner_hash(owner))
        self._link.call(scripts.UNINDEX, [name], "0", *keys)

    def _indexed(self, owner: str) -> list[str]:
        """Return the keys in an owner's index."""
        name = self._name("o", self._open().owner_hash(owner))
        found: list[bytes] = self._link.do(lambda client: client.zrange(name, 0, -1))
        return [key.decode() for key in found]

    def _evict(self, owner: str | None) -> None:
        """Delete the oldest sessions of *owner*, if there are too many.

        By their age alone, not sparing the one that has just begun: two that begin at once would
        end each other.
        """
        limit = self._max_per_owner
        if limit is None or owner is None:
            return
        found = sorted(self.find(owner), key=lambda item: (item[1].created_at, item[0]))
        for key, _ in found[:-limit]:
            gone = self._delete(key, self.clock(), owner=owner)
            if gone is not None:
                self.tell(Event("evicted", ids.handle_of(gone.key), gone.record))

    # Sessions.

    def _stored(self, key: str) -> Hash:
        name = self._name("s", check_key(key))
        stored: Hash = self._link.do(lambda client: client.hgetall(name))
        return stored

    def _hashes(self, kind: str, keys: Sequence[str]) -> list[Hash]:
        def ask(keys: list[str]) -> list[Hash]:
            return self._link.pipe("hgetall", [(self._name(kind, key),) for key in keys])

        return _of_each(ask, [*keys], {})

    def _live(self, key: str, found: Hash, records: Records) -> Record | None:
        if not found:
            return None
        record = records.record(key, found)
        return None if record is None or record.expires_at <= self.clock() else record

    def _live_ones(self, keys: list[str], records: Records) -> Iterator[tuple[str, Record]]:
        for key, stored in zip(keys, self._hashes("s", keys), strict=True):
            record = self._live(key, stored, records)
            if record is not None:
                yield key, record

    def _keys(self, kind: str, begin: str = "") -> Iterator[list[str]]:
        """Yield the keys that begin so, of what is called so, in batches; some twice maybe."""
        head = len(self._name(kind, "")) - 1
        pattern = f"{self._prefix}{kind}:{{{begin}*"
        for node in self._link.nodes():
            cursor = 0
            while True:
                cursor, names = self._link.scan(node, cursor, pattern, _BATCH)
                keys = [name.decode(errors="replace")[head:-1] for name in dict.fromkeys(names)]
                # The names of a store whose prefix is longer may look like ours.
                if ours := [key for key in keys if ids.is_key(key)]:
                    yield ours
                if cursor == 0:
                    break

    def _tell_expired(self, key: str) -> None:
        # What was in it is gone.
        self.tell(Event("expired", ids.handle_of(key), Record({}, 0.0, 0.0)))


@contextmanager
def _passing_over(key: str) -> Iterator[None]:
    """Log what is wrong with one session, which nobody can load either: others must still end."""
    try:
        yield
    except (StoreUnavailable, StoreClosed):
        raise
    except StoreError:
        logger.exception("session %s is damaged, and was passed over", ids.handle_of(key))


def _of_each(
    ask: Callable[[list[str]], list[AnswerT]], keys: list[str], nothing: AnswerT
) -> list[AnswerT]:
    """Return what *ask* returns for *keys*; *nothing* for a key with something foreign under it.

    Redis refuses a command on a value of another type, and with it the whole batch.
    """
    try:
        return ask(keys)
    except (StoreUnavailable, StoreClosed):
        raise
    except StoreError:
        if len(keys) > 1:
            return [answer for key in keys for answer in _of_each(ask, [key], nothing)]
        logger.exception("what is under %s is no session of ours", ids.handle_of(keys[0]))
        return [nothing]


def _seconds(text: bytes | None) -> float:
    """Return a time that is stored; long ago, if it is none: that was put there by others."""
    try:
        return float(text or b"")
    except ValueError:
        return 0.0


def _token() -> str:
    """Return what a write is known by when it is tried again."""
    return ids.random_bytes(_TOKEN_BYTES).hex()
