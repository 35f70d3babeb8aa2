"""Sessions in a directory of plain files, over the write-ahead-log engine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from inspect import Signature
from typing import TYPE_CHECKING, ClassVar, Final, Literal

# The names of the engine are imported when a store is made: they need POSIX.
from litesess import engine, ids
from litesess.clocks import JumpGuard
from litesess.crypto import EncryptionKey, encryption_key
from litesess.engine import Change, Lookup, Put
from litesess.errors import ConfigError, StoreFull
from litesess.options import (
    Options,
    boolean,
    build,
    option,
    optional,
    seconds_or_zero,
    signature,
    size,
    text,
)
from litesess.stores import options as shared
from litesess.stores.embedded import EmbeddedStore
from litesess.stores.expiring import last_uses, remove_expired
from litesess.stores.places import absolute, real_directory
from litesess.stores.stats import Stats
from litesess.stores.stored import Found, events_of
from litesess.stores.times import Credit

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from litesess.engine import Engine, Salvaged, Verification
    from litesess.stores.keywords import WALKeywords

SMALLEST_WAL_LIMIT = 1 << 16
LARGEST_WAL_LIMIT = 1 << 26

#: A pause between two batches of deletions, in seconds.
_REST: Final = 0.0025


def _collection(name: str, value: object) -> str:
    collection = text(name, value)
    if not engine.is_collection(collection):
        raise ConfigError(f"{name} {collection!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
    return collection


@dataclass(frozen=True, kw_only=True)
class WALOptions(Options):
    """How a :class:`WALStore` works."""

    collection: str = option(
        "sessions",
        "The beginning of the files' names.  Several collections can share a directory",
        check=_collection,
    )
    durable: bool = option(
        True,
        "Sync each commit to the disk before it is acknowledged.  ``False``: a power cut can lose"
        " the last seconds, a crash of the process loses nothing",
        check=boolean,
    )
    wal_limit: int = option(
        1_048_576,
        "Bytes of log that start a compaction; half the snapshot, if more, a fifth of a large one",
        check=size(SMALLEST_WAL_LIMIT, LARGEST_WAL_LIMIT),
    )
    ttl: float = shared.ttl()
    anonymous_ttl: float | None = shared.anonymous_ttl()
    gc_interval: float | None = shared.gc_interval()
    compact_after_gc: bool = option(False, "Compact after each collection", check=boolean)
    compact_interval: float | None = option(
        86_400,
        "After this many seconds a collection compacts, too, if anything was deleted since the last"
        " one, so that it leaves the disk; at once if most was deleted.  0: whenever anything"
        " was deleted.  ``None``: never; only a log that grows is compacted",
        check=optional(seconds_or_zero),
    )
    encryption_key: EncryptionKey | None = shared.key("all that is stored")
    touch_interval: float | Literal["auto"] = shared.touch_interval()
    max_sessions: int | None = shared.max_sessions()
    max_per_owner: int | None = shared.max_per_owner()
    lock_timeout: float = option(
        10, "Longest wait for another process to release the store, in s", check=seconds_or_zero
    )
    read_only: bool = option(
        False, "Change nothing, take no lock.  Other processes' changes are visible", check=boolean
    )
    share_anywhere: bool = option(
        False,
        "Allow several processes on a file system of any type: docs/workers.rst",
        check=boolean,
    )
    debug: bool = option(
        False,
        "Log the store's work at DEBUG level, to stderr if logging is not set up",
        check=boolean,
    )
    clock: Callable[[], float] = shared.clock()


class WALStore(EmbeddedStore):
    """A store in one directory, crash-safe, opened at the first operation in each process."""

    compact_interval: float | None
    #: The options, for help() and editors.
    __signature__: ClassVar[Signature] = signature(WALOptions, "path")

    def __init__(self, path: str | os.PathLike[str], **options: Unpack[WALKeywords]) -> None:
        """Check the options, the path and the files; no file stays open.

        Args:
            path: the directory; made, private to this user, when the store is first used.
            **options: those of :class:`WALOptions`.

        Raises:
            ConfigError: an option is unknown or wrong, the path can't be used, or the system is not
                POSIX.
            Corruption: a file in the directory is damaged.
            DecryptError: *encryption_key* is wrong or missing, or the store is unencrypted;
                nothing was changed.
        """
        if find_spec("fcntl") is None:
            raise ConfigError(
                f"WALStore needs POSIX, and this is {sys.platform}; use a RedisStore, or a"
                " MemoryStore"
            )
        checked_options = build(WALOptions, options)
        self.path = real_directory(path, read_only=checked_options.read_only)
        self.collection = checked_options.collection
        engine = _engine(
            self.path,
            checked_options,
            given=absolute(path),
            before_compaction=self._collect_if_steady,
            after_compaction=self._after_compaction,
        )
        engine.check()
        self.is_encrypted = checked_options.encryption_key is not None
        super().__init__(
            engine,
            durable=checked_options.durable,
            max_sessions=checked_options.max_sessions,
            max_per_owner=checked_options.max_per_owner,
        )
        self._engine: Engine = engine
        shared.take_settings(self, checked_options)
        self._guard = JumpGuard(self.clock)
        self._credit = Credit(self.clock)
        self._compacted_at: float | None = None
        self._compaction_seconds: float | None = None
        if checked_options.debug:
            shared.log_everything()

    def collect(self) -> int:
        """Delete the sessions that have expired; return how many.

        Returns 0 if another thread or process is already collecting.  It also returns 0, with a
        warning, for an hour if the clock seems to be wrong, because it is a year away from the
        last use of each session.
        All earlier writes are noted as durable: from then on, damage to them can't pass for a torn
        write.
        """
        now, removed = self.clock(), 0
        keys, is_heard = self._engine.expired(now), self.is_heard("expired")
        if not self._credit.is_given(lambda: last_uses(self._engine, time.sleep)):
            keys = iter(())
        is_done = False
        while not is_done:
            batch: list[Found] = []
            with self._engine.maintenance() as is_ours:
                if not is_ours:
                    self._engine.follow()
                    return removed
                for count, batch in remove_expired(self._engine, keys, now, is_heard=is_heard):
                    removed += count
                    if batch:
                        break
                else:
                    is_done = True
                    self._engine.mark()
            # Order: without the lock, and before the next batch is read, so that a listener holds
            # up nothing but the collection, and few sessions are in memory.
            self.tell(*events_of("expired", batch))
        return removed

    def believe_clock(self) -> None:
        """Let :meth:`collect` trust the clock, however far it is from each session's last use.

        For an operator who has looked at the clock.
        """
        self._credit.give()

    def compact(self) -> None:
        """Delete expired sessions, then write one new snapshot; the log begins anew.

        Raises:
            StoreError: it could not be done; the store is as good as before.
        """
        self._collect_if_room()
        self._engine.compact()

    def compact_if_due(self) -> None:
        """Compact if it is due: by ``compact_interval``, or because most of the file is waste.

        Raises:
            StoreError: it could not be done; the store is as good as before.
        """
        if self._is_compaction_due():
            with self._engine.maintenance() as is_ours:
                if is_ours and self._is_compaction_due():  # another process may have been faster
                    self._engine.compact()

    def _is_compaction_due(self) -> bool:
        waste = None if self.compact_interval is None else self._engine.waste()
        if waste is None or self.compact_interval is None:
            return False
        # Also after a last time in the future, as a clock had it that was wrong.
        return waste.is_most or abs(self.clock() - waste.since) >= self.compact_interval

    def change_key(self, new: str | bytes) -> None:
        """Let *new* open the store from now on, and the former ``encryption_key`` no more.

        This is quick, however much is stored: only the random key that encrypts everything is
        wrapped anew.  Processes that have the store open go on; processes that start later need
        *new*.  With the former key and a copy of the former files, that random key can still be
        read: after a leak call :meth:`rekey` next.

        Raises:
            ConfigError: *new* is no encryption key.
            DecryptError: the store is not encrypted, or was opened by a key that is no more.
            StoreError: it failed; maybe *new* opens it already: do it again.
        """
        self._engine.change_key(encryption_key("encryption_key", new))

    def rekey(self, new: str | bytes | None = None) -> None:
        """Encrypt everything anew under a new random key; nothing remains under the old one.

        Sessions stay as they are, and other processes go on meanwhile; a process that was opened
        with a former ``encryption_key`` raises DecryptError.

        Args:
            new: the key that opens the store from now on, in place of ``encryption_key``; other
                processes that have only the former one raise DecryptError, until they are
                restarted.

        Raises:
            ConfigError: *new* is no encryption key.
            DecryptError: the store is not encrypted, or was opened by a key that is no more.
            StoreError: it could not be done, or not to its end; do it again.
        """
        checked = None if new is None else encryption_key("encryption_key", new)
        if checked is not None:
            # Order: first, so that the former key can't unwrap the new random key.
            self._engine.change_key(checked)
        self._engine.rekey()

    def _rest(self) -> None:
        # Another process that waits for the log's lock tries it again after at most 2 ms: it
        # would miss the moment between two batches, again and again.
        time.sleep(_REST)

    def _collect_if_steady(self) -> None:
        # This collection begins by itself: a clock that jumped must not end all sessions.
        if self._guard.is_steady():
            self._collect_if_room()

    def _collect_if_room(self) -> None:
        # On a full disk the room that is left is for logouts; a compaction can make more.
        with suppress(StoreFull):
            self.collect()

    def _after_compaction(self, seconds: float) -> None:
        self._compacted_at, self._compaction_seconds = self.clock(), seconds

    def stats(self) -> Stats:
        """Return the store in numbers.

        Raises:
            StoreError: it can't be read.
        """
        found = self._engine.stats()
        expired = self._engine.count_expired(self.clock())
        return Stats(
            live=self._engine.count() - expired,
            expired=expired,
            merges=self.tally.merges,
            discarded=self.tally.discarded,
            refused=self.tally.refused,
            compacted_at=self._compacted_at,
            compaction_seconds=self._compaction_seconds,
            **found._asdict(),
        )

    def verify(self) -> Verification:
        """Check every byte that counts; nothing is changed, and other processes can go on.

        Raises:
            Corruption: something is damaged or missing; names the file and the offset.
            StoreError: something could not be read.
        """
        return self._engine.verify()

    def backup(self, path: str | os.PathLike[str]) -> Verification:
        """Copy the store as it is now, while other processes use it, and verify the whole copy.

        All writes that were acknowledged before are in it.  It is a store like this one, with the
        same ``collection`` and ``encryption_key``.

        Args:
            path: an empty directory, or one that can be made.

        Raises:
            ConfigError: the path can't be used.
            StoreError: it could not be done, or there is a store already; nothing of the copy
                remains.
        """
        return self._engine.back_up(real_directory(path, read_only=False))

    def salvage(
        self,
        path: str | os.PathLike[str],
        *,
        collection: str = "sessions",
        encryption_key: str | bytes | EncryptionKey | None = None,
    ) -> Salvaged:
        """Copy the sessions that are certain in a damaged store into this empty one.

        The damaged store is left as it is.  A session that an unreadable record may have deleted is
        left out: logged out stays logged out.

        Args:
            path: the damaged store's directory; no process may use it meanwhile.
            collection: the damaged store's.
            encryption_key: the damaged store's.

        Raises:
            ConfigError: this store holds sessions, is the damaged one, or is unencrypted while the
                damaged one is encrypted.
            StoreError: something could not be read or written.
        """
        options = build(
            WALOptions,
            {"collection": collection, "encryption_key": encryption_key, "read_only": True},
        )
        damaged = real_directory(path, read_only=True)
        if damaged == self.path or len(self):
            raise ConfigError(f"the target of a salvage, {self.path}, is not an empty store")
        if options.encryption_key is not None and not self.is_encrypted:
            raise ConfigError(f"{self.path} is not encrypted, but the store in {damaged} is")
        entries, salvaged = _engine(damaged, options).salvage()
        for key, entry in entries.items():
            put = Put(key, entry.value, entry.expires_at, entry.owner)
            self._engine.transact(partial(_just, put), sync=False)
        self.compact()
        return salvaged

    @property
    def place(self) -> object:
        """Where the sessions are: two stores of equal places keep the same ones."""
        return os.path.realpath(self.path), self.collection

    def __repr__(self) -> str:
        return f"<WALStore {self.path!r}>"


def _engine(
    path: str, options: WALOptions, given: str = "", **hooks: Callable[..., object]
) -> Engine:
    return engine.Engine(
        path,
        options.collection,
        engine.Limits(
            wal_limit=options.wal_limit,
            lock_timeout=options.lock_timeout,
            trusts_disk=options.share_anywhere,
        ),
        engine.Means(random_bytes=ids.random_bytes),
        given=given,
        read_only=options.read_only,
        encryption_key=options.encryption_key,
        hooks=engine.Hooks(**hooks),
    )


def _just(change: Change, _stored: Lookup) -> tuple[Sequence[Change], None]:
    return [change], None
