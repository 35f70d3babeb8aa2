"""How a process opens a store: as the first, by joining other processes, or only for reading.

A process that opens or closes a store locks the directory meanwhile, but not while it reads what
others have written.  All processes that have the
store open share its presence lock.  The process that gets that lock alone is the first, and may
put the store right, or the last, and notes in the slot where the log ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from litesess.engine.append import Appender
from litesess.engine.chain import Chain
from litesess.engine.commit import Committer
from litesess.engine.descriptors import OpenFile
from litesess.engine.directory import Directory, Names
from litesess.engine.files import Files
from litesess.engine.follow import Follower
from litesess.engine.fs import errors, store_error
from litesess.engine.keys import Keys
from litesess.engine.means import Hooks, Limits, Means
from litesess.engine.modes import Widened
from litesess.engine.mounts import LOCAL_TYPES
from litesess.engine.opened import OpenStore
from litesess.engine.presence import Presence
from litesess.engine.recovery import load_existing, open_store
from litesess.errors import StoreLocked, StoreReadOnly

logger = logging.getLogger("litesess.engine")


class _Entered(NamedTuple):
    """A store that this process has entered."""

    chain: Chain
    is_shared: bool
    is_synced: bool


class Opener:
    """Opens one store in one directory."""

    def __init__(
        self,
        path: str,
        given: str,
        names: Names,
        keys: Keys,
        limits: Limits,
        means: Means,
        hooks: Hooks,
    ) -> None:
        """Take the settings of an :class:`litesess.engine.engine.Engine`.

        Args:
            path: the store's directory, absolute.
            given: as it was given, which may lead there over links.
            names: those of its files.
            keys: those that the store is encrypted under.
            limits: of the engine.
            means: of the engine.
            hooks: of the engine.
        """
        self.path = path
        self.names = names
        self._given = given
        self.means = means
        self._keys = keys
        self._limits = limits
        self._hooks = hooks

    def open(self, *, read_only: bool, sleep: Callable[[float], object]) -> OpenStore:
        """Open the store; only for reading, if it can't be written.

        Args:
            read_only: only for reading, with no lock.
            sleep: how to wait for another process; may raise, to end that.

        Raises:
            StoreLocked: another process is opening it, or has it alone.
            Corruption: a file is damaged or missing.
            StoreError: the directory or a file can't be used.
            OSError: the disk failed.
        """
        if not read_only:
            try:
                return self.open_for_writing(sleep)
            except OSError as error:
                if not isinstance(store_error(error, self.path), StoreReadOnly):
                    raise
                logger.warning("%s can't be written (%s), opened for reading", self.path, error)
        return self._open_for_reading()

    def open_for_writing(self, sleep: Callable[[float], object]) -> OpenStore:
        """Open the store; see :meth:`open`."""
        directory = self._directory(create=True)
        opened: list[Directory | OpenFile | Presence] = [directory]
        try:
            file = directory.open_lock(self.names.presence)
            presence = Presence(directory, file, self.means)
            opened.append(presence)
            files = self._files(directory)
            chain, is_shared, is_synced = self._enter(files, presence, sleep)
            maintenance = directory.open_lock(self.names.maintenance)
            opened.append(maintenance)
            follower = Follower(
                files, chain, presence.look, is_shared=is_shared, is_synced=is_synced
            )
            committer = self._committer(directory, follower)
            committer.sync()
            # Published while it was loaded, perhaps; the MARK that says so was read as history.
            follower.adopt()
            presence.look()  # another process may have come by another device at the same time
        except BaseException:
            # At once: the exception's traceback would keep the lock for as long as it lives.
            for each in opened:
                each.close()
            raise
        return self._opened(files, follower, committer, (presence, maintenance))

    def _open_for_reading(self) -> OpenStore:
        files = self._files(self._directory(read_only=True, widened=Widened.REFUSE))
        look = files.directory.check_in_place
        follower = Follower(files, load_existing(files), look, is_shared=True, is_synced=True)
        return self._opened(files, follower, self._committer(files.directory, follower), None)

    def _committer(self, directory: Directory, follower: Follower) -> Committer:
        return Committer(
            directory, follower, Appender(directory, follower, self._limits, self.means)
        )

    def _opened(
        self,
        files: Files,
        follower: Follower,
        committer: Committer,
        locks: tuple[Presence, OpenFile] | None,
    ) -> OpenStore:
        generation = follower.current.log.header.generation
        logger.debug("opened %s, generation %d", self.path, generation)
        return OpenStore(files, follower, committer, locks, self._limits, self.means, self._hooks)

    def _enter(
        self, files: Files, presence: Presence, sleep: Callable[[float], object]
    ) -> _Entered:
        """Share the presence lock, or keep it where one process must have the store alone."""
        lock, timeout = self.means.lock, self._limits.lock_timeout
        unlisted = self._unlisted_type()
        is_alone = bool(unlisted) and not self._limits.trusts_disk
        if is_alone and not self._is_shared(presence):
            if not lock.acquire(presence.fd, timeout, sleep=sleep):
                raise StoreLocked(self.path, self._reason_alone(presence, unlisted))
            return self._enter_alone(files, presence, sleep)
        # Guards: opening and closing.  Between learning that other processes are there and joining
        # them, the last of those can be killed, and its half-written end would stay.
        gate = files.directory.fd
        if not lock.acquire(gate, timeout, sleep=sleep):
            raise StoreLocked(
                self.path,
                f"is being opened by another process, which did not end within {timeout:g} s",
            )
        try:
            is_first = lock.take(presence.fd)
            if is_first and is_alone:  # all other processes have left
                return self._enter_alone(files, presence, sleep)
            files.directory.check_in_place()
            if is_first:
                presence.claim(sleep, is_unlisted=bool(unlisted))
                chain = self._put_right(files, presence)
            if not lock.take(presence.fd, shared=True):
                raise StoreLocked(self.path, "is in use by a process that does not share it")
        finally:
            lock.release(gate)
        if not is_first:
            # Order: with the presence lock, nobody is the first any more; and not under the other
            # one, so that workers that come together all read the log at once.
            chain = load_existing(files)
        return _Entered(chain, is_shared=True, is_synced=is_first)

    def _enter_alone(
        self, files: Files, presence: Presence, sleep: Callable[[float], object]
    ) -> _Entered:
        files.directory.check_in_place()
        presence.claim(sleep, is_unlisted=True)
        return _Entered(self._put_right(files, presence), is_shared=False, is_synced=True)

    def _unlisted_type(self) -> str:
        """Return the type of the file system, if it is told, and not a local one."""
        kind = self.means.fs.type_of(self.path)
        if not kind:
            logger.info(
                "%s: the type of its file system can't be told; it is taken for a local one, which"
                " several processes may share",
                self.path,
            )
        return "" if kind in LOCAL_TYPES else kind

    def _is_shared(self, presence: Presence) -> bool:
        """Return whether other processes share the store; if none has it open, lock it.

        They do if the operator says that they can, and a command need not be told that anew.
        """
        lock = self.means.lock
        if lock.take(presence.fd) or not lock.take(presence.fd, shared=True):
            return False
        lock.release(presence.fd)
        return True

    def _put_right(self, files: Files, presence: Presence) -> Chain:
        return open_store(files, partial(files.write_slot, presence.fd), self._lock)

    def _lock(self, fd: int) -> None:
        """Lock an open file that no other process may have locked, until it is closed."""
        if not self.means.lock.acquire(fd, self._limits.lock_timeout):
            raise StoreLocked(
                self.path,
                "is in use by a process that does not know of this one: its .live file was"
                " deleted; stop that process",
            )

    def _reason_alone(self, presence: Presence, unlisted: str) -> str:
        return (
            f"is in use by process {presence.holder() or '(unknown)'}, and was not free within"
            f" {self._limits.lock_timeout:g} s; its file system is of type {unlisted}, which is not"
            " known to be safe for several processes: put it on a local disk, serve with one"
            " process and several threads, or, if you know better, set share_anywhere=True"
        )

    @contextmanager
    def looking(self) -> Iterator[Files]:
        """Open the directory for a look that changes nothing.

        Raises:
            OSError: it can't be opened.
        """
        directory = self._directory(read_only=True, widened=Widened.IGNORE)
        try:
            yield self._files(directory)
        finally:
            directory.close()

    @contextmanager
    def copying_to(self, path: str) -> Iterator[Files]:
        """Open and lock another directory, to put a store of the same name and keys there.

        Raises:
            StoreError: the directory can't be used.
        """
        fs, lock = self.means.fs, self.means.lock
        with errors(path):
            directory = Directory.open(fs, path, self.names, create=True)
        try:
            if not lock.take(directory.fd):
                raise StoreLocked(path, "is in use by another process")
            yield self._files(directory)
        finally:
            directory.close()

    def _directory(
        self, *, create: bool = False, read_only: bool = False, widened: Widened = Widened.REPAIR
    ) -> Directory:
        return Directory.open(
            self.means.fs,
            self.path,
            self.names,
            given=self._given,
            create=create,
            read_only=read_only,
            shares_memory=self.means.fs.shares_memory(self.path, read_only=read_only),
            widened=widened,
        )

    def _files(self, directory: Directory) -> Files:
        return Files(directory, self._keys, self.means.random_bytes)
