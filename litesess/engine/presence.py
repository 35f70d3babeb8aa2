"""How a process comes to have a store open, and leaves it: who is first, who joins, who is last.

Whoever opens or closes locks the directory meanwhile.  All that have the store open hold its
presence lock together; who gets that alone is the first, and may put the store right, or the last,
and notes in the slot where the log ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from litesess.engine import format as form
from litesess.engine.append import Appender
from litesess.engine.chain import Chain
from litesess.engine.commit import Committer
from litesess.engine.directory import Directory, Names
from litesess.engine.files import Files
from litesess.engine.follow import Follower
from litesess.engine.fs import FileSystem, OpenFile, errors, store_error, write_all
from litesess.engine.keys import Keys
from litesess.engine.lock import FileLock
from litesess.engine.recovery import load_existing, open_store
from litesess.errors import StoreClosed, StoreError, StoreLocked, StoreReadOnly

logger = logging.getLogger("litesess.engine")

_LARGEST_LIMIT: Final = 1 << 26
_PID_BYTES: Final = 20
#: Whoever closes a store waits so long, in seconds, for others that do the same.
_GATE_TIMEOUT: Final = 0.1


class Entrance:
    """The way into a store in one directory."""

    def __init__(
        self,
        path: str,
        names: Names,
        *,
        wal_limit: int,
        lock_timeout: float,
        random_bytes: Callable[[int], bytes],
        keys: Keys,
        fs: FileSystem,
        lock: FileLock,
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        """Take what :class:`litesess.engine.db.Engine` was given.

        Args:
            path: the store's directory, absolute.
            names: those of its files.
            wal_limit: bytes of log after which it is compacted.
            lock_timeout: how long to wait for another process to let go, in seconds.
            random_bytes: returns so many.
            keys: those that what is stored is sealed under.
            fs: the door to the disk.
            lock: the locks between processes.
            monotonic: returns seconds that never go back.
            sleep: how to wait for another process; may raise, to end that.
        """
        self.path = path
        self.names = names
        self.fs = fs
        self._wal_limit = wal_limit
        self._lock_timeout = lock_timeout
        self._random_bytes = random_bytes
        self._keys = keys
        self._lock = lock
        self._monotonic = monotonic
        self._sleep = sleep

    def open(self, *, read_only: bool) -> OpenStore:
        """Open the store; for reading, too, if it can't be written.

        Args:
            read_only: only for reading, with no lock.

        Raises:
            StoreLocked: another process is opening it, or has it alone.
            Corruption: a file is damaged or missing.
            StoreError: the directory or a file can't be used.
            OSError: the disk failed.
        """
        if not read_only:
            try:
                return self._open_for_writing()
            except OSError as error:
                if not isinstance(store_error(error, self.path), StoreReadOnly):
                    raise
                logger.warning("%s can't be written (%s), opened for reading", self.path, error)
        return self._open_for_reading()

    def _open_for_writing(self) -> OpenStore:
        directory = Directory.open(self.fs, self.path, self.names, create=True)
        files = self._files(directory)
        locks: list[OpenFile] = []
        try:
            locks.append(directory.open_lock(self.names.live))
            network = self.fs.network_type(self.path)
            chain, is_synced = self._enter(files, locks[0].fd, network)
            locks.append(directory.open_lock(self.names.compact))
            follower = Follower(files, chain, is_shared=not network, is_synced=is_synced)
            committer = self._committer(directory, follower)
            committer.sync()
            # Published while it was loaded, perhaps; the MARK that says so was read as history.
            follower.adopt()
        except BaseException:
            # At once: the exception's traceback would keep the lock for as long as it lives.
            for lock in locks:
                lock.close()
            directory.close()
            raise
        logger.debug("opened %s, generation %d", self.path, chain.live.log.header.generation)
        return OpenStore(files, locks, follower, committer, self._lock, self._wal_limit)

    def _committer(self, directory: Directory, follower: Follower) -> Committer:
        appender = Appender(directory, follower, self._lock, self._lock_timeout, self._monotonic)
        return Committer(directory, follower, appender)

    def _enter(self, files: Files, live: int, network: str) -> tuple[Chain, bool]:
        """Become one of those that have the store open; return what it holds, and if durably."""
        # Guards: who opens or closes.  Between being told that others are there and joining them
        # the last of those may be killed, and nobody would put right what it left.
        gate = live if network else files.directory.fd
        if not self._lock.acquire(gate, self._lock_timeout, sleep=self._sleep):
            raise StoreLocked(self.path, self._who_holds(live, network))
        if network:
            chain = open_store(files, partial(files.write_slot, live), self._hold)
            pid = f"{self._lock.pid():<{_PID_BYTES}}".encode()
            write_all(self.fs, live, pid, form.SLOT_BYTES)
            return chain, True
        try:
            is_first = self._lock.take(live)
            if is_first:
                chain = open_store(files, partial(files.write_slot, live), self._hold)
            else:
                chain = load_existing(files)
            if not self._lock.take(live, shared=True):
                raise StoreLocked(self.path, "is in use by a process that shares it with nobody")
        finally:
            self._lock.release(gate)
        return chain, is_first

    def _hold(self, fd: int) -> None:
        if not self._lock.acquire(fd, self._lock_timeout):
            raise StoreLocked(
                self.path,
                "is in use by a process that does not know of this one: its .live file was"
                " deleted; stop that process",
            )

    def _open_for_reading(self) -> OpenStore:
        directory = Directory.open(self.fs, self.path, self.names, read_only=True)
        files = self._files(directory)
        found = load_existing(files)
        logger.debug("opened %s, generation %d", self.path, found.live.log.header.generation)
        follower = Follower(files, found, is_shared=True, is_synced=True)
        committer = self._committer(directory, follower)
        return OpenStore(files, [], follower, committer, self._lock, self._wal_limit)

    @contextmanager
    def looking(self) -> Iterator[Files]:
        """Open the directory for a look that changes nothing.

        Raises:
            OSError: it can't be opened.
        """
        directory = Directory.open(self.fs, self.path, self.names, read_only=True)
        try:
            yield self._files(directory)
        finally:
            directory.close()

    @contextmanager
    def entering(self, path: str) -> Iterator[Files]:
        """Open another directory, to put a store of the same name and keys there.

        Raises:
            StoreError: the directory can't be used.
        """
        with errors(path):
            directory = Directory.open(self.fs, path, self.names, create=True)
        try:
            if not self._lock.take(directory.fd):
                raise StoreLocked(path, "is in use by another process")
            yield self._files(directory)
        finally:
            directory.close()

    def _files(self, directory: Directory) -> Files:
        return Files(directory, self._keys, self._random_bytes)

    def _who_holds(self, fd: int, network: str) -> str:
        limit = f"within {self._lock_timeout:g} s"
        if not network:
            return f"is being opened by another process, which did not end {limit}"
        pid = self.fs.pread(fd, _PID_BYTES, form.SLOT_BYTES).decode("ascii", "replace").strip()
        return (
            f"is in use by process {pid or '(unknown)'}, and was not free {limit}; on a network"
            f" file system ({network}) only one process can have it: put it on a local disk, or"
            " serve with one process and several threads"
        )


class OpenStore:
    """What a process holds while it has a store open."""

    def __init__(
        self,
        files: Files,
        locks: list[OpenFile],
        follower: Follower,
        committer: Committer,
        lock: FileLock,
        wal_limit: int,
    ) -> None:
        """Take over what was opened.

        Args:
            files: those of the store.
            locks: if it may be written, its presence and maintenance lock.
            follower: its reading side.
            committer: its writing side.
            lock: the locks between processes.
            wal_limit: bytes of log after which it is compacted.
        """
        self.files = files
        self.directory = files.directory
        self.follower = follower
        self.committer = committer
        self.background = threading.Lock()  # held while a thread compacts in the background
        self.has_background = False  # one such thread has run, so that others will
        self.compactors: set[int] = set()  # threads that collect and compact by themselves
        self.seen_at = float("-inf")  # when a read last found the log's name there
        self.linked_at = float("-inf")  # when the name last was the log's
        self.bad_at: tuple[int, float] | None = None  # where and when a read found no record
        self.damage: tuple[str, int, str] | None = None  # what was found wrong there
        self.is_closing = False
        self._locks = locks
        self._lock = lock
        self._wal_limit = wal_limit
        self._postponed = 0
        # In front of the lock between processes, which does not tell threads apart.
        self._maintenance_lock = threading.RLock()  # Guards: _is_maintaining.
        self._is_maintaining = False

    @property
    def log_bytes(self) -> int:
        """How long the live log is."""
        return self.follower.live.table.end

    @property
    def is_over_limit(self) -> bool:
        """Whether the live log is longer than it may get; asked after every commit."""
        end = self.follower.live.table.end
        return end > self._wal_limit and end > self.limit

    @property
    def limit(self) -> int:
        """How long it may get: in proportion to the snapshot, as a merge writes all of that."""
        snapshot = self.follower.live.view.snapshot
        share = min(snapshot.size // 2, _LARGEST_LIMIT) if snapshot is not None else 0
        return max(self._wal_limit, share, self._postponed)

    def postpone_compaction(self) -> None:
        """Let the log grow by another limit: compacting it has failed."""
        self._postponed = self.log_bytes + self._wal_limit

    def note_compaction(self) -> None:
        """Hold the log to its limit again: compacting it has worked."""
        self._postponed = 0

    @contextmanager
    def maintenance(self, timeout: float) -> Iterator[bool]:
        """Keep other threads and processes from what needs to be done by one.

        A thread may do this again inside it.

        Args:
            timeout: how long to wait for other processes, in seconds; at 0 not for another thread
                either, else until it has done its work: that goes on, or the store is closed.

        Yields:
            Whether it is ours; False where nothing may be written, too.

        Raises:
            StoreClosed: the store is being closed.
            OSError: the lock can't be used.
        """
        if self.directory.read_only or not self._maintenance_lock.acquire(blocking=timeout > 0):
            yield False
            return
        try:
            self.check_not_closing()
            if self._is_maintaining:  # this thread, which has come here again
                yield True
                return
            try:
                self._is_maintaining = self._lock_maintenance(timeout)
                yield self._is_maintaining
            finally:
                self._is_maintaining = False
                self._lock.release(self._locks[1].fd)
        finally:
            self._maintenance_lock.release()

    def check_not_closing(self) -> None:
        """Raise :class:`StoreClosed` if the store is being closed."""
        if self.is_closing:
            raise StoreClosed(f"store {self.directory.path} is closing")

    def _lock_maintenance(self, timeout: float) -> bool:
        def sleep(seconds: float) -> None:
            self.check_not_closing()
            time.sleep(seconds)

        while self._lock.acquire(self._locks[1].fd, timeout, sleep=sleep):
            if self.directory.fs.is_linked(self._locks[1].fd):
                return True
            # Guards: others lock another file, if somebody has deleted this one.
            file, self._locks[1] = (
                self._locks[1],
                self.directory.open_lock(self.directory.names.compact),
            )
            file.close()
        return False

    def _open_maintenance_lock(self) -> OpenFile:
        return self.directory.open_lock(self.directory.names.compact)

    def pause(self) -> None:
        """Let other threads run; end a compaction that would hold up the closing."""
        self.check_not_closing()
        # Without this a thread that only computes keeps the interpreter for 5 ms at a time, and
        # slows durable commits many times over.
        time.sleep(0)

    def close(self) -> None:
        """Leave the store; the last to do so marks the log's end, and notes it in the slot."""
        self.is_closing = True
        with self._maintenance_lock:
            # Order: nothing is written any more when others no longer know of this process.
            self.committer.close()
            try:
                if not self.directory.read_only:
                    self._leave()
            except (OSError, StoreError):
                logger.exception("%s was not closed cleanly; nothing is lost", self.directory.path)
            finally:
                # Not the logs: another thread may be reading.
                self._close_files()

    def _leave(self) -> None:
        lock, is_shared = self._lock, self.follower.is_shared
        gate, live = self.directory.fd, self._locks[0].fd
        try:
            # Where somebody is opening for long, this is not the last one.
            is_alone = not is_shared or lock.acquire(gate, _GATE_TIMEOUT)
            if is_alone and lock.take(live):
                slot = self.committer.finish()
                if slot is not None:
                    self.files.write_slot(live, slot)
        finally:
            lock.release(live)
            if is_shared:
                lock.release(gate)

    def forget(self) -> None:
        """In a forked child: close what is the parent's; the locks stay its own."""
        self._close_files()
        self.follower.forget()

    def _close_files(self) -> None:
        self.directory.close()
        for lock in self._locks:
            lock.close()
