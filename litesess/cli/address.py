"""The address of a store, as commands take it: see :mod:`litesess.stores.address`."""

from __future__ import annotations

import argparse

from litesess.cli.exits import Exit, Failure
from litesess.errors import ConfigError
from litesess.stores import address as addresses
from litesess.stores.address import COLLECTION, REDIS_VARIABLE, Address, Directory, Server

__all__ = [
    "REDIS_VARIABLE",
    "Address",
    "Directory",
    "Server",
    "address_of",
    "parse",
    "parse_directory",
]


def parse(text: str) -> Address:
    """Return the address that a command line gives.

    Raises:
        ArgumentTypeError: it is no address; the message shows no password.
    """
    try:
        return addresses.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_directory(text: str) -> str:
    """Return the path of a directory to put a copy of a store into.

    Raises:
        ArgumentTypeError: the address is of Redis, or has a collection.
    """
    address = parse(text)
    if isinstance(address, Server) or address.collection != COLLECTION:
        raise argparse.ArgumentTypeError(
            "give a directory, as PATH or wal:PATH; `litesess copy` copies sessions to Redis"
        )
    return address.path


def address_of(options: argparse.Namespace) -> Address:
    """Return the address that the options name, of the collection that they name.

    Raises:
        Failure: they name two collections, or the command does not work on such a store.
    """
    address: Address = options.address
    if isinstance(address, Server) and options.not_in_redis:
        raise Failure(
            Exit.USAGE,
            f"{options.command} works only on stores in directories: {options.not_in_redis}",
        )
    if options.collection is None:
        return address
    if isinstance(address, Server):
        raise Failure(
            Exit.USAGE, "--collection is for stores in directories; in Redis, give ?prefix=PREFIX"
        )
    if address.collection not in (COLLECTION, options.collection):
        raise Failure(Exit.USAGE, "--collection and ?collection= name different collections")
    return Directory(address.path, options.collection)
