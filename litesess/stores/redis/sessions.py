"""The sessions of one store in Redis, as they are read: by key, in batches, through forwards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Final, NamedTuple, TypeVar

from litesess import ids
from litesess.crypto import EncryptionKey
from litesess.errors import StoreClosed, StoreError, StoreUnavailable
from litesess.ids import check_key
from litesess.stores.base import Record
from litesess.stores.redis.link import Link
from litesess.stores.redis.records import Hash, Records, records_of

logger = logging.getLogger("litesess.store")

AnswerT = TypeVar("AnswerT")

#: How many keys are asked for at once.
BATCH: Final = 250


class Found(NamedTuple):
    """A session, and the key that it is stored under."""

    key: str
    record: Record


class Sessions:
    """Reads the hashes of one store, and knows their names.

    Attributes:
        store_name: the name of the store, for errors.
    """

    def __init__(
        self, link: Link, prefix: str, encryption_key: EncryptionKey | None, store_name: str
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._encryption_key = encryption_key
        self.store_name = store_name
        self._lock = Lock()  # Guards: the making of _records.
        self._records: Records | None = None

    @property
    def records(self) -> Records:
        """The converter between hashes and sessions; the key file is read at the first use.

        Raises:
            DecryptError: the encryption key does not fit the key file.
            StoreError: as :meth:`Link.do` says.
        """
        if self._records is None:
            with self._lock:
                if self._records is None:
                    name, ask = f"{self._prefix}keys", self._link.ask
                    self._records = records_of(
                        self._encryption_key,
                        self.store_name,
                        self.key_file,
                        lambda file: ask("set", name, file, nx=True),
                        lambda: not any(self.keys("s")),
                    )
        return self._records

    def key_file(self) -> bytes | None:
        """Return the bytes that say how the store is encrypted; None: it was never used."""
        file: bytes | None = self._link.ask("get", f"{self._prefix}keys")
        return file

    def name(self, kind: str, key: str) -> str:
        """Return the name of a session's hash, forwarding record or waiting session.

        Args:
            kind: "s", "m" or "p", as ``scripts`` says; "o" for an owner's index.
            key: the session's, or the owner's hash.
        """
        return f"{self._prefix}{kind}:{{{key}}}"

    def names(self, key: str) -> list[str]:
        """Return the three names that most scripts take."""
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
                # The names of a store whose prefix is longer may look like ours.
                if ours := [key for key in keys if ids.is_key(key)]:
                    yield ours
                if cursor == 0:
                    break

    def hash(self, key: str) -> Hash:
        """Return the hash under *key*; empty: there is none."""
        found: Hash = self._link.ask("hgetall", self.name("s", check_key(key)))
        return found

    def hashes(self, kind: str, keys: Sequence[str]) -> list[Hash]:
        """Return the hash of that kind under each of *keys*, in one go."""

        def ask(keys: list[str]) -> list[Hash]:
            return self._link.pipe("hgetall", [(self.name(kind, key),) for key in keys])

        return _of_each(ask, [*keys], {})

    def facts(self, keys: list[str]) -> list[tuple[bytes | None, bytes | None]]:
        """Return the owner's hash and the creation of each session; None for what is missing."""

        def ask(keys: list[str]) -> list[tuple[bytes | None, bytes | None]]:
            return [*self._link.pipe("hmget", [(self.name("s", key), "h", "c") for key in keys])]

        return _of_each(ask, keys, (None, None))

    def ends(self, keys: list[str]) -> list[float]:
        """Return when each session under *keys* expires; without those that are missing."""

        def ask(keys: list[str]) -> list[bytes | None]:
            return self._link.pipe("hget", [(self.name("s", key), "e") for key in keys])

        return [seconds(end) for end in _of_each(ask, keys, None) if end is not None]

    def session_in(self, key: str, found: Hash, now: float) -> Record | None:
        """Return the session in the hash under *key*, unless it has expired."""
        record = self.records.record(key, found) if found else None
        return None if record is None or record.expires_at <= now else record

    def load_all(self, keys: Sequence[str], now: float) -> list[Record | None]:
        """Return the session under each of *keys*; None: it is missing or has expired."""
        found = self.hashes("s", keys)
        return [self.session_in(key, each, now) for key, each in zip(keys, found, strict=True)]

    def load_each(self, keys: Sequence[str], now: float) -> Iterator[Found]:
        """Yield the sessions under *keys* that have not expired."""
        for key, record in zip(keys, self.load_all(keys, now), strict=True):
            if record is not None:
                yield Found(key, record)

    def find(self, key: str, now: float) -> Found | None:
        """Return the session that has, or had, *key*."""
        seen = set[str]()
        here: str | None = key
        while here is not None and here not in seen:
            seen.add(here)
            record = self.session_in(here, self.hash(here), now)
            if record is not None:
                return Found(here, record)
            here = next(iter(self.forwards([here], now)), None)
        return None

    def forwards(self, keys: Sequence[str], now: float) -> list[str]:
        """Return the keys that the forwarding records under *keys* lead to."""
        found = self.hashes("m", keys)
        return [each[b"m"].decode() for each in found if each and seconds(each[b"e"]) > now]

    def moved_at(self, key: str, now: float) -> float | None:
        """Return when a session was given another key; see :meth:`Store.moved_at`."""
        (found,) = self.hashes("m", [check_key(key)])
        return seconds(found.get(b"c")) if seconds(found.get(b"e")) > now else None

    def later_keys(self, key: str, now: float) -> list[str]:
        """Return the keys that a session has had since it had *key*."""
        seen = [key]
        while moved := [here for here in self.forwards(seen[-1:], now) if here not in seen]:
            seen += moved
        return seen[1:]


@contextmanager
def passing_over(key: str) -> Iterator[None]:
    """Log the damage of one session, which can't be loaded either: other ones must still end."""
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
        logger.exception("the value under %s is no session of ours", ids.handle_of(keys[0]))
        return [nothing]


def seconds(text: bytes | None) -> float:
    """Return a time that is stored; 0.0, long ago, if it is none: litesess did not write that."""
    try:
        return float(text or b"")
    except ValueError:
        return 0.0
