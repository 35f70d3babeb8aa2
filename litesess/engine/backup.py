"""A copy of a store that is in use, as it was when the copying began.

Nothing is merged or opened: files are copied as they are, sealed or not, while nobody may take one
away; of the last log as much as had been written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from litesess.engine import format as form
from litesess.engine.chain import Place, is_nothing
from litesess.engine.check import Verification, verify
from litesess.engine.follow import Follower
from litesess.engine.fs import write_all
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
        StoreError: there is a store at *target*, or the copy can't be read.
        OSError: a disk failed or is full; nothing remains at *target*.
    """
    _check_empty(target)
    live = follower.catch_up()
    tables, names = live.view.tables, place.names
    # Order: the last log last, as without it the copy is refused; and then what says where it ends.
    wanted = [(names.wal(table.log.header.generation), table.end) for table in reversed(tables)]
    if live.view.snapshot is not None:
        wanted.insert(0, (names.snapshot(live.view.snapshot.generation), live.view.snapshot.size))
    header = live.log.header
    slot = place.keys.sign_slot(form.Slot(header.store, header.generation, tables[0].end))
    try:
        if place.keys.is_encrypted:
            _copy(place, target, names.keys, None, pause)
        for name, size in wanted:
            _copy(place, target, name, size, pause)
        _write(target, names.live, slot)
        target.fs.sync_directory(target.directory)
        return verify(target)
    except BaseException:
        for name in [names.live, *(name for name, _ in reversed(wanted)), names.keys]:
            forget(target.fs, target.directory, name)
        raise


def _check_empty(target: Place) -> None:
    listing = target.listing()
    if not is_nothing(listing, target.slot()) or target.key_place.read() is not None:
        raise StoreError(f"{target.path} holds a store already; choose an empty directory")


def _copy(
    place: Place, target: Place, name: str, size: int | None, pause: Callable[[], None]
) -> None:
    """Copy the first *size* bytes of a file, or all of it."""
    fs = place.fs
    source = fs.open(place.directory, name, place.path_of(name), write=False)
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
