"""The address of a store, one syntax for all commands.

::

    PATH or wal:PATH[?collection=NAME]           a directory
    redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]   Redis; also rediss:// and unix://PATH
    redis+sentinel://HOST:PORT,.../SERVICE[/DB]  each with [?prefix=PREFIX]
    redis+cluster://HOST:PORT,...

A password in an address is never shown: messages have :attr:`Server.shown`.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from litesess.cli.exits import Exit, Failure
from litesess.engine import is_collection

REDIS_VARIABLE: Final = "LITESESS_REDIS_PASSWORD"
SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")

_COLLECTION: Final = "sessions"
_PREFIX: Final = "litesess:"
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST: Final = r"(?:[\w-]{1,63}(?:\.[\w-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
_HOSTS: Final = re.compile(rf"(?:{_HOST}(?:,{_HOST})*)?\Z")
_LAST_PORT: Final = 65_535
_DATABASE: Final = re.compile(r"/?\d*\Z")


class Directory(NamedTuple):
    """The address of a store in a directory."""

    path: str
    collection: str = _COLLECTION

    @property
    def shown(self) -> str:
        """The address in messages."""
        return self.path

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories whose owner root becomes."""
        return (self.path,)


class Server(NamedTuple):
    """The address of a store in Redis; no repr shows its password."""

    url: str
    prefix: str = _PREFIX

    @property
    def shown(self) -> str:
        """The address in messages, without user, password and options."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories whose owner root becomes: none."""
        return ()

    def __repr__(self) -> str:
        return f"<Server {self.shown}>"


Address: TypeAlias = "Directory | Server"


def parse(text: str) -> Address:
    """Return the address that a command line gives.

    Raises:
        ArgumentTypeError: it is none; the message has nothing of a password.
    """
    if text.startswith("wal:"):
        path, _, query = text.removeprefix("wal:").partition("?")
        name, _, collection = query.partition("=")
        if query and (name != "collection" or not is_collection(collection)):
            raise argparse.ArgumentTypeError(f"wal:{path}: only ?collection=NAME may follow")
        return _directory(path, collection or _COLLECTION)
    url = _URL.match(text)
    if url is None:
        return _directory(text, _COLLECTION)
    if url[1] not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise argparse.ArgumentTypeError(f"{url[1]}://: no such scheme; known are {known}")
    return _server(text)


def parse_directory(text: str) -> str:
    """Return the path of a directory to put a copy of a store into.

    Raises:
        ArgumentTypeError: the address is of Redis, or has a collection.
    """
    address = parse(text)
    if isinstance(address, Server) or address.collection != _COLLECTION:
        raise argparse.ArgumentTypeError(
            "give a directory, as PATH or wal:PATH; `litesess copy` copies sessions to Redis"
        )
    return address.path


def _directory(path: str, collection: str) -> Directory:
    if not path or "\0" in path:
        raise argparse.ArgumentTypeError("the address names no directory")
    return Directory(path, collection)


def _server(url: str) -> Server:
    try:
        parts = urlsplit(url)
        queries = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        # Without the cause, which may show all of the URL.
        raise argparse.ArgumentTypeError("the URL can't be read") from None
    userinfo, _, hosts = parts.netloc.rpartition("@")
    ports = [int(port) for port in re.findall(r":(\d+)(?=,|\Z)", hosts)]
    is_right = _HOSTS.match(hosts) and all(port <= _LAST_PORT for port in ports)
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" or not is_right:
        raise argparse.ArgumentTypeError(
            "the URL can't be read; in a user or password write each of / ? # @ as %2F %3F %23 %40"
        )
    if parts.scheme in ("redis", "rediss") and not _DATABASE.match(parts.path):
        # The client would take 0 for it.
        raise argparse.ArgumentTypeError("the database after the host is not a number")
    password = os.environ.get(REDIS_VARIABLE)
    if password and ":" not in userinfo and "password" not in dict(queries):
        userinfo = f"{userinfo}:{quote(password, safe='')}"
    prefix = dict(queries).get("prefix", _PREFIX)
    query = urlencode([item for item in queries if item[0] != "prefix"])
    netloc = f"{userinfo}@{hosts}" if userinfo else hosts
    # By hand: urlunsplit() leaves the // out of unix:///PATH.
    where = f"{parts.scheme}://{netloc}{parts.path}"
    return Server(f"{where}?{query}" if query else where, prefix)


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
    if address.collection not in (_COLLECTION, options.collection):
        raise Failure(Exit.USAGE, "--collection and ?collection= name different collections")
    return Directory(address.path, options.collection)
