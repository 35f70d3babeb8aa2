"""A copy of a store that is in use, as it was when the copying began.

Nothing is merged or opened: files are copied as they are, sealed or not, while nobody may take one
away; of the last log as much as had been written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from litesess.engine import format as form
from litesess.engine.chain import Place
from litesess.engine.check import Verification, verify
from litesess.engine.follow import Follower, Live
from litesess.engine.fs import store_error, write_all
from litesess.engine.log import create_anew, forget
from litesess.engine.names import TEMPORARY_SUFFIX
from litesess.errors import Corruption, StoreError

_CHUNK_BYTES: Final = 1 << 20


def back_up(
    place: Place, follower: Follower, target: Place, pause: Callable[[], None]
) -> Verification:
    """Copy the store at *place* to *target*, and read all of the copy.

    Args:
        place: where it lies; the caller holds its maintenance lock.
        follower: what this process has read of it.
        target: an empty place, on any disk.
        pause: called often, to let other threads run; what it raises ends the copying.

    Returns:
        What was found good in the copy.

    Raises:
        StoreError: there is a store at *target*, a disk failed or is full, or the copy can't be
            read; nothing remains at *target*.
    """
    _check_empty(target)
    try:
        follower.catch_up()
        live = follower.adopt()  # not what a compaction has taken away since
        slot = form.Slot(live.log.header.store, live.log.header.generation, live.table.end)
    except OSError as error:
        raise store_error(error, place.path) from error
    made: list[str] = []
    try:
        for name, size in _wanted(place, live):
            made.append(name)
            _copy(place, target, name, size, pause)
        made.append(place.names.live)
        _write(target, place.names.live, place.keys.sign_slot(slot))
        target.fs.sync_directory(target.directory)
        return verify(target)
    except BaseException as error:
        for name in reversed(made):
            forget(target.fs, target.directory, name)
        if isinstance(error, OSError) and error.errno is not None:
            raise store_error(error, target.path) from error
        raise


def _wanted(place: Place, live: Live) -> Iterator[tuple[str, int | None]]:
    """Yield the names of the files to copy, and how much of each; None: all."""
    names = place.names
    # Order: without the last log, and the key file, the copy is refused.
    if live.view.snapshot is not None:
        yield names.snapshot(live.view.snapshot.generation), None
    for table in reversed(live.view.tables[1:]):
        yield names.wal(table.log.header.generation), None  # with its SEAL
    yield names.wal(live.log.header.generation), live.table.end
    if place.keys.is_encrypted:
        yield names.keys, None


def _check_empty(target: Place) -> None:
    prefix = f"{target.names.collection}."
    try:
        names = target.fs.list(target.directory)
    except OSError as error:
        raise store_error(error, target.path) from error
    if any(name.startswith(prefix) for name in names):
        raise StoreError(f"{target.path} holds a store already; choose an empty directory")


def _copy(
    place: Place, target: Place, name: str, size: int | None, pause: Callable[[], None]
) -> None:
    """Copy the first *size* bytes of a file, or all of it."""
    fs = place.fs
    try:
        source = fs.open(place.directory, name, place.path_of(name), write=False)
    except OSError as error:
        raise store_error(error, place.path_of(name)) from error
    temporary = name + TEMPORARY_SUFFIX
    try:
        end = fs.size(source) if size is None else size
        copy = create_anew(target.fs, target.directory, temporary)
        try:
            for offset in range(0, end, _CHUNK_BYTES):
                wanted = min(_CHUNK_BYTES, end - offset)
                data = fs.pread(source, wanted, offset)
                if len(data) < wanted:
                    raise Corruption(place.path_of(name), offset, "ends before it should")
                write_all(target.fs, copy, data, offset)
                pause()
            target.fs.sync(copy)
        finally:
            target.fs.close(copy)
        target.fs.rename(target.directory, temporary, name)
    except BaseException:
        forget(target.fs, target.directory, temporary)
        raise
    finally:
        fs.close(source)


def _write(target: Place, name: str, data: bytes) -> None:
    fd = target.fs.create(target.directory, name)
    try:
        write_all(target.fs, fd, data, 0)
        target.fs.sync(fd)
    finally:
        target.fs.close(fd)
