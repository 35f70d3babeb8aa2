"""Facts about a store in a directory before it is opened: is it there, by which kind of key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from litesess.cli.encryption import Kind
from litesess.cli.exits import Exit, Failure
from litesess.engine import closed, collections_in, key_file
from litesess.keyfile import KeyFile


def is_new(path: str, collection: str) -> bool:
    """Return whether a store in the directory *path* would have to be made."""
    return not (Path(path).is_dir() and collection in collections_in(path))


def check_exists(path: str, collection: str) -> None:
    """Check that there is a store: a mistyped path must not make one.

    Raises:
        Failure: the store does not exist, or the directory can't be read.
    """
    try:
        found = collections_in(path)
    except OSError as error:
        who = f"; this is uid {os.geteuid()}" if isinstance(error, PermissionError) else ""
        raise Failure(Exit.PATH, f"{path}: {error.strerror}{who}") from error
    if collection not in found:
        hint = f"; there are: {', '.join(found)} (--collection)" if found else ""
        raise Failure(Exit.PATH, f"{path}: there is no collection {collection!r}{hint}")


def kind_in_directory(path: str, collection: str) -> Kind | None:
    """Return the kind of key that opens the store in the directory *path*; None: unencrypted.

    Raises:
        Corruption: its key file is damaged.
        StoreError: its key file was not made by litesess.
        OSError: that can't be read.
    """
    found = key_file(path, collection)
    return None if found is None else _kind_of(found)


def kind_in_file(content: bytes, name: str) -> Kind:
    """Return the kind of key that a key file is opened by.

    Args:
        content: of the key file.
        name: of the store, for the error.

    Raises:
        Corruption: it is damaged.
    """
    return _kind_of(KeyFile.decode(content, name))


def _kind_of(file: KeyFile) -> Kind:
    return Kind.RAW if file.is_raw else Kind.PASSPHRASE


@contextmanager
def alone(path: str, collection: str, cure: str) -> Iterator[None]:
    """Keep all processes from opening the store in the directory *path* during the block.

    Raises:
        Failure: a process has it open; the message ends with the *cure*.
        StoreError: something was planted as its lock file.
        OSError: the directory can't be read.
    """
    with closed(path, collection) as is_closed:
        if not is_closed:
            raise Failure(Exit.LOCKED, f"{path} is in use; {cure}")
        yield
