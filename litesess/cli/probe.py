"""Facts about a store before it is opened; the only module of the command line over the engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from litesess.cli.encryption import Kind
from litesess.cli.exits import Exit, Failure
from litesess.crypto import RAW
from litesess.engine.check import Salvaged
from litesess.engine.fs import DIRECTORY_MODE, FileSystem
from litesess.engine.keys import KeyFile, KeyPlace, decode_keys
from litesess.engine.lock import FileLock
from litesess.engine.names import COLLECTION, SNAPSHOT, TEMPORARY_SUFFIX, Names

__all__ = [
    "DIRECTORY_MODE",
    "SNAPSHOT_ENDING",
    "FileSystem",
    "Salvaged",
    "alone",
    "check_exists",
    "is_collection",
    "is_new",
    "kind_in_directory",
    "kind_in_file",
]

#: The end of the name of a snapshot that is being written.
SNAPSHOT_ENDING: Final = f".{SNAPSHOT}{TEMPORARY_SUFFIX}"
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def is_collection(text: str) -> bool:
    """Return whether *text* can be the name of a collection."""
    return COLLECTION.match(text) is not None


def is_new(path: str, collection: str) -> bool:
    """Return whether a store in the directory *path* would have to be made."""
    return not (Path(path).is_dir() and _is_store(_names_in(path), collection))


def check_exists(path: str, collection: str) -> None:
    """Check that there is a store: a mistyped path must not make one.

    Raises:
        Failure: there is none, or the directory can't be read.
    """
    try:
        names = _names_in(path)
    except OSError as error:
        who = f"; this is uid {os.geteuid()}" if isinstance(error, PermissionError) else ""
        raise Failure(Exit.PATH, f"{path}: {error.strerror}{who}") from error
    if _is_store(names, collection):
        return
    others = sorted({name.split(".")[0] for name in names if _is_store([name], name.split(".")[0])})
    hint = f"; there are: {', '.join(others)} (--collection)" if others else ""
    raise Failure(Exit.PATH, f"{path}: there is no collection {collection!r}{hint}")


def kind_in_directory(path: str, collection: str) -> Kind | None:
    """Return the kind of key that opens the store in the directory *path*; None: unencrypted.

    Raises:
        Corruption: its key file is damaged.
        StoreError: its key file was not made by litesess.
        OSError: that can't be read.
    """
    name = Names(collection).keys
    directory = os.open(path, _READ)
    try:
        found = KeyPlace(FileSystem(), directory, name, str(Path(path, name))).read()
    finally:
        os.close(directory)
    return None if found is None else _kind_of(found)


def kind_in_file(content: bytes, name: str) -> Kind:
    """Return the kind of key that a key file is opened by.

    Args:
        content: of the key file.
        name: of the store, for the error.

    Raises:
        Corruption: it is damaged.
    """
    return _kind_of(decode_keys(content, name))


def _kind_of(file: KeyFile) -> Kind:
    return Kind.RAW if file.derivation.kind == RAW else Kind.PASSPHRASE


def _names_in(path: str) -> list[str]:
    return [entry.name for entry in Path(path).iterdir()]


def _is_store(names: list[str], collection: str) -> bool:
    listing = Names(collection).sort_out(names)
    return bool(listing.wals or listing.snapshots)


@contextmanager
def alone(path: str, collection: str, cure: str) -> Iterator[None]:
    """Keep all processes from opening the store in the directory *path* during the block.

    Raises:
        Failure: a process has it open; the message ends with the *cure*.
        StoreError: something was planted as its lock file.
        OSError: the directory can't be read.
    """
    name = Names(collection).live
    directory = os.open(path, _READ)
    try:
        fd = FileSystem.open(directory, name, str(Path(path, name)), write=False)
    except FileNotFoundError:  # the first process that opens the store makes it
        yield
        return
    finally:
        os.close(directory)
    try:
        if not FileLock.take(fd):
            raise Failure(Exit.LOCKED, f"{path} is in use; {cure}")
        yield
    finally:
        os.close(fd)
