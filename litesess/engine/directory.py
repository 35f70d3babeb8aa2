"""A store's directory: the names of its files, and how they come to be there.

Source of the names: docs/format.rst, "Files".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from litesess.engine.descriptors import OpenFile
from litesess.engine.fs import FileSystem
from litesess.engine.held import Held
from litesess.engine.modes import Widened
from litesess.errors import StoreFailed

WAL = "wal"
SNAPSHOT = "snapshot"
TORN = "torn"
TEMPORARY_SUFFIX = ".tmp"

#: The names that a collection may have.
COLLECTION = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_GENERATION_FILE = re.compile(
    r"(?P<generation>[0-9a-f]{16})\.(?P<kind>wal|snapshot|torn)(\.tmp)?\Z"
)

#: The part after the collection in the other files' names.
_FIXED = frozenset({"live", "compact", "keys", f"keys{TEMPORARY_SUFFIX}"})


def is_file_name(name: str) -> bool:
    """Return whether a file of that name belongs to a collection of ours."""
    collection, _, rest = name.partition(".")
    return COLLECTION.match(collection) is not None and (
        rest in _FIXED or _GENERATION_FILE.match(rest) is not None
    )


class Names(NamedTuple):
    """The names of one collection's files."""

    collection: str

    @property
    def presence(self) -> str:
        """Presence lock and slot."""
        return f"{self.collection}.live"

    @property
    def maintenance(self) -> str:
        """Maintenance lock."""
        return f"{self.collection}.compact"

    @property
    def keys(self) -> str:
        """Key file, of an encrypted store."""
        return f"{self.collection}.keys"

    def wal(self, generation: int) -> str:
        """The log of *generation*."""
        return f"{self.collection}.{generation:016x}.{WAL}"

    def snapshot(self, generation: int) -> str:
        """The snapshot of *generation*."""
        return f"{self.collection}.{generation:016x}.{SNAPSHOT}"

    def torn(self, generation: int) -> str:
        """The bytes that a crash left after the last good record of the log of *generation*."""
        return f"{self.collection}.{generation:016x}.{TORN}"

    def sort_out(self, listing: list[str]) -> Listing:
        """Return which of a directory's names are this collection's files."""
        found = Listing([], [], [], [], was_opened=self.maintenance in listing)
        prefix = f"{self.collection}."
        for name in listing:
            match = name.startswith(prefix) and _GENERATION_FILE.match(name, len(prefix))
            if not match:
                if name == self.keys + TEMPORARY_SUFFIX:
                    found.temporary.append(name)
                continue
            if name.endswith(TEMPORARY_SUFFIX):
                found.temporary.append(name)
            elif match["kind"] == TORN:
                found.torn.append(name)
            else:
                kind = found.wals if match["kind"] == WAL else found.snapshots
                kind.append(int(match["generation"], 16))
        found.wals.sort()
        found.snapshots.sort()
        return found


class Listing(NamedTuple):
    """A collection's files: generations in ascending order, and other names.

    Attributes:
        wals: generations of logs.
        snapshots: generations of snapshots.
        torn: names of files with the remains of crashes.
        temporary: names of files that were never published.
        was_opened: there is a maintenance lock, which is made only where there is a log.
    """

    wals: list[int]
    snapshots: list[int]
    torn: list[str]
    temporary: list[str]
    was_opened: bool = False

    @property
    def newest(self) -> int:
        """The highest generation of any file; 0 without files."""
        return max([0, *self.wals[-1:], *self.snapshots[-1:]])


class Directory:
    """The directory of one store, held open; every file is known by its name there."""

    __slots__ = (
        "_file",
        "_given",
        "_widened",
        "fd",
        "fs",
        "held",
        "names",
        "path",
        "read_only",
        "shares_memory",
    )

    def __init__(
        self,
        fs: FileSystem,
        held: Held,
        file: OpenFile,
        path: str,
        names: Names,
        *,
        given: str = "",
        read_only: bool = False,
        shares_memory: bool = True,
        widened: Widened = Widened.IGNORE,
    ) -> None:
        """Take over an open directory.

        Args:
            fs: the door to the disk.
            held: the open files there.
            file: the open directory.
            path: its path, absolute.
            names: those of the store's files.
            given: its path as it was given, which may lead there over links; "": *path*.
            read_only: nothing there may be changed.
            shares_memory: mapped memory shows the writes of other processes at once.
            widened: the treatment of a file that other users can write to.
        """
        self.fs = fs
        self.path = path
        self.names = names
        self.read_only = read_only
        self._given = given or path
        self.shares_memory = shares_memory
        self._widened = widened
        #: The descriptor of the directory, for its lock.
        self.fd = file.fd
        self._file = file
        #: The files that this process has open there.
        self.held = held

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        path: str,
        names: Names,
        *,
        given: str = "",
        create: bool = False,
        read_only: bool = False,
        shares_memory: bool = True,
        widened: Widened = Widened.REPAIR,
    ) -> Directory:
        """Open the directory at *path*; see :meth:`__init__`.

        Args:
            fs: the door to the disk.
            path: of the directory, absolute.
            names: those of the store's files.
            given: see :meth:`__init__`.
            create: make the directory if it is missing.
            read_only: nothing there may be changed.
            shares_memory: see :meth:`__init__`.
            widened: the treatment of a directory or file that other users can write to.

        Raises:
            StoreError: it is not safe to keep sessions in.
            OSError: it can't be opened or made.
        """
        held = Held()
        if create:
            with held.opening():
                fs.make_directory(path)

        def opening() -> OpenFile:
            return OpenFile(
                fs.open_directory(path, is_ours=is_file_name, widened=widened), fs.close
            )

        return cls(
            fs,
            held,
            held.hold(opening),
            path,
            names,
            given=given,
            read_only=read_only,
            shares_memory=shares_memory,
            widened=widened,
        )

    def close(self) -> None:
        """Close the directory; again is harmless."""
        self._file.close()

    def path_of(self, name: str) -> str:
        """Return the whole path of a file, for errors."""
        return f"{self.path}/{name}"

    def wal_path(self, generation: int) -> str:
        """Return the whole path of the log of *generation*, for errors."""
        return self.path_of(self.names.wal(generation))

    def snapshot_path(self, generation: int) -> str:
        """Return the whole path of the snapshot of *generation*, for errors."""
        return self.path_of(self.names.snapshot(generation))

    @property
    def key_path(self) -> str:
        """The whole path of the key file, for errors."""
        return self.path_of(self.names.keys)

    def check_in_place(self) -> None:
        """Check that the directory's path, as it was given, still leads to it.

        Raises:
            StoreFailed: it does not.
            OSError: the disk failed.
        """
        if not self.fs.is_at(self.fd, self._given):
            raise StoreFailed(
                f"{self._given} is no longer the directory that was opened: it was moved or"
                " replaced, or another file system was mounted over it; restart the process to use"
                " the present one"
            )

    def listing(self) -> Listing:
        """Return which of the store's files are there."""
        return self.names.sort_out(self._list())

    def _list(self) -> list[str]:
        with self.held.opening():
            return self.fs.list(self.fd)

    def exists(self, name: str) -> bool:
        """Return whether a file has that name."""
        return self.fs.exists(self.fd, name)

    def open_file(self, name: str, *, write: bool = True) -> OpenFile:
        """Open a file of ours, for writing, too, or only for reading.

        Raises:
            StoreError: it was not made by litesess, or other users can write to it.
            OSError: it is missing, or can't be opened.
        """
        fs, path = self.fs, self.path_of(name)

        def opening() -> OpenFile:
            fd = fs.open(self.fd, name, path, write=write, widened=self._widened)
            return OpenFile(fd, fs.close)

        return self.held.hold(opening)

    def keep_private(self) -> None:
        """Repair the modes of the directory and the store's files, if other users can write there.

        Raises:
            StoreError: that can't be put right.
            OSError: the disk failed.
        """
        if self._widened is not Widened.REPAIR or self.fs.is_private(self.fd):
            return
        with self.held.opening():
            self.fs.close(self.fs.open_directory(self.path, is_ours=is_file_name))
        own = f"{self.names.collection}."
        for name in self._list():
            if name.startswith(own) and is_file_name(name):
                with suppress(FileNotFoundError):
                    self.open_file(name, write=False).close()

    def create(self, name: str) -> OpenFile:
        """Make a file and open it.

        Raises:
            OSError: it is there already, or can't be made.
        """
        fs = self.fs
        return self.held.hold(lambda: OpenFile(fs.create(self.fd, name), fs.close))

    def open_lock(self, name: str) -> OpenFile:
        """Open a file that is there to be locked; make it if it is missing."""
        try:
            return self.open_file(name)
        except FileNotFoundError:
            try:
                file = self.create(name)
            except FileExistsError:  # another process was faster
                return self.open_file(name)
            self.fs.keep_in_place(file.fd)  # notes in it must have room on a full disk
            return file

    def read(self, name: str, size: int) -> bytes | None:
        """Return the first *size* bytes of a file, fewer if it is shorter, or None without it."""
        try:
            file = self.open_file(name, write=False)
        except FileNotFoundError:
            return None
        try:
            return self.fs.pread(file.fd, size, 0)
        finally:
            file.close()

    @contextmanager
    def publish(
        self, name: str, check: Callable[[int], object] = lambda _fd: None
    ) -> Iterator[OpenFile]:
        """Publish, durably, the file that the block writes: *name* never stands for half of it.

        If the block fails, or a step after it, no file is published, unless it was the very last
        step, and no temporary file remains.

        Args:
            name: of the file when it is whole; a former one of that name is replaced.
            check: called with the descriptor when all is synced; it may raise.

        Yields:
            The open file, empty; the caller closes it after the block.

        Raises:
            OSError: the disk failed or is full.
        """
        temporary = name + TEMPORARY_SUFFIX
        file = self._create_anew(temporary)
        try:
            yield file
            # Order: the bytes before the name, so that a name always stands for a whole file;
            # the directory last, so that nothing relies on a name that may not be durable.
            self.fs.sync(file.fd)
            check(file.fd)
            self.fs.rename(self.fd, temporary, name)
            self.sync()
        except BaseException:
            file.close()
            self.discard(temporary)
            raise

    def _create_anew(self, name: str) -> OpenFile:
        """Create a file in place of one that a killed process has left."""
        try:
            return self.create(name)
        except FileExistsError:
            self.unlink([name])
            return self.create(name)

    def unlink(self, names: Iterable[str]) -> None:
        """Take files out of the directory.

        Raises:
            OSError: one could not be taken out; those after it were not.
        """
        for name in names:
            self.fs.unlink(self.fd, name)

    def discard(self, name: str) -> None:
        """Take out a file on which nothing relies, if that can be done."""
        try:
            self.fs.unlink(self.fd, name)
        except OSError:  # the next opening deletes it
            return

    def sync(self) -> None:
        """Make the names in the directory durable.

        Raises:
            OSError: which of them are is unknown.
        """
        self.fs.sync_directory(self.fd)
