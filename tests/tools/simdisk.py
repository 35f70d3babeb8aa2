"""A disk in memory that knows every state a power cut can leave.

A file has a durable image and the writes that were not synced since; a directory has durable
names and the changes of names that were not synced since.  ``fsync`` of a file makes its bytes
durable and not its name; ``fsync`` of a directory makes names durable and no bytes.
"""

from __future__ import annotations

import errno
import mmap
import random
from collections.abc import Callable, Iterator
from typing import Any, overload

from litesess.engine import FileSystem
from litesess.engine.lock import FileLock


class Inode:
    """One file: its durable bytes, and the writes since."""

    modified_at = 0.0

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        self.content = bytearray(durable)
        self.pending: list[tuple[int, bytes]] = []

    def copy(self) -> Inode:
        twin = Inode()
        twin.durable = self.durable
        twin.content = bytearray(self.content)
        twin.pending = list(self.pending)
        return twin

    def write(self, data: bytes, offset: int) -> None:
        _write(self.content, data, offset)
        self.pending.append((offset, data))

    def sync(self) -> None:
        # Not the content: pages that a failed sync gave up are in memory only.
        self.durable = _replayed(self.durable, self.pending)
        self.pending.clear()


class Window:
    """A file as shared memory, as long as it was when it was mapped."""

    def __init__(self, disk: SimDisk, inode: Inode, size: int) -> None:
        self._disk = disk
        self._inode = inode
        self._size = size

    def close(self) -> None:
        """Nothing is held."""

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...
    def __getitem__(self, place: int | slice) -> int | bytes:
        self._disk.look()
        if isinstance(place, slice):
            return bytes(self._inode.content[place.start : min(place.stop, self._size)])
        if place >= self._size:
            raise IndexError(place)
        return self._inode.content[place]


class SimLock(FileLock):
    """flock(2) on a simulated disk; it never waits, as no other process runs meanwhile."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk

    def take(self, fd: int, *, shared: bool = False) -> bool:
        holders = self._disk.holders(fd)
        holders.pop(fd, None)
        if any(not (shared and other_shares) for other_shares in holders.values()):
            return False
        holders[fd] = shared
        return True

    def acquire(self, fd: int, _timeout: float, **_how: Any) -> bool:
        return self.take(fd)

    def release(self, fd: int) -> None:
        self._disk.holders(fd).pop(fd, None)

    pid = staticmethod(lambda: 4711)


class SimDisk(FileSystem):
    """One directory of files in memory; every call that changes something is told to *watch*."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.names: dict[str, Inode] = {name: Inode(data) for name, data in (files or {}).items()}
        self.durable_names = dict(self.names)
        self.pending_names: list[tuple[str, str, Inode | None]] = []
        self.open_files: dict[int, Inode] = {}
        self.next_fd = 10
        self.root = Inode()  # the directory itself
        #: By file, the holders of its lock: descriptor, and whether the lock is shared.
        self.locks: dict[int, dict[int, bool]] = {}
        self.calls = 0
        #: Called before each call, with its name; it can raise the disk's errors.
        self.fault: Callable[[str], None] = lambda call: None
        #: Says whether a sync only pretends: of a file by its name, of the directory by "".
        self.is_lying: Callable[[str], bool] = lambda name: False
        #: Called after each call that changed something.
        self.watch: Callable[[], None] = lambda: None
        #: Called before each look at shared memory.
        self.look: Callable[[], None] = lambda: None

    def files(self) -> dict[str, bytes]:
        """The files as a process that reads now sees them."""
        return {name: bytes(inode.content) for name, inode in self.names.items()}

    def twin(self) -> SimDisk:
        """The same disk after every process was killed: the page cache lives on."""
        twin = SimDisk()
        copies: dict[int, Inode] = {}

        def copy(inode: Inode) -> Inode:
            return copies.setdefault(id(inode), inode.copy())

        twin.names = {name: copy(inode) for name, inode in self.names.items()}
        twin.durable_names = {name: copy(inode) for name, inode in self.durable_names.items()}
        twin.pending_names = [
            (kind, name, inode and copy(inode)) for kind, name, inode in self.pending_names
        ]
        return twin

    # The calls.

    def _call(self, name: str) -> None:
        self.calls += 1
        self.fault(name)

    def _open(self, inode: Inode) -> int:
        self.next_fd += 1
        self.open_files[self.next_fd] = inode
        return self.next_fd

    def close(self, fd: int) -> None:
        self.holders(fd).pop(fd, None)
        del self.open_files[fd]

    def holders(self, fd: int) -> dict[int, bool]:
        """Return the holders of the lock of a file."""
        return self.locks.setdefault(id(self.open_files[fd]), {})

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self._call("pread")
        return bytes(self.open_files[fd].content[offset : offset + size])

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self._call("pwrite")
        inode = self.open_files[fd]
        inode.write(bytes(data), offset)
        if inode is self.names.get("sessions.compact"):
            inode.sync()  # it is for messages alone: no state of its own after a crash
        else:
            self.watch()
        return len(data)

    def sync(self, fd: int) -> None:
        inode = self.open_files[fd]
        try:
            self._call("sync")
        except OSError:
            # As Linux does: the pages are called clean, and never reach the disk.
            inode.pending.clear()
            raise
        names = [name for name, linked in self.names.items() if linked is inode]
        if not any(map(self.is_lying, names)):
            inode.sync()
        self.watch()

    def sync_directory(self, directory: int) -> None:
        self._call("sync_directory")
        if self.is_lying(""):
            return
        self.durable_names = dict(self.names)
        self.pending_names.clear()
        self.watch()

    def allocate(self, fd: int, start: int, size: int) -> None:
        self._call("allocate")

    def keep_in_place(self, fd: int) -> bool:
        return True

    def extend(self, fd: int, size: int) -> None:
        self._call("extend")
        inode = self.open_files[fd]
        inode.write(bytes(size - len(inode.content)), len(inode.content))

    def give_back(self, fd: int, start: int, size: int) -> None:
        self._call("give_back")
        self.open_files[fd].write(bytes(size), start)

    def has_holes(self, fd: int) -> bool:
        return False

    def size(self, fd: int) -> int:
        return len(self.open_files[fd].content)

    def modified_at(self, fd: int) -> float:
        return self.open_files[fd].modified_at

    def is_linked(self, fd: int) -> bool:
        return self.open_files[fd] in self.names.values()

    def exists(self, directory: int, name: str) -> bool:
        return name in self.names

    def map_shared(self, fd: int, size: int, offset: int = 0) -> Any:
        self._call("map")
        return Window(self, self.open_files[fd], size)

    def map_private(self, fd: int, size: int, offset: int = 0) -> Any:
        self._call("map")
        memory = mmap.mmap(-1, size)
        memory[:] = bytes(self.open_files[fd].content[offset : offset + size])
        return memory

    def shares_memory(self, path: str, *, read_only: bool) -> bool:
        return True

    def type_of(self, path: str) -> str:
        return "ext4"

    def is_at(self, fd: int, path: str) -> bool:
        return True

    def device_of(self, fd: int) -> int:
        return 1

    def make_directory(self, path: str) -> None:
        """Do nothing: the directory exists."""

    def open_directory(self, path: str, **_options: Any) -> int:
        self._call("open_directory")
        return self._open(self.root)

    def list(self, directory: int) -> list[str]:
        self._call("list")
        return list(self.names)

    def create(self, directory: int, name: str) -> int:
        self._call("create")
        if name in self.names:
            raise FileExistsError(errno.EEXIST, "File exists")
        inode = self.names[name] = Inode()
        self.pending_names.append(("link", name, inode))
        self.watch()
        return self._open(inode)

    def is_private(self, fd: int) -> bool:
        return True

    def open(
        self, directory: int, name: str, path: str, *, write: bool = True, **_options: Any
    ) -> int:
        self._call("open to write" if write else "open")
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return self._open(self.names[name])

    def rename(self, directory: int, old: str, new: str) -> None:
        self._call("rename")
        inode = self.names.pop(old)
        self.names[new] = inode
        self.pending_names.append(("rename", f"{old}\n{new}", inode))
        self.watch()

    def unlink(self, directory: int, name: str) -> None:
        self._call("unlink")
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        del self.names[name]
        self.pending_names.append(("unlink", name, None))
        self.watch()

    # The states that a power cut can leave.

    def crash_images(self, rng: random.Random, samples: int) -> Iterator[dict[str, bytes]]:
        """Yield each content that the disk can have after a power cut now."""
        for names in self._name_sets():
            inodes = {id(inode): inode for inode in names.values()}
            dirty = [inode for inode in inodes.values() if inode.pending]
            choices = {id(inode): _data_images(inode, rng) for inode in dirty}
            for favourite in dirty:
                for image in choices[id(favourite)]:
                    for others in ("none", "all"):
                        yield _image(names, {id(favourite): image}, others)
            for _ in range(samples):
                mixed = {key: rng.choice(images) for key, images in choices.items()}
                yield _image(names, mixed, "none")
            if not dirty:
                yield _image(names, {}, "none")

    def _name_sets(self) -> Iterator[dict[str, Inode]]:
        ops = self.pending_names
        count = len(ops)
        subsets = {tuple(range(n)) for n in range(count + 1)}
        subsets |= {tuple(i for i in range(count) if i != left_out) for left_out in range(count)}
        subsets |= {(alone,) for alone in range(count)}
        for subset in sorted(subsets):
            names = dict(self.durable_names)
            for position in subset:
                _apply(names, *ops[position])
            yield names


def _apply(names: dict[str, Inode], kind: str, name: str, inode: Any) -> None:
    if kind == "link":
        names[name] = inode
    elif kind == "unlink":
        names.pop(name, None)
    else:
        old, new = name.split("\n")
        names.pop(old, None)
        names[new] = inode


def _image(names: dict[str, Inode], chosen: dict[int, bytes], others: str) -> dict[str, bytes]:
    return {
        name: chosen.get(id(inode), inode.durable if others == "none" else bytes(inode.content))
        for name, inode in names.items()
    }


def _data_images(inode: Inode, rng: random.Random) -> list[bytes]:
    """Return the contents that can be left of a file with unsynced writes."""
    writes = inode.pending
    count = len(writes)
    subsets = {tuple(range(n)) for n in range(count + 1)}
    subsets |= {tuple(i for i in range(count) if i != lost) for lost in range(count)}
    subsets |= {(alone,) for alone in range(count)}
    subsets |= {tuple(i for i in range(count) if rng.random() < 0.5) for _ in range(2)}
    images = {_replayed(inode.durable, [writes[i] for i in subset]) for subset in subsets}
    offset, data = writes[-1]
    cuts = {1, len(data) // 2, len(data) - 1, *range(512, len(data), 512)}
    for cut in sorted(cuts & set(range(len(data)))):
        torn = _replayed(inode.durable, [*writes[:-1], (offset, data[:cut])])
        images.add(torn)
        # The size may be durable before the bytes are.
        images.add(torn + bytes(max(len(inode.content) - len(torn), 0)))
        # The later part may be durable before the earlier one.
        images.add(_replayed(inode.durable, [*writes[:-1], (offset + cut, data[cut:])]))
    return sorted(images)


def _replayed(durable: bytes, writes: list[tuple[int, bytes]]) -> bytes:
    content = bytearray(durable)
    for offset, data in writes:
        _write(content, data, offset)
    return bytes(content)


def _write(content: bytearray, data: bytes, offset: int) -> None:
    if offset > len(content):
        content += bytes(offset - len(content))
    content[offset : offset + len(data)] = data
