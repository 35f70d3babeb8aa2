"""From an address to an open store: as its owner, with its key if it is encrypted."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

from litesess.cli import encryption, probe
from litesess.cli.address import Address, Directory, Server, address_of
from litesess.cli.exits import Exit, Failure
from litesess.cli.owner import Identity, become_owner
from litesess.crypto import EncryptionKey
from litesess.errors import ConfigError
from litesess.stores.base import Store
from litesess.stores.opening import redis_package
from litesess.stores.wal import WALStore


class Wanted(NamedTuple):
    """A store that a command is to open, and the key that was given for it."""

    address: Address
    given: encryption.Given | None
    #: The key was to be given as the new one.
    is_new: bool = False
    #: Make the store if it does not exist, and encrypt it by a key of this kind if one was given.
    create: bool = False
    kind: encryption.Kind | None = None
    #: Longest wait for other processes, in seconds.
    lock_timeout: float = Store.lock_timeout


@dataclass(frozen=True)
class Located(ABC):
    """A store that exists, or may be made, and that is not open yet.

    Attributes:
        address: of the store.
        kind: of its key; None: it is not encrypted.
        key: opens it.
        identity: the owner that root has become; None: the process is the user that it was.
        lock_timeout: the longest wait for other processes, in seconds.
    """

    address: Address
    kind: encryption.Kind | None
    key: EncryptionKey | None
    identity: Identity | None
    lock_timeout: float

    @abstractmethod
    def open(self, **settings: Any) -> Store:
        """Return the store.

        Args:
            **settings: those of :class:`litesess.stores.wal.WALOptions`, for a directory alone.

        Raises:
            LitesessError: it can't be used.
        """


@dataclass(frozen=True)
class LocatedDirectory(Located):
    """A store in a directory."""

    address: Directory

    def open(self, **settings: Any) -> WALStore:
        """Return the store; raises as :meth:`Located.open` does."""
        return self.like(self.address.path, **settings)

    def like(self, path: str, **settings: Any) -> WALStore:
        """Return a store in the directory *path*, with the same collection and key."""
        return WALStore(
            path,
            collection=self.address.collection,
            encryption_key=self.key,
            lock_timeout=self.lock_timeout,
            **settings,
        )


@dataclass(frozen=True)
class LocatedServer(Located):
    """A store in Redis."""

    address: Server

    def open(self, **_settings: Any) -> Store:
        """Return the store; raises as :meth:`Located.open` does."""
        url, prefix = self.address
        store: Store = _redis().RedisStore(url, prefix=prefix, encryption_key=self.key)
        store.lock_timeout = self.lock_timeout
        return store


def locate(*wanted: Wanted) -> list[Located]:
    """Become the owner of the stores' directories, if root runs this, and find the keys.

    Raises:
        Failure: there is no store, or no key for it, or root can't work on it.
        LitesessError: a store can't be used.
    """
    # Order: root becomes the owner after importing the module, which only root may be able to read.
    if any(isinstance(each.address, Server) for each in wanted):
        _redis()
    identity = become_owner(*(path for each in wanted for path in each.address.paths))
    return [_located(each, identity) for each in wanted]


def _located(wanted: Wanted, identity: Identity | None) -> Located:
    address = wanted.address
    if isinstance(address, Directory):
        kind = _kind_in_directory(wanted, address)
        return LocatedDirectory(address, kind, _key(wanted, kind), identity, wanted.lock_timeout)
    kind = _kind_in_redis(wanted, address)
    return LocatedServer(address, kind, _key(wanted, kind), identity, wanted.lock_timeout)


def _key(wanted: Wanted, kind: encryption.Kind | None) -> EncryptionKey | None:
    return encryption.key_for(kind, wanted.given, wanted.address.shown, is_new=wanted.is_new)


def _kind_in_directory(wanted: Wanted, address: Directory) -> encryption.Kind | None:
    if wanted.create and probe.is_new(*address):
        return _kind_of_new(wanted)
    probe.check_exists(*address)
    return probe.kind_in_directory(*address)


def _kind_in_redis(wanted: Wanted, address: Server) -> encryption.Kind | None:
    redis = _redis()
    with redis.RedisStore(address.url, prefix=address.prefix) as store:
        file = store.key_file()
    if file is None and wanted.create:
        return _kind_of_new(wanted)
    if file is None:
        raise Failure(
            Exit.PATH,
            f"{address.shown}: there is no store with that prefix, {address.prefix!r}"
            " (?prefix=PREFIX)",
        )
    return None if file == redis.IN_THE_CLEAR else probe.kind_in_file(file, address.shown)


def _kind_of_new(wanted: Wanted) -> encryption.Kind | None:
    """Return the kind of key of a store that is to be made; None: it is not encrypted."""
    return None if wanted.given is None else wanted.kind or encryption.Kind.PASSPHRASE


def _redis() -> ModuleType:
    try:
        return redis_package()
    except ConfigError as error:
        raise Failure(Exit.USAGE, str(error)) from None


def located(options: argparse.Namespace, *, create: bool = False) -> Located:
    """Locate the store that the options name; see :func:`locate`.

    Args:
        options: of the command line.
        create: the store need not exist.
    """
    address = address_of(options)
    # Order: the key file before root becomes the owner, as only root may be able to read it.
    given = encryption.given(options)
    wanted = Wanted(address, given, create=create, kind=options.kind if create else None)
    if "lock_timeout" in options:
        wanted = wanted._replace(lock_timeout=options.lock_timeout)
    (found,) = locate(wanted)
    return found


def located_directory(options: argparse.Namespace) -> LocatedDirectory:
    """Locate the store that the options name, of a command that works in directories alone."""
    found = located(options)
    assert isinstance(found, LocatedDirectory)  # address_of() refuses all other addresses
    return found


@contextmanager
def opened(options: argparse.Namespace, **settings: Any) -> Iterator[Store]:
    """Open the store that the options name, or lend the app's if an app runs the command.

    Args:
        options: of the command line.
        **settings: those of :class:`litesess.stores.wal.WALOptions`, for a directory alone.

    Raises:
        Failure: there is no store, or no key for it, or root can't work on it.
        LitesessError: it can't be used.
    """
    if options.lent is not None:
        yield options.lent
        return
    with located(options).open(**settings) as store:
        yield store


def believe_clock(store: Store) -> None:
    """Let a command delete expired sessions even if the store distrusts the clock.

    The collector waits for an hour if the clock is years from the last use of each session; an
    operator who runs a command has decided that the clock is right.
    """
    if isinstance(store, WALStore):
        store.believe_clock()


@contextmanager
def opened_directory(options: argparse.Namespace, **settings: Any) -> Iterator[WALStore]:
    """Open the store of a command that works in directories alone; see :func:`opened`."""
    with opened(options, **settings) as store:
        if not isinstance(store, WALStore):
            raise Failure(
                Exit.USAGE,
                f"{options.command} works only on stores in directories, and this one is a"
                f" {type(store).__name__}",
            )
        yield store
