"""The one door to the disk: nothing else in the engine opens, reads, writes, syncs or renames.

The engine takes a :class:`FileSystem` as an argument; a test passes one that fails, forgets or
records.  Calls that need no more than the system's are bound to ``os`` directly.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from litesess.engine import system
from litesess.engine.descriptors import own_descriptor
from litesess.engine.modes import OTHERS, WRITABLE_BY_OTHERS, Widened
from litesess.engine.mounts import device_name, device_of, is_at, shares_memory, type_of
from litesess.engine.system import allocate, give_back, keep_in_place, map_file, sync
from litesess.errors import StoreError, StoreFailed, StoreFull, StoreReadOnly

logger = logging.getLogger("litesess.engine")

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700

_OPEN_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ZEROS: Final = bytes(1 << 16)
_EFFECTIVE: Final = os.access in os.supports_effective_ids
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def is_interruption(error: OSError) -> bool:
    """Return whether a signal handler raised *error*, as ``TimeoutError`` perhaps.

    The system's own errors have a number.
    """
    return error.errno is None


def is_full(error: BaseException) -> bool:
    """Return whether *error* says that there is no room on the disk."""
    return isinstance(error, StoreFull) or (isinstance(error, OSError) and error.errno in _FULL)


def store_error(error: OSError, path: str) -> StoreError:
    """Return the error of litesess for *error*, which came up while working on *path*.

    Raises:
        OSError: *error* itself, if a signal handler raised it: the store is not at fault.
    """
    if is_interruption(error):
        raise error
    name = error.filename
    if isinstance(name, str) and name.startswith("/"):
        path = name
    elif isinstance(name, str) and name not in ("", ".") and "/" not in name:
        path = f"{path.removesuffix(f'/{name}')}/{name}"  # of the file, not only of the directory
    what = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFull(f"{what}; free some space, nothing of the write remains")
    if error.errno in _READ_ONLY:
        return StoreReadOnly(f"{what}; uid {os.geteuid()} needs to write there")
    return StoreFailed(what)


class _Translated:
    """The context manager of :func:`errors`; one by a generator takes three times as long."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise store_error(error, self._path) from error


def unreadable(error: OSError, path: str, offset: int) -> OSError:
    """Return *error*, of reading the file at *path*, with the place where that failed."""
    if is_interruption(error):
        return error
    return OSError(error.errno, f"{error.strerror}, at offset {offset}", path)


def errors(path: str) -> _Translated:
    """Translate an ``OSError`` that leaves the block into a ``StoreError`` about *path*.

    See :func:`store_error`, which the hot paths call for themselves.
    """
    return _Translated(path)


class FileSystem:
    """The operating system's files, as the engine needs them; *directory* is a descriptor."""

    close = staticmethod(os.close)
    #: Read up to so many bytes at an offset; fewer only at the end of the file.
    pread = staticmethod(os.pread)

    #: Write at an offset; return how many bytes were taken.
    pwrite = staticmethod(os.pwrite)
    #: Make the file's bytes durable.
    sync: Callable[[int], None] = staticmethod(sync)
    #: Make the names in a directory durable.
    sync_directory = staticmethod(os.fsync)

    #: Make room for bytes at a place, where the file system can.
    allocate = staticmethod(allocate)
    #: Give the room of some bytes back to the file system; they read as zeros.
    give_back = staticmethod(give_back)
    #: Let a file without a byte be overwritten in place; return False where it can't be any more.
    keep_in_place = staticmethod(keep_in_place)
    #: Lengthen a file, without room for the zeros at its end.
    extend = staticmethod(os.ftruncate)

    @staticmethod
    def size(fd: int) -> int:
        """Return the file's length in bytes."""
        return os.fstat(fd).st_size

    #: Return whether a part of the file has no place on the disk.
    has_holes = staticmethod(system.has_holes)
    #: Return when the file was written last, in Unix seconds by the system's clock.
    modified_at = staticmethod(system.modified_at)

    @staticmethod
    def is_linked(fd: int) -> bool:
        """Return whether the file still has a name."""
        return os.fstat(fd).st_nlink > 0

    @staticmethod
    def exists(directory: int, name: str) -> bool:
        """Return whether the directory has the name, without a look at its file.

        Since Linux 6.13 a look at a file's times makes the next write set them anew, and the sync
        after that 1.5 times as long.  Source: Documentation/filesystems/multigrain-ts.rst.
        """
        return os.access(name, os.F_OK, dir_fd=directory, effective_ids=_EFFECTIVE)

    #: Return bytes of a file as memory that shows the writes of other processes.
    map_shared = staticmethod(partial(map_file, mmap.MAP_SHARED))
    #: Return bytes of a file that never changes as memory; more file systems have this.
    map_private = staticmethod(partial(map_file, mmap.MAP_PRIVATE))

    @staticmethod
    def make_directory(path: str) -> None:
        """Make the directory and those above it that are missing, durably; all are private."""
        missing = []
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for name in reversed(missing):
            try:
                os.mkdir(name, DIRECTORY_MODE)
            except FileExistsError:  # another process was faster; open_directory judges its
                continue
            # By descriptor, lest a link be put in its place; a umask of 0777 left no bits.
            flags = os.O_RDONLY | os.O_DIRECTORY | _OPEN_FLAGS
            _through(name, flags, lambda fd: os.fchmod(fd, DIRECTORY_MODE))
            above = os.path.dirname(name)
            _through(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, os.fsync)

    @staticmethod
    def open_directory(
        path: str,
        *,
        is_ours: Callable[[str], bool] = lambda _name: False,
        widened: Widened = Widened.REPAIR,
    ) -> int:
        """Open the directory if it is safe to keep sessions in.

        Another program may have let other users write to it, as Kubernetes does at each mount of
        a volume with an ``fsGroup``.  That is repaired: group and other users lose the right to
        write, and all rights if only our files lie there.

        Args:
            path: of the directory.
            is_ours: says whether a name is that of a file of litesess.
            widened: the treatment if other users can write to it.

        Raises:
            StoreError: another user owns it, or can write to it, which could not be changed.
        """
        fd = _open(path, os.O_RDONLY | os.O_DIRECTORY | _OPEN_FLAGS)
        try:
            status = os.fstat(fd)
            if status.st_uid != os.geteuid():
                raise StoreError(
                    f"directory {path} belongs to uid {status.st_uid}, not to this process's"
                    f" uid {os.geteuid()}; use a subdirectory that belongs to it"
                )
            mode = stat.S_IMODE(status.st_mode)
            if mode & WRITABLE_BY_OTHERS and widened is not Widened.IGNORE:
                is_shared = not all(map(is_ours, os.listdir(fd)))
                wanted = mode & ~(WRITABLE_BY_OTHERS if is_shared else OTHERS)
                is_repair = widened is Widened.REPAIR
                if not (is_repair and _set_mode(fd, path, mode, wanted)):
                    raise StoreError(
                        f"directory {path} has mode {mode:04o}, other users can write to it; run"
                        " chmod go-w on it"
                    )
        except BaseException:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def is_private(fd: int) -> bool:
        """Return whether no other user can write to an open file or directory."""
        return not os.fstat(fd).st_mode & WRITABLE_BY_OTHERS

    @staticmethod
    def look_into(path: str) -> int:
        """Open a directory of any owner, to read its names and the files in it."""
        return _open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    #: Return the type of the file system that a path lies on; "" if that can't be told.
    type_of = staticmethod(type_of)
    #: Return whether a path leads to an open directory.
    is_at = staticmethod(is_at)
    #: Return the device that an open directory lies on, and how to name one.
    device_of = staticmethod(device_of)
    device_name = staticmethod(device_name)
    #: Return whether mapped memory shows at once the writes of other processes below a path.
    shares_memory = staticmethod(shares_memory)

    @staticmethod
    def list(directory: int) -> list[str]:
        """Return the names in the directory, in no order."""
        # Opened for this alone: sshfs lists a directory that is open only once, and then nothing.
        fd = _open(".", os.O_RDONLY | os.O_DIRECTORY | _OPEN_FLAGS, dir_fd=directory)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    @staticmethod
    def create(directory: int, name: str) -> int:
        """Make a private file, independent of the umask, and open it for reading and writing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS
        fd = _open(name, flags, FILE_MODE, dir_fd=directory)
        try:
            os.fchmod(fd, FILE_MODE)
        except BaseException:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def open(
        directory: int,
        name: str,
        path: str,
        *,
        write: bool = True,
        widened: Widened = Widened.REFUSE,
    ) -> int:
        """Open a file of ours.

        Args:
            directory: where it lies.
            name: its name there.
            path: its whole path, for the error.
            write: for writing, too.
            widened: the treatment if other users can write to it; REPAIR: also if they can read
                it, as a restored copy lets them.

        Raises:
            StoreError: something was planted under the name, or other users can write to it.
        """
        # O_NONBLOCK: opening a planted FIFO must not wait for its other end.
        access = os.O_RDWR if write else os.O_RDONLY
        fd = _refuse_link(directory, name, path, access)
        try:
            status = os.fstat(fd)
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(
                    f"{path} is not a regular file; it was not made by litesess, remove it"
                )
            if status.st_uid != os.geteuid():
                raise StoreError(
                    f"{path} belongs to uid {status.st_uid}, not to uid {os.geteuid()}; if it is"
                    " yours, run chown on it, else move it away"
                )
            if status.st_nlink == 0:  # deleted since
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if status.st_nlink != 1:
                raise StoreError(
                    f"{path} has {status.st_nlink} names, so that other users may write to it;"
                    " delete the other names, and copy the file where a link was meant as a backup"
                )
            is_repair = mode & OTHERS and widened is Widened.REPAIR
            is_right = bool(is_repair) and _set_mode(fd, path, mode, FILE_MODE)
            is_refused = mode & WRITABLE_BY_OTHERS and widened is not Widened.IGNORE
            if is_refused and not is_right:
                raise StoreError(
                    f"{path} has mode {mode:04o}, other users can write to it; run chmod 600 on it"
                )
        except BaseException:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def rename(directory: int, old: str, new: str) -> None:
        """Give the file *old* the name *new*, in place of a file of that name."""
        os.replace(old, new, src_dir_fd=directory, dst_dir_fd=directory)

    @staticmethod
    def unlink(directory: int, name: str) -> None:
        """Take the name out of the directory."""
        os.unlink(name, dir_fd=directory)


def _set_mode(fd: int, path: str, mode: int, wanted: int) -> bool:
    """Change the mode of a file or directory; return whether it has that mode now."""
    with suppress(OSError):
        os.fchmod(fd, wanted)
    if stat.S_IMODE(os.fstat(fd).st_mode) != wanted:  # some file systems have no modes
        return False
    logger.warning(
        "%s had mode %04o, set by something besides litesess; now %04o", path, mode, wanted
    )
    return True


def _open(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    return own_descriptor(os.open(path, flags, mode, dir_fd=dir_fd))


def _through(path: str, flags: int, work: Callable[[int], object]) -> None:
    fd = _open(path, flags)
    try:
        work(fd)
    finally:
        os.close(fd)


def _refuse_link(directory: int, name: str, path: str, access: int) -> int:
    try:
        return _open(name, access | os.O_NONBLOCK | _OPEN_FLAGS, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise StoreError(
                f"{path} is a link, device or directory; it was not made by litesess, remove it"
            ) from error
        raise


def read(fs: FileSystem, fd: int, size: int, offset: int, path: str) -> bytes:
    """Return *size* bytes from *offset* on; fewer only at the end of the file.

    Raises:
        OSError: the medium failed; it names file and offset.
    """
    try:
        return fs.pread(fd, size, offset)
    except OSError as error:
        raise unreadable(error, path, offset) from error


def write_all(fs: FileSystem, fd: int, data: bytes, offset: int) -> None:
    """Write all of *data* at *offset*.

    Raises:
        OSError: not all was written, but a prefix.
    """
    written = fs.pwrite(fd, data, offset)
    while written < len(data):  # Source: write(2): a full disk may take a part first.
        more = fs.pwrite(fd, data[written:], offset + written)
        if not more:
            raise OSError(errno.EIO, "the disk takes no more bytes, and gives no reason")
        written += more


def write_zeros(fs: FileSystem, fd: int, start: int, end: int) -> None:
    """Overwrite all from *start* up to *end* with zeros."""
    for offset in range(start, end, len(_ZEROS)):
        write_all(fs, fd, _ZEROS[: end - offset], offset)


def reserve(fs: FileSystem, fd: int, start: int, end: int) -> None:
    """Lengthen the file from *start* to *end* with zeros that have their place on the disk.

    Written zeros are overwritten 1.1 to 1.5 times faster than blocks that are only allocated, or
    than a file grows; allocating first makes a full disk show here and not at a sync.
    """
    fs.allocate(fd, start, end - start)
    write_zeros(fs, fd, start, end)
