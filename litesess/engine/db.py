"""The engine's front: opens at the first operation in each process, reads, commits, compacts."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, NamedTuple

from litesess.crypto import EncryptionKey
from litesess.engine.append import LINKED_FOR
from litesess.engine.backup import back_up
from litesess.engine.chain import check_headers
from litesess.engine.changes import Entry, Plan, ResultT
from litesess.engine.check import Salvaged, Verification, salvage, verify
from litesess.engine.compaction import compact
from litesess.engine.directory import Names
from litesess.engine.follow import Live
from litesess.engine.fs import FileSystem, errors, store_error
from litesess.engine.keys import Keys
from litesess.engine.lock import FileLock
from litesess.engine.presence import Entrance, OpenStore
from litesess.engine.view import View
from litesess.errors import Corruption, StoreClosed, StoreError, StoreLocked

logger = logging.getLogger("litesess.engine")

#: A log at so many times its limit is compacted by the writer that sees it.
_OVERDUE: Final = 4
#: A read relies for so long, in seconds, on the log's having been there: far less than it takes
#: anybody to delete it and to ask again.
_SEEN_FOR: Final = 1e-4
#: What looks like a half-written record for so long, in seconds, was left by a killed writer.
_TORN_AFTER: Final = 0.05
#: A fork waits for so long, in seconds, for each lock; not for ever, as a signal handler may fork
#: in the very thread that holds one.
_FORK_PATIENCE: Final = 1.0


class EngineStats(NamedTuple):
    """A store in numbers: three of its own, and what this process has done since it opened it."""

    generation: int
    log_bytes: int
    snapshot_bytes: int
    is_poisoned: bool
    commits: int
    fsyncs: int
    compactions: int


class Engine:
    """A store of bytes by 32-byte keys, in one directory.

    Any thread of any process may call any method.
    """

    def __init__(
        self,
        path: str,
        *,
        collection: str,
        wal_limit: int,
        lock_timeout: float,
        read_only: bool,
        before_compaction: Callable[[], object],
        after_compaction: Callable[[float], object],
        random_bytes: Callable[[int], bytes],
        encryption_key: EncryptionKey | None,
        fs: FileSystem,
        lock: FileLock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name a store; nothing is opened, made or kept.

        Args:
            path: its directory, absolute; made at the first operation if it is missing.
            collection: what its files' names begin with.
            wal_limit: bytes of log after which it is compacted.
            lock_timeout: how long to wait for another process to let go, in seconds.
            read_only: change nothing, take no lock.
            before_compaction: called in the thread that compacts by itself, before it does; no
                lock is held.
            after_compaction: called after each, with how many seconds it took; no lock is held.
            random_bytes: returns so many.
            encryption_key: what opens the store; None: it is not encrypted.
            fs: the door to the disk.
            lock: the locks between processes.
            monotonic: returns seconds that never go back.
        """
        self.path = path
        self._lock_timeout = lock_timeout
        self._read_only = read_only
        self._before_compaction = before_compaction
        self._after_compaction = after_compaction
        self._compaction_count = 0
        self._monotonic = monotonic
        self._entrance = Entrance(
            path,
            Names(collection),
            wal_limit=wal_limit,
            lock_timeout=lock_timeout,
            random_bytes=random_bytes,
            keys=Keys(encryption_key, random_bytes),
            fs=fs,
            lock=lock,
            monotonic=monotonic,
            sleep=self._sleep_unless_closed,
        )
        self._opening_lock = threading.Lock()  # Guards: _open, _refusals.
        self._open: OpenStore | None = None
        self._closing: OpenStore | None = None  # what a fork must know of, too
        self._is_closed = False
        self._refusals = 0
        _engines.add(self)

    def check(self) -> None:
        """Look at what is there, without opening the store; a directory need not be there.

        Raises:
            Corruption: a file's header is damaged, or of an unknown version.
            DecryptError: the encryption key is not the one.
            StoreError: the directory or a file can't be used.
        """
        with errors(self.path), suppress(FileNotFoundError), self._entrance.looking() as files:
            check_headers(files)

    def get(self, key: bytes) -> Entry | None:
        """Return what is stored under *key*.

        Raises:
            StoreError: it can't be read, or is not what was written.
        """
        opened = self._open or self._opened()
        follower = opened.follower
        try:
            live = follower.live
            if follower.is_shared and live.log.has_grown(live.table.end):
                live = follower.catch_up()
                bad = live.bad
                if bad is not None:
                    self._judge_in_time(opened, bad.offset)
            # Who deletes the directory to end all sessions means it.  Not asked by each of many
            # reads at once: where threads wait for the interpreter, a call that gives it up
            # costs a switch of threads.
            now = self._monotonic()
            if now - opened.seen_at > _SEEN_FOR:
                live = self._look_again(opened, now)
            return live.view.get(key)
        except OSError as error:
            raise store_error(error, self.path) from error

    def _look_again(self, opened: OpenStore, now: float) -> Live:
        """Return what is live, after a look whether it is still there."""
        live = opened.follower.catch_up()
        # Now and then, whether the name is the file's: another store may have been made there.
        is_due = now - opened.linked_at > LINKED_FOR
        if not (live.log.is_linked() if is_due else live.log.is_present()):
            return opened.follower.find_anew()
        opened.seen_at = now
        if is_due:
            opened.linked_at = now
        return live

    def _judge_in_time(self, opened: OpenStore, offset: int) -> None:
        """Have what is bad at the log's end judged, unless it may still be being written."""
        now = self._monotonic()
        if opened.bad_at is None or opened.bad_at[0] != offset:
            opened.bad_at, opened.damage = (offset, now), None
        elif opened.damage is not None:
            path, at, reason = opened.damage
            raise Corruption(path, at, reason)
        elif now - opened.bad_at[1] > _TORN_AFTER and not opened.directory.read_only:
            opened.bad_at = offset, now
            try:
                opened.committer.judge()
            except Corruption as error:
                # Kept: what was damaged may have been a logout, and every read must say so.
                opened.damage = error.path, error.offset, error.reason
                raise

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
        if opened.is_over_limit:
            self._compact_soon(opened)
        return outcome

    def mark(self) -> None:
        """Make all that was written durable, and let the log say so.

        Raises:
            StoreError: it could not be done.
        """
        self._opened().committer.mark()

    def scan(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield every key with what is stored under it; what changes meanwhile may show or not.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        with errors(self.path):
            yield from self._current_view().scan()

    def count(self) -> int:
        """Return how many keys there are, expired or not; at once, after the first time.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        with errors(self.path):
            return self._opened().follower.count()

    def find(self, owner: bytes) -> list[tuple[bytes, Entry]]:
        """Return the keys that are stored for *owner*, with what is stored under them.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        with errors(self.path):
            return [*self._current_view().find(owner)]

    def candidates(self, owner: bytes) -> list[bytes]:
        """Return the keys that were put for *owner*; some may have gone since.

        Raises:
            StoreError: the index can't be read.
        """
        with errors(self.path):
            return [*self._current_view().candidates(owner)]

    def keys_like(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin with eight given bytes.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        with errors(self.path):
            return self._current_view().keys_like(prefix)

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before, in Unix seconds.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        with errors(self.path):
            yield from self._current_view().expired(now, self._opened().pause)

    def _current_view(self) -> View:
        return self._look_again(self._opened(), self._monotonic()).view

    def follow(self) -> None:
        """Let go of what others have merged into a snapshot, if this process has it open.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        opened = self._open
        if opened is not None:
            with errors(self.path):
                opened.follower.catch_up()

    @contextmanager
    def maintenance(self, timeout: float = 0.0) -> Iterator[bool]:
        """Keep others from what needs to be done by one; see :meth:`OpenStore.maintenance`."""
        with self._opened().maintenance(timeout) as is_ours:
            yield is_ours

    def compact(self) -> None:
        """Put everything into one new snapshot.

        Raises:
            StoreLocked: another process was at it for too long.
            StoreError: it could not be done; the store is as good as before.
        """
        with self._maintaining() as opened:
            seconds = self._compact(opened)
        self._after_compaction(seconds)

    def back_up(self, path: str) -> Verification:
        """Copy the store into an empty directory, while others use it; see :func:`back_up`.

        Args:
            path: of the directory, absolute; made if it is missing.

        Raises:
            StoreLocked: another process was at it for too long.
            StoreError: it could not be done; nothing remains there.
        """
        with self._maintaining() as opened, self._entrance.entering(path) as target:
            return back_up(opened.files, opened.follower, target, opened.pause)

    def rekey(self) -> None:
        """Seal everything anew, under a new data key; the old one is gone then.

        Others may use the store meanwhile, if they have its encryption key.

        Raises:
            StoreLocked: another process was at it for too long.
            DecryptError: the store is not encrypted, or under another encryption key by now.
            StoreError: it could not be done; the store is as good as before.
        """
        with self._maintaining() as opened:
            files, follower = opened.files, opened.follower
            if len(follower.adopt().view.tables) > 1:  # what a compaction that failed has left
                self._compact(opened)
            with errors(self.path):
                # One that is published, but that no log was made under yet, is as good as new.
                if files.keys.is_newest(follower.catch_up().log.sealer):
                    files.keys.add(files.directory)
                files.directory.unlink(files.directory.listing().torn)
            seconds = self._compact(opened)
        self._after_compaction(seconds)

    def change_key(self, new: EncryptionKey) -> None:
        """Let *new* open the store from now on, and the encryption key that did so no more.

        Nothing is sealed anew, and who has the store open goes on.

        Raises:
            StoreLocked: another process was at it for too long.
            DecryptError: the store is not encrypted, or under another encryption key by now.
            StoreError: it could not be done; the old one opens it still.
        """
        with self._maintaining() as opened, errors(self.path):
            opened.files.keys.change(opened.directory, new)

    @contextmanager
    def _maintaining(self) -> Iterator[OpenStore]:
        opened = self._opened()
        opened.committer.check_writable()
        with opened.maintenance(self._lock_timeout) as is_ours:
            if not is_ours:
                # Where there is no waiting, it may be a thread of this one.
                who = "another process" if self._lock_timeout else "another thread or process"
                raise StoreLocked(
                    self.path,
                    f"is being compacted by {who}, which did not end within"
                    f" {self._lock_timeout:g} s",
                )
            yield opened

    def stats(self) -> EngineStats:
        """Return what can be counted without going through what is stored.

        Raises:
            StoreError: the store can't be read.
        """
        opened = self._opened()
        live = self._look_again(opened, self._monotonic())
        snapshot, committer = live.view.snapshot, opened.committer
        return EngineStats(
            generation=live.log.header.generation,
            log_bytes=sum(table.end for table in live.view.tables),
            snapshot_bytes=0 if snapshot is None else snapshot.size,
            is_poisoned=committer.is_poisoned,
            commits=committer.commit_count,
            fsyncs=committer.sync_count,
            compactions=self._compaction_count,
        )

    def verify(self) -> Verification:
        """Check every byte that counts, without opening the store; it may be in use.

        Raises:
            Corruption: something is damaged or missing.
            StoreError: something could not be read.
        """
        with errors(self.path), self._entrance.looking() as files:
            return verify(files)

    def salvage(self) -> tuple[dict[bytes, Entry], Salvaged]:
        """Return what is good in a damaged store that nobody uses; see :func:`check.salvage`.

        Raises:
            StoreError: something could not be read.
        """
        with errors(self.path), self._entrance.looking() as files:
            return salvage(files)

    def close(self) -> None:
        """Close the store: later operations raise StoreClosed.  Again is harmless.

        Nothing acknowledged depends on this; it saves the next opening a copy of the log.
        """
        self._is_closed = True  # before the lock: whoever waits in there for another process ends
        with self._opening_lock:
            opened, self._open = self._open, None
            self._closing = opened or self._closing
        if opened is not None:
            opened.close()
            self._closing = None
            logger.debug("closed %s", self.path)

    def hold(self, held: ExitStack) -> None:
        """Before a fork: let nothing be opened, written or closed until *held* is closed."""
        if self._opening_lock.acquire(timeout=_FORK_PATIENCE):
            held.callback(self._opening_lock.release)
        opened = self._open
        if opened is not None and opened.committer.hold(_FORK_PATIENCE):
            held.callback(opened.committer.let_go)

    def forget(self) -> None:
        """In the child, after a fork: hold nothing of the parent's; open at the first operation."""
        self._opening_lock = threading.Lock()
        held = self._open, self._closing
        self._open = self._closing = None
        for opened in held:
            if opened is not None:
                opened.forget()

    def _opened(self) -> OpenStore:
        refusals = self._refusals
        with self._opening_lock:
            if self._is_closed:
                raise StoreClosed(f"store {self.path} was closed")
            if self._open is None:
                if self._refusals != refusals:
                    # Another thread has waited for it while this one waited for that thread.
                    raise StoreLocked(self.path, "is in use by another process")
                try:
                    with errors(self.path):
                        self._open = self._entrance.open(read_only=self._read_only)
                except StoreLocked:
                    self._refusals += 1
                    raise
            return self._open

    def _sleep_unless_closed(self, seconds: float) -> None:
        if self._is_closed:
            raise StoreClosed(f"store {self.path} was closed")
        time.sleep(seconds)

    def _compact_soon(self, opened: OpenStore) -> None:
        """Compact in the background; at once if the log got far beyond its limit."""
        if threading.get_ident() in opened.compactors:  # what it does before it compacts
            return
        if opened.log_bytes > _OVERDUE * opened.limit and self._compact_if_due(opened, inline=True):
            return
        if opened.background.acquire(blocking=False):
            thread = threading.Thread(
                target=self._compact_in_background,
                args=(opened,),
                name="litesess-compaction",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter is about to exit, or may have no threads
                opened.background.release()

    def _compact_in_background(self, opened: OpenStore) -> None:
        opened.has_background = True
        try:
            self._compact_if_due(opened, inline=False)
        finally:
            opened.background.release()

    def _compact_if_due(self, opened: OpenStore, *, inline: bool) -> bool:
        """Compact unless another thread or process does; say whether it was our turn.

        What goes wrong is logged, and tried again when the log has grown.
        """
        # In the background it waits: no other thread is started as long as this one is at it.
        is_ours = False
        thread = threading.get_ident()
        try:
            opened.compactors.add(thread)
            if self._is_due(opened):
                # Order: before the lock is taken, as what is told of then may take its time.
                self._before_compaction()
            seconds = None
            with opened.maintenance(0 if inline else self._lock_timeout) as is_ours:
                # Another process may have been faster.
                if is_ours and self._is_due(opened):
                    if inline and not opened.has_background:
                        self._warn_of_request(opened)
                    seconds = self._compact(opened)
            if seconds is not None:
                self._after_compaction(seconds)
        except StoreClosed:
            return False
        except (OSError, StoreError):
            logger.exception("%s was not compacted; will retry as the log grows", self.path)
            opened.postpone_compaction()
        finally:
            opened.compactors.discard(thread)
        return is_ours

    @staticmethod
    def _is_due(opened: OpenStore) -> bool:
        return opened.follower.catch_up().table.end > opened.limit

    def _warn_of_request(self, opened: OpenStore) -> None:
        # Not where writers are only quicker than the thread that compacts.
        logger.warning(
            "%s: the log has %d bytes, limit %d, and nobody compacts it; a request does it now",
            self.path,
            opened.log_bytes,
            opened.limit,
        )

    def _compact(self, opened: OpenStore) -> float:
        """Put everything into one snapshot; return how many seconds that took."""
        began = self._monotonic()
        with errors(self.path):
            compact(opened.files, opened.follower, opened.committer, opened.pause)
        opened.note_compaction()
        self._compaction_count += 1
        generation = opened.follower.live.log.header.generation
        logger.debug("compacted %s, generation %d", self.path, generation)
        return self._monotonic() - began


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class _Forks:
    """What is held while a process forks.

    No append may be under way, or the child would keep files open that nobody there knows of.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Guards: _held; one fork at a time.
        self._held = ExitStack()

    def before(self) -> None:
        """Hold every engine."""
        self._lock.acquire()
        for engine in list(_engines):
            engine.hold(self._held)

    def after_in_parent(self) -> None:
        """Let them go on."""
        self._held.close()
        self._lock.release()

    def after_in_child(self) -> None:
        """Hold nothing of the parent's."""
        self._lock = threading.Lock()  # the parent's is held
        self._held = ExitStack()
        # All of them, held or not: a server written in C may fork without the first hook.
        for engine in list(_engines):
            engine.forget()


_forks = _Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.before,
        after_in_parent=_forks.after_in_parent,
        after_in_child=_forks.after_in_child,
    )
