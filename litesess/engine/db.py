"""The engine's front: opens at the first operation in each process, reads, commits, compacts."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from litesess.engine import format as form
from litesess.engine.chain import Place, check_headers
from litesess.engine.check import Salvaged, Verification, salvage, verify
from litesess.engine.commit import Committer, Plan, ResultT
from litesess.engine.compaction import compact
from litesess.engine.fs import FileSystem, OpenFile, store_error, write_all
from litesess.engine.lock import FileLock
from litesess.engine.names import Names
from litesess.engine.recovery import Opened, open_for_reading, open_store
from litesess.engine.view import View
from litesess.errors import StoreClosed, StoreError, StoreLocked, StoreReadOnly

logger = logging.getLogger("litesess.engine")

#: A log at so many times its limit is compacted by the writer that sees it.
_OVERDUE: Final = 4
_LARGEST_LIMIT: Final = 1 << 26
#: A read relies for so long, in seconds, on the log's having been there: far less than it takes
#: anybody to delete it and to ask again.
_SEEN_FOR: Final = 1e-4
_PID_BYTES: Final = 20


class Engine:
    """A store of bytes by 32-byte keys, in one directory; any thread may call any method."""

    def __init__(
        self,
        path: str,
        *,
        collection: str,
        wal_limit: int,
        lock_timeout: float,
        read_only: bool,
        before_compaction: Callable[[], object],
        random_bytes: Callable[[int], bytes],
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
            read_only: change nothing, take no lock; what others write later does not show.
            before_compaction: called in the thread that compacts by itself, before it does.
            random_bytes: returns so many.
            fs: the door to the disk.
            lock: the locks between processes.
            monotonic: returns seconds that never go back.
        """
        self.path = path
        self._names = Names(collection)
        self._wal_limit = wal_limit
        self._lock_timeout = lock_timeout
        self._read_only = read_only
        self._before_compaction = before_compaction
        self._random_bytes = random_bytes
        self._fs = fs
        self._lock = lock
        self._monotonic = monotonic
        self._opening_lock = threading.Lock()  # Guards: _open, _refusals.
        self._open: _OpenStore | None = None
        self._is_closed = False
        self._refusals = 0
        _engines.add(self)

    def check(self) -> None:
        """Look at what is there, without opening the store; a directory need not be there.

        Raises:
            Corruption: a file's header is damaged, or of an unknown version.
            StoreError: the directory or a file can't be used.
        """
        try:
            with self._looking() as place:
                check_headers(place)
        except FileNotFoundError:
            return
        except OSError as error:
            raise store_error(error, self.path) from error

    def get(self, key: bytes) -> form.Entry | None:
        """Return what is stored under *key*.

        Raises:
            StoreError: it can't be read, or is not what was written.
        """
        opened = self._open or self._opened()
        try:
            view = opened.committer.view
            # Who deletes the directory to end all sessions means it.  Not asked by each of many
            # reads at once: where threads wait for the interpreter, a call that gives it up
            # costs a switch of threads.
            now = self._monotonic()
            if now - opened.seen_at > _SEEN_FOR:
                if view.tables[0].log.is_present():
                    opened.seen_at = now
                else:
                    view = self._look_again(view)
            return view.get(key)
        except OSError as error:
            raise store_error(error, self.path) from error

    def _look_again(self, view: View) -> View:
        """Return what is stored now that the log of *view* has no name any more."""
        if self._read_only:
            # Its writer has compacted, or the store is gone: then opening says so.
            with self._opening_lock:
                stale, self._open = self._open, None
            if stale is not None:
                stale.forget()
        fresh = self._opened().committer.view
        if fresh.tables[0].log is view.tables[0].log:
            fresh.tables[0].log.check_present()
        return fresh

    def transact(self, plan: Plan[ResultT], *, sync: bool) -> tuple[ResultT, int]:
        """Run *plan* and make its changes; see :meth:`Committer.transact`.

        Raises:
            StoreError: nothing was changed, or, for StoreFailed, maybe.
        """
        opened = self._open or self._opened()
        try:
            outcome = opened.committer.transact(plan, sync=sync)
        except OSError as error:
            if error.errno is None:  # a signal handler's
                raise
            raise store_error(error, self.path) from error
        if opened.committer.log_bytes > opened.limit:
            self._compact_soon(opened)
        return outcome

    def mark(self) -> None:
        """Make all that was written durable, and let the log say so.

        Raises:
            StoreError: it could not be done.
        """
        self._opened().committer.mark()

    def scan(self) -> Iterator[tuple[bytes, form.Entry]]:
        """Yield every key with what is stored under it; what changes meanwhile may show or not.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        try:
            yield from self._opened().committer.view.scan()
        except OSError as error:
            raise store_error(error, self.path) from error

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before, in Unix seconds.

        Raises:
            StoreError: something can't be read, or is not what was written.
        """
        try:
            yield from self._opened().committer.view.expired(now)
        except OSError as error:
            raise store_error(error, self.path) from error

    def compact(self) -> None:
        """Put everything into one new snapshot.

        Raises:
            StoreError: it could not be done; the store is as good as before.
        """
        opened = self._opened()
        opened.check_writable()
        with opened.compaction_lock:
            self._compact(opened)

    def verify(self) -> Verification:
        """Check every byte that counts, without opening the store; it may be in use.

        Raises:
            Corruption: something is damaged or missing.
            StoreError: something could not be read.
        """
        try:
            with self._looking() as place:
                return verify(place, lambda: self._look_at_slot(place))
        except OSError as error:
            raise store_error(error, self.path) from error

    def salvage(self) -> tuple[dict[bytes, form.Entry], Salvaged]:
        """Return what is good in a damaged store that nobody uses; see :func:`check.salvage`.

        Raises:
            StoreError: something could not be read.
        """
        try:
            with self._looking() as place:
                return salvage(place, self._look_at_slot(place))
        except OSError as error:
            raise store_error(error, self.path) from error

    def close(self) -> None:
        """Close the store: later operations raise StoreClosed.  Again is harmless.

        Nothing acknowledged depends on this; it saves the next opening a copy of the log.
        """
        self._is_closed = True  # before the lock: whoever waits in there for another process ends
        with self._opening_lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened.close(self._fs, self._lock)
            logger.debug("closed %s", self.path)

    def hold(self) -> _OpenStore | None:
        """Before a fork: let nothing be opened, written or closed; return what is open."""
        self._opening_lock.acquire()
        if self._open is not None:
            self._open.committer.hold()
        return self._open

    def let_go(self, opened: _OpenStore | None) -> None:
        """In the parent, after a fork: end what :meth:`hold` began."""
        if opened is not None:
            opened.committer.let_go()
        self._opening_lock.release()

    def forget(self) -> None:
        """In the child, after a fork: hold nothing of the parent's; open at the first operation."""
        self._opening_lock = threading.Lock()
        opened, self._open = self._open, None
        if opened is not None:
            opened.forget()

    def _opened(self) -> _OpenStore:
        refusals = self._refusals
        with self._opening_lock:
            if self._is_closed:
                raise StoreClosed(f"store {self.path} was closed")
            if self._open is None:
                if self._refusals != refusals:
                    # Another thread has waited for it while this one waited for that thread.
                    raise StoreLocked(self.path, "is in use by another process")
                try:
                    self._open = self._open_now()
                except StoreLocked:
                    self._refusals += 1
                    raise
                except OSError as error:
                    raise store_error(error, self.path) from error
            return self._open

    def _open_now(self) -> _OpenStore:
        if not self._read_only:
            try:
                return self._open_for_writing()
            except OSError as error:
                if not isinstance(store_error(error, self.path), StoreReadOnly):
                    raise
                logger.warning("%s can't be written (%s), opened for reading", self.path, error)
        return self._open_for_reading()

    def _open_for_writing(self) -> _OpenStore:
        self._fs.make_directory(self.path)
        directory = OpenFile(self._fs.open_directory(self.path), self._fs.close)
        place = self._place(directory.fd)
        live = OpenFile(self._open_lock_file(place, self._names.live), self._fs.close)
        try:
            if not self._lock.acquire(live.fd, self._lock_timeout, sleep=self._sleep_unless_closed):
                raise StoreLocked(self.path, self._who_holds(live.fd))
            slot = self._read_slot(live.fd)
            opened = open_store(place, slot, lambda new: _write_slot(self._fs, live.fd, new))
            pid = f"{self._lock.pid():<{_PID_BYTES}}".encode()
            write_all(self._fs, live.fd, pid, form.SLOT_BYTES)
        except BaseException:
            # At once: the exception's traceback would keep the lock for as long as it lives.
            live.close()
            directory.close()
            raise
        logger.debug("opened %s, generation %d", self.path, opened.newest)
        return _OpenStore(place, directory, live, opened, self._wal_limit)

    def _open_for_reading(self) -> _OpenStore:
        directory = OpenFile(self._fs.open_directory(self.path), self._fs.close)
        place = replace(self._place(directory.fd), read_only=True)
        opened = open_for_reading(place, self._look_at_slot(place))
        logger.debug("opened %s for reading, generation %d", self.path, opened.newest)
        return _OpenStore(place, directory, None, opened, self._wal_limit)

    @contextmanager
    def _looking(self) -> Iterator[Place]:
        """Open the directory for a look that changes nothing."""
        directory = OpenFile(self._fs.open_directory(self.path), self._fs.close)
        try:
            yield replace(self._place(directory.fd), read_only=True)
        finally:
            directory.close()

    def _look_at_slot(self, place: Place) -> form.Slot | None:
        name = self._names.live
        try:
            fd = self._fs.open(place.directory, name, place.path_of(name), write=False)
        except FileNotFoundError:
            return None
        try:
            return self._read_slot(fd)
        finally:
            self._fs.close(fd)

    def _sleep_unless_closed(self, seconds: float) -> None:
        if self._is_closed:
            raise StoreClosed(f"store {self.path} was closed")
        time.sleep(seconds)

    def _read_slot(self, fd: int) -> form.Slot | None:
        return form.decode_slot(self._fs.pread(fd, form.SLOT_BYTES, 0))

    def _place(self, directory: int) -> Place:
        return Place(self._fs, directory, self.path, self._names, self._random_bytes)

    def _open_lock_file(self, place: Place, name: str) -> int:
        try:
            return self._fs.open(place.directory, name, place.path_of(name))
        except FileNotFoundError:
            try:
                return self._fs.create(place.directory, name)
            except FileExistsError:  # another process was faster
                return self._fs.open(place.directory, name, place.path_of(name))

    def _who_holds(self, fd: int) -> str:
        pid = self._fs.pread(fd, _PID_BYTES, form.SLOT_BYTES).decode("ascii", "replace").strip()
        return (
            f"is in use by process {pid or '(unknown)'}, and was not free within"
            f" {self._lock_timeout:g} s; stop that process, or give this one another path,"
            " or serve with one process and several threads"
        )

    def _compact_soon(self, opened: _OpenStore) -> None:
        """Compact in the background; at once if the log got far beyond its limit."""
        if opened.compactor == threading.get_ident():  # what it does before it compacts
            return
        is_overdue = opened.committer.log_bytes > _OVERDUE * opened.limit
        if is_overdue and not opened.compaction_lock.locked():
            logger.warning(
                "%s: the log has %d bytes, limit %d, and nobody compacts it; a request does it now",
                self.path,
                opened.committer.log_bytes,
                opened.limit,
            )
            self._compact_if_due(opened)
        elif opened.background.acquire(blocking=False):
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

    def _compact_in_background(self, opened: _OpenStore) -> None:
        try:
            self._compact_if_due(opened)
        finally:
            opened.background.release()

    def _compact_if_due(self, opened: _OpenStore) -> None:
        """Compact; what goes wrong is logged, and tried again when the log has grown."""
        with opened.compaction_lock:
            if opened.committer.log_bytes <= opened.limit:  # somebody else was faster
                return
            try:
                opened.compactor = threading.get_ident()
                self._before_compaction()
                self._compact(opened)
            except StoreClosed:
                return
            except StoreError:
                logger.exception("%s was not compacted; will retry as the log grows", self.path)
                opened.limit = opened.committer.log_bytes + self._wal_limit
            finally:
                opened.compactor = 0

    def _compact(self, opened: _OpenStore) -> None:
        try:
            compact(opened.place, opened.committer, opened.next_generation, opened.pause)
        except OSError as error:
            raise store_error(error, self.path) from error
        opened.set_limit(self._wal_limit)
        logger.debug("compacted %s, generation %d", self.path, opened.newest)


class _OpenStore:
    """What a process holds while it has a store open."""

    def __init__(
        self,
        place: Place,
        directory: OpenFile,
        live: OpenFile | None,
        opened: Opened,
        wal_limit: int,
    ) -> None:
        self.place = place
        self.directory = directory
        self.live = live
        self.committer = Committer(opened, read_only=place.read_only)
        self.compaction_lock = threading.Lock()  # Guards: newest, compactor, the making of files.
        self.background = threading.Lock()  # held while a thread compacts in the background
        self.compactor = 0
        self.seen_at = float("-inf")  # when a read last found the log's name there
        self.newest = opened.newest
        self.is_closing = False
        self.limit = wal_limit
        self.set_limit(wal_limit)

    def check_writable(self) -> None:
        """Raise :class:`StoreReadOnly` if the store was opened only for reading."""
        if self.place.read_only:
            raise StoreReadOnly(f"store {self.place.path} is open for reading only")

    def next_generation(self) -> int:
        """Return a generation that was never used."""
        self.newest += 1
        return self.newest

    def pause(self) -> None:
        """Let other threads run; end a compaction that would hold up the closing."""
        if self.is_closing:
            raise StoreClosed(f"store {self.place.path} is closing")
        # Without this a thread that only computes keeps the interpreter for 5 ms at a time, and
        # slows durable commits many times over.
        time.sleep(0)

    def set_limit(self, wal_limit: int) -> None:
        """Let the log grow in proportion to the snapshot: a merge writes all of that anew."""
        snapshot = self.committer.view.snapshot
        self.limit = max(wal_limit, min(snapshot.size // 2 if snapshot else 0, _LARGEST_LIMIT))

    def close(self, fs: FileSystem, lock: FileLock) -> None:
        """Mark the log's end, note it in the slot, let the next process in."""
        self.is_closing = True
        with self.compaction_lock:
            try:
                slot = self.committer.close()
                if slot is not None and self.live is not None:
                    _write_slot(fs, self.live.fd, slot)
            except (OSError, StoreError):
                logger.exception("%s was not closed cleanly; nothing is lost", self.place.path)
            finally:
                if self.live is not None:
                    lock.release(self.live.fd)
                self.forget()

    def forget(self) -> None:
        """Let go of the descriptors; in a forked child the locks stay the parent's own."""
        if self.live is not None:
            self.live.close()
        self.directory.close()


def _write_slot(fs: FileSystem, fd: int, slot: form.Slot) -> None:
    write_all(fs, fd, slot.encode(), 0)
    fs.sync(fd)


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class _Forks:
    """What is held while a process forks.

    No append may be under way, or the child would find its lock held by nobody.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Guards: _held; one fork at a time.
        self._held: list[tuple[Engine, _OpenStore | None]] = []

    def before(self) -> None:
        """Hold every engine."""
        self._lock.acquire()
        self._held.extend((engine, engine.hold()) for engine in list(_engines))

    def after_in_parent(self) -> None:
        """Let them go on."""
        while self._held:
            engine, opened = self._held.pop()
            engine.let_go(opened)
        self._lock.release()

    def after_in_child(self) -> None:
        """Hold nothing of the parent's."""
        self._lock = threading.Lock()  # the parent's is held
        self._held.clear()
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
