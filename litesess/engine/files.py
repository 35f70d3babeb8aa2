"""A store's logs, snapshots and slot: opened and made under its keys."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from litesess.engine import format as form
from litesess.engine.descriptors import OpenFile
from litesess.engine.directory import Directory
from litesess.engine.fs import write_all
from litesess.engine.keys import Keys
from litesess.engine.log import Log
from litesess.engine.snapshot import Snapshot
from litesess.errors import Corruption, DecryptError

_LAST_GENERATION: Final = (1 << 63) - 1


@dataclass(frozen=True)
class Files:
    """The files of one store.

    Attributes:
        directory: where they are.
        keys: those that they are encrypted under.
        random_bytes: returns so many.
    """

    directory: Directory
    keys: Keys
    random_bytes: Callable[[int], bytes]

    def slot(self) -> form.Slot | None:
        """Return the slot, or None."""
        data = self.directory.read(self.directory.names.presence, form.SLOT_BYTES)
        return None if data is None else self.keys.verify_slot(data, self.directory)

    def write_slot(self, fd: int, slot: form.Slot) -> None:
        """Write the slot into the open presence file, durably."""
        fs = self.directory.fs
        write_all(fs, fd, self.keys.sign_slot(slot), 0)
        fs.sync(fd)

    def open_log(self, generation: int) -> Log:
        """Open the log of *generation*.

        Raises:
            Corruption: its header is damaged, or that of another generation.
            DecryptError: it was not made under a key of the store.
            StoreError: it was not made by litesess.
            OSError: it is missing, or can't be read.
        """
        name = self.directory.names.wal(generation)
        file = self.directory.open_file(name, write=not self.directory.read_only)
        try:
            head = self._read_head(name, file, form.WAL_MAGIC, generation)
            return self.directory.held.hold(lambda: Log(self.directory, name, file, head))
        except BaseException:
            file.close()
            raise

    def open_snapshot(self, generation: int) -> Snapshot:
        """Open the snapshot of *generation*; see :meth:`open_log`."""
        name = self.directory.names.snapshot(generation)
        file = self.directory.open_file(name, write=False)
        try:
            return self.adopt_snapshot(file, generation)
        except BaseException:
            file.close()
            raise

    def adopt_snapshot(self, file: OpenFile, generation: int) -> Snapshot:
        """Return the snapshot in an open file, which has its name already, or will have it."""
        name = self.directory.names.snapshot(generation)
        head = self._read_head(name, file, form.SNAPSHOT_MAGIC, generation)
        directory = self.directory
        return Snapshot.open(directory.fs, directory.held, file, directory.path_of(name), head)

    def _read_head(self, name: str, file: OpenFile, magic: bytes, generation: int) -> form.Head:
        fs, path = self.directory.fs, self.directory.path_of(name)
        try:
            data = fs.pread(file.fd, form.HEADER_BYTES, 0)
            head = self.keys.verify(data, path, magic, self.directory)
        except DecryptError:
            if not fs.is_linked(file.fd):  # it was deleted, and the key that it was made under
                raise FileNotFoundError(errno.ENOENT, "was deleted meanwhile", path) from None
            raise
        if head.header.generation != generation:
            raise Corruption(path, 28, f"is of generation {head.header.generation:016x}")
        return head

    def new_head(self, magic: bytes, store: bytes, generation: int, link: int) -> form.Head:
        """Return the head of a new log or snapshot.

        Raises:
            Corruption: the directory holds a file of the last generation that there can be.
            DecryptError: the key file was exchanged for one that can't be unwrapped here.
            OSError: the key file could not be read.
        """
        directory = self.directory
        if generation > _LAST_GENERATION:
            raise Corruption(directory.path, 0, "holds a file of the last generation there can be")
        name = directory.names.wal if magic == form.WAL_MAGIC else directory.names.snapshot
        salt = self.random_bytes(form.SALT_BYTES)
        header = form.Header(magic, store, generation, salt, link)
        return self.keys.sign(header, directory.path_of(name(generation)), directory)

    def create_log(
        self, head: form.Head, records: Iterable[bytes] = (), *, has_room: bool = True
    ) -> Log:
        """Publish a new log, durably; see :meth:`Log.create`."""
        name = self.directory.names.wal(head.header.generation)
        return Log.create(self.directory, name, head, records, has_room=has_room)
