"""The sessions of one store in Redis, as they are read: by key, in batches, through forwards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from litesess import ids
from litesess.crypto import EncryptionKey
from litesess.errors import StoreClosed, StoreError, StoreUnavailable
from litesess.events import Event
from litesess.ids import check_key
from litesess.stores.base import Record
from litesess.stores.redis import scripts
from litesess.stores.redis.calling import Call
from litesess.stores.redis.keys import Keys
from litesess.stores.redis.link import Link
from litesess.stores.redis.lua import TOKEN_DIGITS, Script
from litesess.stores.redis.passing import PassedOver, log_foreign
from litesess.stores.redis.records import Hash, Records, flat, is_sound, number
from litesess.stores.times import shorten

logger = logging.getLogger("litesess.store")

AnswerT = TypeVar("AnswerT")
KeyT = TypeVar("KeyT", str, bytes)

#: How many keys are asked for at once.
BATCH: Final = 250
#: How often a call is repeated because Redis has lost the key file.
_TRIES: Final = 3


class Stored(NamedTuple):
    """A session, and the hash that it was read from."""

    record: Record
    hash: Hash


class Found(NamedTuple):
    """A session, and the key that it is stored under."""

    key: str
    stored: Stored

    @property
    def record(self) -> Record:
        """The session."""
        return self.stored.record


class Sessions:
    """Reads the hashes of one store, and knows their names.

    Attributes:
        key_file: the store's.
        are_together: whether one server has all keys, so that a script looks after an owner, too.
    """

    def __init__(
        self,
        link: Link,
        prefix: str,
        encryption_key: EncryptionKey | None,
        store_name: str,
        tell: Callable[[Event], object],
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._tell = tell
        self.are_together = not link.is_cluster
        self.key_file = Keys(
            link, prefix, encryption_key, store_name, lambda: not any(self.keys("s"))
        )

    @property
    def records(self) -> Records:
        """The converter between hashes and sessions; raises as :attr:`Keys.records` does."""
        return self.key_file.records

    def step(
        self, script: Script, key: str, now: float, *arguments: str | bytes, new: str | None = None
    ) -> Call:
        """Return the call of a script for the session under *key*.

        Args:
            script: to be called.
            key: the session's.
            now: in Unix seconds.
            *arguments: of the script, after those that all have.
            new: the key of the session that a move makes.
        """
        names = self.names(key)
        if new is not None:
            names += self.names(new)
        if self.are_together:
            names.append(self._prefix)
        return Call(script, names, (repr(now), self.key_file.mark, *arguments))

    def ask(self, call: Call, *, on_loss: Callable[[], object] | None = None) -> Any:
        """Return a script's answer; raises as :meth:`ask_all` does."""
        return self.ask_all([call], on_loss=on_loss)[0]

    def ask_all(
        self, calls: Sequence[Call], *, on_loss: Callable[[], object] | None = None
    ) -> list[Any]:
        """Return the scripts' answers, called in this order.

        Args:
            calls: of the scripts.
            on_loss: as :meth:`Link.do` takes it.

        Raises:
            StoreUnavailable: Redis can't be reached, or another process has begun the store anew.
            StoreError: as :meth:`Link.do` says.
        """
        answers = self._link.call_all(calls, on_loss=on_loss)
        for _ in range(_TRIES):
            refused = [at for at, answer in enumerate(answers) if answer == [b"keys"]]
            if not refused:
                return answers
            self.key_file.put_back()
            again = self._link.call_all([calls[at] for at in refused], on_loss=on_loss)
            for at, answer in zip(refused, again, strict=True):
                answers[at] = answer
        raise StoreUnavailable("Redis loses the store's key file each time it is put back")

    def name(self, kind: str, key: str) -> str:
        """Return the name of a session's hash, forwarding record or waiting session.

        Args:
            kind: "s", "m" or "p", as ``scripts`` says; "o" and "g" for an owner's index and
                generation.
            key: the session's, or the owner's hash.
        """
        return f"{self._prefix}{kind}:{{{key}}}"

    def names(self, key: str) -> list[str]:
        """Return the three names of a session."""
        return [self.name(kind, key) for kind in "smp"]

    def keys(self, kind: str, begin: str = "") -> Iterator[list[str]]:
        """Yield the keys with names of that kind, in batches; some may come twice.

        Args:
            kind: as :meth:`name` takes it.
            begin: only keys that begin so.
        """
        head = len(self.name(kind, "")) - 1
        pattern = f"{self._prefix}{kind}:{{{begin}*"
        for node in self._link.nodes():
            cursor = 0
            while True:
                cursor, names = self._link.scan(node, cursor, pattern, BATCH)
                keys = [name.decode(errors="replace")[head:-1] for name in dict.fromkeys(names)]
                # The names of a store with a longer prefix can look like ours.
                if ours := [key for key in keys if ids.is_key(key)]:
                    yield ours
                if cursor == 0:
                    break

    def hashes(self, kind: str, keys: Sequence[str]) -> list[Hash | None]:
        """Return the hash of that kind under each of *keys*, in one go; None: it is no hash."""

        def ask(keys: list[str]) -> list[Hash | None]:
            return [*self._link.pipe("hgetall", [(self.name(kind, key),) for key in keys])]

        return _of_each(ask, [*keys], None)

    def facts(self, keys: list[str]) -> list[tuple[bytes | None, bytes | None]]:
        """Return the owner's hash and the creation of each session; None for a missing one."""

        def ask(keys: list[str]) -> list[tuple[bytes | None, bytes | None]]:
            return [*self._link.pipe("hmget", [(self.name("s", key), "h", "c") for key in keys])]

        return _of_each(ask, keys, (None, None))

    def ends(self, keys: list[str], now: float, passed_over: PassedOver) -> list[float]:
        """Return when each session under *keys* expires; without those that are missing."""
        ends: list[float] = []
        found = self._current(scripts.LOOK, keys, now, passed_over)
        for key, each in zip(keys, found, strict=True):
            if each and is_sound(each):
                ends.append(seconds(each[b"e"]))
            elif each:
                passed_over.add(key)
        return ends

    def read_all(
        self, keys: Sequence[str], now: float, passed_over: PassedOver | None = None
    ) -> list[Stored | None]:
        """Return the session under each of *keys*; None: it is missing or has ended."""
        passed_over = passed_over or PassedOver()
        read: list[Stored | None] = []
        for key, found in zip(
            keys, self._current(scripts.LOAD, keys, now, passed_over), strict=True
        ):
            record = self.records.record(key, found) if found else None
            passed_over.count += bool(found) and record is None
            is_live = record is not None and record.expires_at > now
            read.append(Stored(record, found) if record is not None and is_live else None)
        return read

    def read(self, key: str, now: float) -> Stored | None:
        """Return the session under *key*; None: it is missing or has ended."""
        return self.read_all([check_key(key)], now)[0]

    def load_all(self, keys: Sequence[str], now: float) -> list[Record | None]:
        """Return the session under each of *keys*; None: it is missing or has ended."""
        read = self.read_all(keys, now)
        return [None if stored is None else shorten(stored.record, now) for stored in read]

    def load_each(
        self, keys: Sequence[str], now: float, passed_over: PassedOver | None = None
    ) -> Iterator[tuple[str, Record]]:
        """Yield the sessions under *keys* that have not ended, with their keys."""
        for key, stored in zip(keys, self.read_all(keys, now, passed_over), strict=True):
            if stored is not None:
                yield key, shorten(stored.record, now)

    def find(self, key: str, now: float) -> Found | None:
        """Return the session that has, or had, *key*."""
        seen = set[str]()
        here: str | None = key
        while here is not None and here not in seen:
            seen.add(here)
            stored = self.read(here, now)
            if stored is not None:
                return Found(here, stored)
            here = next(iter(self.forwards([here], now)), None)
        return None

    def _current(
        self, script: Script, keys: Sequence[str], now: float, passed_over: PassedOver
    ) -> list[Hash]:
        """Return the hashes of sessions that are part of their owners' generations; empty: none.

        All other sessions are ended.

        Args:
            script: reads one; on a cluster, where a script can't look after owners, all of each
                is read.
            keys: of the sessions.
            now: in Unix seconds.
            passed_over: counts the keys without a session.
        """
        if not self.are_together:
            return self._current_apart(keys, now, passed_over)
        answers = self.ask_all([self.step(script, key, now) for key in keys])
        current: list[Hash] = []
        for key, (what, *details) in zip(keys, answers, strict=True):
            current.append(flat(details[0]) if what == b"session" else {})
            if what == b"ended":
                self.end(key, details[0], now)
            elif what == b"foreign":
                passed_over.add(key)
        return current

    def _current_apart(
        self, keys: Sequence[str], now: float, passed_over: PassedOver
    ) -> list[Hash]:
        found = self.hashes("s", keys)
        passed_over.count += found.count(None)
        owners = {owner for each in found if each and (owner := each.get(b"h"))}
        generations = dict(zip(owners, self.generations([*owners]), strict=True))
        current: list[Hash] = []
        for key, each in zip(keys, found, strict=True):
            owner, its = (each.get(b"h"), each.get(b"g", b"")) if each else (b"", b"")
            if not owner or is_among(generations[owner], its):
                current.append(each or {})
            elif self.end(key, its, now, owner):
                current.append({})
            else:
                # It was kept, meanwhile, as part of a new generation; or it is gone.
                current += self._current_apart([key], now, passed_over)
        return current

    def generations(self, owners: Sequence[bytes]) -> list[bytes]:
        """Return the generation of each owner, given by its hash; empty: it has none."""

        def ask(owners: list[bytes]) -> list[bytes | None]:
            names = [(self.name("g", owner.decode(errors="replace")),) for owner in owners]
            return [*self._link.pipe("get", names)]

        return [found or b"" for found in _of_each(ask, [*owners], None)]

    def end(self, key: str, generations: bytes, now: float, owner_hash: bytes = b"") -> bool:
        """Delete a session that is part of none of its owner's generations any more.

        Not if the owner's index has it: it is deleted, and counted, with the rest of the index.
        It has ended anyway: an error, which is logged, leaves it to the next request that meets it.

        Args:
            key: the session's.
            generations: those that it is part of.
            now: in Unix seconds.
            owner_hash: the owner's hash, if the script can't look into the index.

        Returns:
            Whether it has ended; False: it is part of other generations by now.
        """
        try:
            is_indexed = "1" if owner_hash and self._is_indexed(key, owner_hash) else "0"
            what, *details = self.ask(self.step(scripts.END, key, now, generations, is_indexed))
        except StoreError:
            logger.exception("session %s of an ended generation stays", ids.handle_of(key))
            return True
        record = self.records.record(key, flat(details[0])) if what == b"done" else None
        if record is not None:
            self._tell(Event("destroyed", ids.handle_of(key), record))
        return bool(what != b"gone")

    def _is_indexed(self, key: str, owner_hash: bytes) -> bool:
        name = self.name("o", owner_hash.decode(errors="replace"))
        return self._link.ask("zscore", name, key) is not None

    def forwards(self, keys: Sequence[str], now: float) -> list[str]:
        """Return the keys that the forwarding records under *keys* lead to."""
        live = [each for each in self.hashes("m", keys) if each and seconds(each.get(b"e")) > now]
        forwards = [each.get(b"m", b"").decode(errors="replace") for each in live]
        return [key for key in forwards if ids.is_key(key)]

    def moved_at(self, key: str, now: float) -> float | None:
        """Return when a session was given another key; see :meth:`Store.moved_at`."""
        (found,) = self.hashes("m", [check_key(key)])
        is_live = found and seconds(found.get(b"e")) > now
        return seconds(found.get(b"c")) if found and is_live else None

    def later_keys(self, key: str, now: float) -> list[str]:
        """Return the keys that a session has had since it had *key*."""
        seen = [key]
        while moved := [here for here in self.forwards(seen[-1:], now) if here not in seen]:
            seen += moved
        return seen[1:]


def _of_each(
    ask: Callable[[list[KeyT]], list[AnswerT]], keys: list[KeyT], nothing: AnswerT
) -> list[AnswerT]:
    """Return the answers of *ask* for *keys*; *nothing* for a key with a foreign value.

    Redis refuses a command on a value of another type, and with it the whole batch: it is cut in
    halves until the foreign one is alone.
    """
    try:
        return ask(keys)
    except (StoreUnavailable, StoreClosed):
        raise
    except StoreError:
        if len(keys) > 1:
            middle = len(keys) // 2
            return [
                answer
                for half in (keys[:middle], keys[middle:])
                for answer in _of_each(ask, half, nothing)
            ]
        key = keys[0]
        log_foreign(key if isinstance(key, str) else key.decode(errors="replace"))
        return [nothing]


def is_among(generation: bytes, generations: bytes) -> bool:
    """Return whether an owner's generation, if there is one, is among those of a session."""
    return len(generation) == TOKEN_DIGITS and generation in generations


def seconds(text: bytes | None) -> float:
    """Return a stored time; 0.0, long ago, if it is no time."""
    return number(text) or 0.0
