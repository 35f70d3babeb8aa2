"""Questions about a store that is not opened: is it there, is it encrypted, is it in use.

Nothing is changed, and no store is made.  Links in a path are followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from litesess.engine.descriptors import OpenFile
from litesess.engine.directory import COLLECTION, SNAPSHOT, TEMPORARY_SUFFIX, Directory, Names
from litesess.engine.fs import FileSystem
from litesess.engine.held import Held
from litesess.engine.keys import read_key_file
from litesess.engine.lock import FileLock
from litesess.errors import StoreError
from litesess.keyfile import KeyFile

_NEW_SNAPSHOT: Final = f".{SNAPSHOT}{TEMPORARY_SUFFIX}"


def is_collection(name: str) -> bool:
    """Return whether a collection may be called *name*."""
    return COLLECTION.match(name) is not None


def collections_in(path: str) -> list[str]:
    """Return the names of the collections in a directory, in ascending order.

    Raises:
        OSError: the directory can't be read.
    """
    fs = FileSystem()
    fd = fs.look_into(path)
    try:
        listing = fs.list(fd)
    finally:
        fs.close(fd)
    found = []
    for collection in sorted({name.partition(".")[0] for name in listing}):
        files = Names(collection).sort_out(listing)
        if files.wals or files.snapshots:
            found.append(collection)
    return found


def key_file(path: str, collection: str) -> KeyFile | None:
    """Return the key file of a store; None if the store is not encrypted.

    Raises:
        Corruption: it is damaged.
        StoreError: it was not made by litesess.
        OSError: it, or the directory, can't be read.
    """
    with _directory(path, collection) as directory:
        return read_key_file(directory)


@contextmanager
def closed(path: str, collection: str) -> Iterator[bool]:
    """Keep a store closed for the block: no process can open it for writing.

    Yields:
        Whether it is closed; False if a process has it open already.

    Raises:
        StoreError: its presence file was not made by litesess.
        OSError: that, or the directory, can't be opened.
    """
    with _directory(path, collection) as directory:
        try:
            presence = directory.open_file(directory.names.presence, write=False)
        except FileNotFoundError:  # the process that opens the store makes it
            yield True
            return
    try:
        yield FileLock.take(presence.fd)
    finally:
        presence.close()


def new_snapshot_bytes(path: str, collection: str) -> int:
    """Return how much a compaction has written of the new snapshot; 0 if none is at it."""
    total = 0
    with suppress(OSError, StoreError), _directory(path, collection) as directory:
        for name in directory.listing().temporary:
            if name.endswith(_NEW_SNAPSHOT):
                file = directory.open_file(name, write=False)
                total += directory.fs.size(file.fd)
                file.close()
    return total


@contextmanager
def _directory(path: str, collection: str) -> Iterator[Directory]:
    fs = FileSystem()
    held = Held()
    file = held.hold(lambda: OpenFile(fs.look_into(path), fs.close))
    try:
        yield Directory(fs, held, file, path.rstrip("/"), Names(collection), read_only=True)
    finally:
        file.close()
