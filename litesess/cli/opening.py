"""From a command's options to an open store: as its owner, with its key, where there is one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from litesess.cli import encryption
from litesess.cli.exits import Exit, Failure
from litesess.cli.owner import Identity, become_owner
from litesess.crypto import EncryptionKey
from litesess.engine import collections_in
from litesess.stores.wal import WALStore


class Located(NamedTuple):
    """A store that a command is told of, and that was not opened yet."""

    path: str
    collection: str
    #: None: it is not encrypted.
    kind: encryption.Kind | None
    key: EncryptionKey | None
    #: The owner that root has become; None: this process is what it was.
    identity: Identity | None

    def like(self, path: str, **options: Any) -> WALStore:
        """Return a store in a directory, with the same name and key."""
        return WALStore(path, collection=self.collection, encryption_key=self.key, **options)


class Opened(NamedTuple):
    """A store that a command works on."""

    store: WALStore
    place: Located


def located(options: argparse.Namespace, *, create: bool = False) -> Located:
    """Become the owner of the store that the options name, if root runs this, and have its key.

    Args:
        options: of the command line.
        create: it need not be there.

    Raises:
        Failure: there is no store, or no key for it, or root can't work on it.
    """
    path, collection = options.path, options.collection
    # Order: the key file may be root's own, and is read before root becomes the owner.
    given = encryption.given(options)
    identity = become_owner(path)
    if create and is_new(path, collection):
        kind = None if given is None else options.kind or encryption.Kind.PASSPHRASE
    else:
        check_there(path, collection)
        kind = encryption.kind_of(path, collection)
    return Located(path, collection, kind, encryption.key_for(kind, given, path), identity)


@contextmanager
def opened(
    options: argparse.Namespace, *, place: Located | None = None, **settings: Any
) -> Iterator[Opened]:
    """Open the store that the options name.

    Args:
        options: of the command line.
        place: where it is, if it was located before.
        **settings: those of :class:`litesess.stores.wal.WALOptions`.

    Raises:
        Failure: there is no store, or no key for it, or root can't work on it.
        LitesessError: it can't be used.
    """
    if "lock_timeout" in options:
        settings["lock_timeout"] = options.lock_timeout
    if place is None:
        place = located(options)
    with place.like(place.path, **settings) as store:
        yield Opened(store, place)


def check_there(path: str, collection: str) -> None:
    """Raise :class:`Failure` if there is no such store: a mistyped path must not make one."""
    try:
        found = collections_in(path)
    except OSError as error:
        who = f"; this is uid {os.geteuid()}" if isinstance(error, PermissionError) else ""
        raise Failure(Exit.PATH, f"{path}: {error.strerror}{who}") from error
    if collection not in found:
        hint = f"; there are: {', '.join(found)} (--collection)" if found else ""
        raise Failure(Exit.PATH, f"{path}: there is no collection {collection!r}{hint}")


def is_new(path: str, collection: str) -> bool:
    """Return whether a store would have to be made."""
    return not (Path(path).is_dir() and collection in collections_in(path))
