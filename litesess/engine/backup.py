"""A copy of a store that is in use, as it was when the copying began.

Nothing is merged or decrypted: files are copied as they are, while no compaction can delete one; of
the current log as much as had been written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from litesess.engine import format as form
from litesess.engine.check import Verification, verify
from litesess.engine.directory import Directory
from litesess.engine.files import Files
from litesess.engine.follow import CurrentLog, Follower
from litesess.engine.fs import errors, write_all
from litesess.errors import Corruption, StoreError

_CHUNK_BYTES: Final = 1 << 20


def back_up(
    files: Files, follower: Follower, target: Files, pause: Callable[[], None]
) -> Verification:
    """Copy a store into the directory of *target*, and read all of the copy.

    Args:
        files: those of the store; the caller holds its maintenance lock.
        follower: the part of it that this process has read.
        target: those of the copy: none yet, on any disk.
        pause: called often, to let other threads run; its exception ends the copying.

    Returns:
        The numbers of good entries and records in the copy.

    Raises:
        StoreError: there is a store at *target*, a disk failed or is full, or the copy can't be
            read; nothing remains at *target*.
    """
    directory, copy = files.directory, target.directory
    _check_empty(copy)
    with errors(directory.path):
        follower.catch_up()
        current = follower.adopt()  # no file that a compaction has deleted since
        slot = form.Slot(current.log.header.store, current.log.header.generation, current.table.end)
    made: list[str] = []
    try:
        with errors(copy.path):
            for name, size in _wanted(files, current, slot.length):
                made.append(name)
                _copy(directory, copy, name, size, pause)
            made.append(copy.names.presence)
            _create_slot(target, slot)
            copy.sync()
            return verify(target)
    except BaseException:
        for name in reversed(made):
            copy.discard(name)
        raise


def _create_slot(target: Files, slot: form.Slot) -> None:
    presence = target.directory.create(target.directory.names.presence)
    try:
        target.write_slot(presence.fd, slot)
    finally:
        presence.close()


def _wanted(files: Files, current: CurrentLog, end: int) -> Iterator[tuple[str, int | None]]:
    """Yield the names of the files to copy, and how much of each, up to *end* in the last log.

    None: all of it.
    """
    names = files.directory.names
    # Order: without the last log, and the key file, the copy is refused.
    if current.view.snapshot is not None:
        yield names.snapshot(current.view.snapshot.generation), None
    for table in reversed(current.view.tables[1:]):
        yield names.wal(table.log.header.generation), None  # with its SEAL
    yield names.wal(current.log.header.generation), end
    if files.keys.is_encrypted:
        yield names.keys, None


def _check_empty(target: Directory) -> None:
    prefix = f"{target.names.collection}."
    with errors(target.path):
        names = target.fs.list(target.fd)
    if any(name.startswith(prefix) for name in names):
        raise StoreError(f"{target.path} holds a store already; choose an empty directory")


def _copy(
    directory: Directory, target: Directory, name: str, size: int | None, pause: Callable[[], None]
) -> None:
    """Copy the first *size* bytes of a file, or all of it."""
    fs, path = directory.fs, directory.path_of(name)
    with errors(path):
        source = directory.open_file(name, write=False)
    try:
        end = fs.size(source.fd) if size is None else size
        with target.publish(name) as copy:
            for offset in range(0, end, _CHUNK_BYTES):
                wanted = min(_CHUNK_BYTES, end - offset)
                data = fs.pread(source.fd, wanted, offset)
                if len(data) < wanted:
                    raise Corruption(path, offset, "ends before it should")
                write_all(target.fs, copy.fd, data, offset)
                pause()
        copy.close()
    finally:
        source.close()
