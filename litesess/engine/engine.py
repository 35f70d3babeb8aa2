"""The engine's front: opens at the first operation in each process, then reads and commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from litesess.crypto import EncryptionKey
from litesess.engine.backup import back_up
from litesess.engine.chain import check_headers
from litesess.engine.changes import Entry, Plan, ResultT
from litesess.engine.check import Salvaged, Verification, salvage, verify
from litesess.engine.directory import Names
from litesess.engine.fs import errors, store_error
from litesess.engine.keys import Keys
from litesess.engine.lifecycle import Lifecycle
from litesess.engine.means import NO_HOOKS, Hooks, Limits, Means
from litesess.engine.opened import EngineStats, Waste
from litesess.engine.opening import Opener
from litesess.engine.view import View, paused
from litesess.errors import StoreReadOnly


class Engine(Lifecycle):
    """A store of bytes by 32-byte keys, in one directory.

    Any thread of any process may call any method.
    """

    def __init__(
        self,
        path: str,
        collection: str,
        limits: Limits,
        means: Means,
        *,
        given: str = "",
        read_only: bool = False,
        encryption_key: EncryptionKey | None = None,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """Name a store; nothing is opened or made.

        Args:
            path: its directory, absolute; made at the first operation if it is missing.
            collection: the beginning of its files' names.
            limits: sizes and times to keep to.
            means: all by which it reaches the world outside.
            given: the path as it was given, which may lead there over links; "": *path*.
            read_only: change nothing, take no lock.
            encryption_key: opens the store; None: it is not encrypted.
            hooks: functions to call before and after a compaction.
        """
        keys = Keys(encryption_key, means.random_bytes)
        opener = Opener(path, given, Names(collection), keys, limits, means, hooks)
        super().__init__(opener, read_only=read_only, sleep=means.sleep)

    def check(self) -> None:
        """Look at the files, without opening the store; the directory need not be there.

        Raises:
            Corruption: a file's header is damaged, or of an unknown version.
            DecryptError: the encryption key is wrong.
            StoreError: the directory or a file can't be used.
        """
        with errors(self.path), suppress(FileNotFoundError), self._opener.looking() as files:
            check_headers(files)

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under *key*, or None if it is missing.

        Raises:
            StoreError: it can't be read, or was damaged.
        """
        try:
            return (self._open or self._opened()).reader.get(key)
        except OSError as error:
            raise store_error(error, self.path) from error

    def transact(self, plan: Plan[ResultT], *, sync: bool) -> tuple[ResultT, int]:
        """Run *plan* and make its changes; see :meth:`Committer.transact`.

        Raises:
            StoreError: nothing was changed, or, for StoreFailed, maybe.
        """
        opened = self._open or self._opened()
        try:
            outcome = opened.committer.transact(plan, sync=sync)
        except OSError as error:
            raise store_error(error, self.path) from error
        except StoreReadOnly:
            if self._opened_anew(opened) is None:
                raise
            return self.transact(plan, sync=sync)
        compactor = opened.compactor
        if compactor.is_over_limit:
            compactor.compact_soon()
        return outcome

    def mark(self) -> None:
        """Make all that was written durable, and let the log and the slot say so.

        Raises:
            StoreError: it could not be done.
        """
        with errors(self.path):
            self._opened().mark()

    def scan(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield every key with its entry; changes that are made meanwhile may show or not.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            yield from self._current_view().scan()

    def count(self) -> int:
        """Return how many entries are counted, expired or not; at once, after the first time.

        Those of ``UNCOUNTED`` are not.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            return self._opened().follower.count()

    def find(self, owner: bytes) -> list[tuple[bytes, Entry]]:
        """Return the keys of *owner*, each with its entry.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            found = self._current_view().find(owner)
            return [*paused(found, self._opened().maintenance.pause)]

    def candidates(self, owner: bytes) -> Iterator[bytes]:
        """Yield the keys that were put for *owner*; some may have gone since.

        No entry is read for that.

        Raises:
            StoreError: a key can't be read.
        """
        with errors(self.path):
            found = self._current_view().candidates(owner)
            yield from paused(found, self._opened().maintenance.pause)

    def keys_like(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin with eight given bytes.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            return self._current_view().keys_like(prefix)

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before, in Unix seconds.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            yield from self._current_view().expired(now, self._opened().maintenance.pause)

    def sample(self, count: int) -> list[bytes]:
        """Return some keys of entries without an owner, picked at random; see :meth:`View.sample`.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            return self._current_view().sample(count)

    def count_expired(self, now: float) -> int:
        """Return how many of the counted entries expire at *now* or before, in Unix seconds.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            view = self._current_view()
            return sum(map(view.counts, view.expired(now, self._opened().maintenance.pause)))

    def _current_view(self) -> View:
        return self._opened().reader.current().view

    def follow(self) -> None:
        """Close files that other processes have merged into a snapshot, if the store is open.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        opened = self._open
        if opened is not None:
            with errors(self.path):
                opened.follower.catch_up()

    @contextmanager
    def maintenance(self) -> Iterator[bool]:
        """Take the maintenance lock for the block, if it is free; yield whether it was taken."""
        with suppress(StoreReadOnly):
            self._opened_to_write()
        with self._opened().maintenance.locked(0) as is_ours:
            yield is_ours

    def compact(self) -> None:
        """Put everything into one new snapshot.

        Raises:
            StoreLocked: another process was at it for too long.
            StoreError: it could not be done; the store is as good as before.
        """
        self._opened_to_write().compactor.compact()

    def waste(self) -> Waste | None:
        """Return the waste that a compaction would remove; see :meth:`OpenStore.waste`.

        Raises:
            StoreError: something can't be read, or was damaged.
        """
        with errors(self.path):
            return self._opened().waste()

    def rekey(self) -> None:
        """Encrypt everything anew, under a new data key; the old one is gone then.

        Other processes may use the store meanwhile, if they have its encryption key.

        Raises:
            StoreLocked: another process was at it for too long.
            DecryptError: the store is not encrypted, or under another encryption key by now.
            StoreError: it could not be done; the store is as good as before.
        """
        self._opened_to_write().compactor.rekey()

    def change_key(self, new: EncryptionKey) -> None:
        """Let *new* open the store from now on, and the former encryption key no more.

        The data stays under its data key, and processes that have the store open go on.

        Raises:
            StoreLocked: another process was at it for too long.
            DecryptError: the store is not encrypted, or under another encryption key by now.
            StoreError: it could not be done; the old one opens it still.
        """
        opened = self._opened_to_write()
        with opened.maintenance.required(), errors(self.path):
            opened.files.keys.change(opened.files.directory, new)

    def back_up(self, path: str) -> Verification:
        """Copy the store into an empty directory, while it is in use; see :func:`back_up`.

        Args:
            path: of the directory, absolute; made if it is missing.

        Raises:
            StoreLocked: another process was at it for too long.
            StoreError: it could not be done; nothing remains there.
        """
        opened = self._opened_to_write()
        with opened.maintenance.required(), self._opener.copying_to(path) as target:
            return back_up(opened.files, opened.follower, target, opened.maintenance.pause)

    def stats(self) -> EngineStats:
        """Return the numbers that can be had without going through all entries.

        Raises:
            StoreError: the store can't be read.
        """
        with errors(self.path):
            return self._opened().stats()

    def verify(self) -> Verification:
        """Check every byte that counts, without opening the store; it may be in use.

        Raises:
            Corruption: something is damaged or missing.
            StoreError: something could not be read.
        """
        with errors(self.path), self._opener.looking() as files:
            return verify(files)

    def salvage(self) -> tuple[dict[bytes, Entry], Salvaged]:
        """Return the good entries of a damaged store that is not in use; see :func:`check.salvage`.

        Raises:
            StoreError: something could not be read.
        """
        with errors(self.path), self._opener.looking() as files:
            return salvage(files)
