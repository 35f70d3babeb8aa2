"""The command that copies the sessions to another store: copy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from litesess.cli import encryption, output, progress
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import check_there, is_new
from litesess.cli.owner import become_owner
from litesess.engine import is_collection
from litesess.keyfile import KeyFile
from litesess.stores.base import Store
from litesess.stores.copying import copy_all
from litesess.stores.wal import WALStore

REDIS_VARIABLE: Final = "LITESESS_REDIS_PASSWORD"

_THREADS: Final = 8


class Place(NamedTuple):
    """Which store is meant.

    Attributes:
        location: a directory or, with a scheme, a URL; no repr shows it, for its password.
        name: the collection or the prefix; "": the usual one.
        is_redis: which of both.
    """

    location: str
    name: str
    is_redis: bool

    def __repr__(self) -> str:
        return "<Place>"

    def shown(self) -> str:
        """Return what it is called in messages."""
        if not self.is_redis:
            return self.location
        parts = urlsplit(self.location)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def add_to(commands: Commands) -> None:
    """Add this command."""
    copy = commands.add(
        "copy",
        _copy,
        "copy the sessions to another store, while both are in use",
        about="SOURCE and DEST are wal:PATH or a URL of Redis (redis://, rediss://, unix://,"
        " redis+sentinel://, redis+cluster://).  The originals stay; once more is harmless, and"
        " goes on with what was stopped.  The app uses FallbackStore meanwhile (docs/scaling.rst).",
        example="litesess copy wal:/srv/app/data redis://10.0.0.5/0",
    )
    copy.add("source", type=_place, metavar="SOURCE", help="where the sessions are")
    copy.add("dest", type=_place, metavar="DEST", help="where they go")
    copy.add(
        "--key-file",
        metavar="FILE",
        help=f"file with the encryption key of SOURCE; else {encryption.VARIABLE} is used",
    )
    copy.takes_new_key("the encryption key of DEST").prints()
    copy.add("--create", action="store_true", help="make DEST if it is not there")
    copy.add(
        "--threads",
        type=_threads,
        default=_THREADS,
        metavar="NUMBER",
        help=f"how many sessions are copied at once (default: {_THREADS})",
    )


def _place(text: str) -> Place:
    scheme, colon, rest = text.partition(":")
    if not colon or (scheme != "wal" and not rest.startswith("/")):
        raise argparse.ArgumentTypeError("neither wal:PATH nor a URL such as redis://HOST:PORT")
    if scheme == "wal":
        path, _, query = rest.partition("?")
        key, _, name = query.partition("=")
        if query and (key != "collection" or not is_collection(name)):
            raise argparse.ArgumentTypeError(f"wal:{path}: only ?collection=NAME may follow")
        return Place(path, name, is_redis=False)
    parts = urlsplit(text)
    queries = parse_qsl(parts.query)
    name = dict(queries).get("prefix", "")
    query = urlencode([item for item in queries if item[0] != "prefix"])
    netloc = parts.netloc
    password = os.environ.get(REDIS_VARIABLE)
    if password and "@" not in netloc:
        netloc = f":{quote(password, safe='')}@{netloc}"
    return Place(urlunsplit(parts._replace(netloc=netloc, query=query)), name, is_redis=True)


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)


def _copy(options: argparse.Namespace) -> int:
    if options.source[:2] == options.dest[:2]:
        raise Failure(Exit.USAGE, "SOURCE and DEST are the same store")
    places = (options.source, options.dest)
    # Order: the key files may be root's own, and what is imported may lie where only root can
    # read; so both come before root becomes the owner.
    given, new_given = encryption.given(options), encryption.new_given(options)
    if any(place.is_redis for place in places):
        _redis_module()
    become_owner(*(place.location for place in places if not place.is_redis))
    with ExitStack() as stack:
        source = stack.enter_context(_opened(options.source, given, options, is_dest=False))
        dest = stack.enter_context(_opened(options.dest, new_given, options, is_dest=True))
        with progress.bar("copying", lambda: 2 * len(source)) as advance:
            report = copy_all(source, dest, threads=options.threads, advance=advance)
    if options.json:
        output.print_json({**vars(report), "different": [*report.different]})
    else:
        output.print_line(
            f"{output.counted(report.copied, 'session')} copied, {report.existing} there already,"
            f" {report.ended} ended meanwhile; {report.compared} compared"
        )
    if report.different:
        few = ", ".join(report.different[:5])
        raise Failure(
            Exit.DIFFERENT,
            f"{output.counted(len(report.different), 'session')} in DEST missing or not the same:"
            f" {few}",
        )
    return Exit.DONE


@contextmanager
def _opened(
    place: Place, given: encryption.Given | None, options: argparse.Namespace, *, is_dest: bool
) -> Iterator[Store]:
    with (_redis if place.is_redis else _wal)(place, given, options, is_dest=is_dest) as store:
        yield store


def _wal(
    place: Place, given: encryption.Given | None, options: argparse.Namespace, *, is_dest: bool
) -> WALStore:
    path, collection = place.location, place.name or "sessions"
    if is_dest and options.create and is_new(path, collection):
        kind = None if given is None else options.kind or encryption.Kind.PASSPHRASE
    else:
        check_there(path, collection)
        kind = encryption.kind_of(path, collection)
    key = encryption.key_for(kind, given, path, is_new=is_dest)
    return WALStore(path, collection=collection, encryption_key=key)


def _redis_module() -> ModuleType:
    try:
        from litesess.stores import redis  # noqa: PLC0415  # optional (litesess[redis])
    except ImportError:
        raise Failure(
            Exit.USAGE, "Redis needs the package redis: pip install 'litesess[redis]'"
        ) from None
    return redis


def _redis(
    place: Place, given: encryption.Given | None, options: argparse.Namespace, *, is_dest: bool
) -> Store:
    redis = _redis_module()
    prefix = {"prefix": place.name} if place.name else {}
    with redis.RedisStore(place.location, **prefix) as store:
        file = store.key_file()
    if file is None and not (is_dest and options.create):
        raise Failure(
            Exit.PATH,
            f"{place.shown()}: there is no store with that prefix (?prefix=PREFIX); --create makes"
            " DEST",
        )
    if file is None:
        kind = None if given is None else options.kind or encryption.Kind.PASSPHRASE
    elif file == redis.IN_THE_CLEAR:
        kind = None
    else:
        key_file = KeyFile.decode(file, place.shown())
        kind = encryption.Kind.RAW if key_file.is_raw else encryption.Kind.PASSPHRASE
    key = encryption.key_for(kind, given, place.shown(), is_new=is_dest)
    opened: Store = redis.RedisStore(place.location, encryption_key=key, **prefix)
    return opened
