"""``litesess copy``: copy the sessions to another store, while both are in use."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from litesess.cli import encryption, output, progress
from litesess.cli.address import Address, Directory, parse
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import Wanted, locate
from litesess.stores.base import Store
from litesess.stores.copying import Report, copy_all

_THREADS: Final = 8
_MOST_THREADS: Final = 64
_MOST_SHOWN: Final = 5


def add_to(commands: Commands) -> None:
    """Add the command."""
    copy = commands.add(
        "copy",
        _run,
        "copy the sessions to another store, while both are in use",
        about="The originals stay.  To copy again is harmless, and goes on where a copying was"
        " stopped.  The app uses FallbackStore meanwhile (docs/scaling.rst).",
        example="litesess copy /srv/app/data redis://10.0.0.5/0",
    )
    copy.add("source", type=parse, metavar="SOURCE", help="the store of the sessions")
    copy.add("dest", type=parse, metavar="DEST", help="the store that gets the copies")
    copy.add(
        "--key-file",
        metavar="FILE",
        help=f"file with the encryption key of SOURCE; else {encryption.VARIABLE} is used",
    )
    copy.takes_new_key("the encryption key of DEST").prints()
    copy.add("--create", action="store_true", help="make DEST if it does not exist")
    copy.add(
        "--threads",
        type=_threads,
        default=_THREADS,
        metavar="NUMBER",
        help=f"number of sessions copied at once (default: {_THREADS})",
    )


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_THREADS}")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    if _name(options.source) == _name(options.dest):
        raise Failure(Exit.USAGE, "SOURCE and DEST are the same store")
    with (
        _opened(options) as (source, dest),
        progress.bar("copying", lambda: 2 * len(source)) as advance,
    ):
        report = copy_all(source, dest, threads=options.threads, advance=advance)
    output.report(options, _words(report), **{**vars(report), "different": [*report.different]})
    if report.different:
        few = ", ".join(report.different[:_MOST_SHOWN])
        raise Failure(
            Exit.DIFFERENT,
            f"{output.counted(len(report.different), 'session')} in DEST missing or different:"
            f" {few}",
        )
    return Exit.DONE


def _name(address: Address) -> tuple[str, str]:
    """Return the address in a form that is the same for the same store."""
    if isinstance(address, Directory):
        return os.path.realpath(address.path), address.collection
    return address.url, address.prefix


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[tuple[Store, Store]]:
    # Order: only root may be able to read the key files, so they are read before root becomes the
    # owner.
    given, new_given = encryption.given(options), encryption.new_given(options)
    source, dest = locate(
        Wanted(options.source, given),
        Wanted(options.dest, new_given, is_new=True, create=options.create, kind=options.kind),
    )
    with ExitStack() as stack:
        yield stack.enter_context(source.open()), stack.enter_context(dest.open())


def _words(report: Report) -> str:
    return (
        f"{output.counted(report.copied, 'session')} copied, {report.existing} there already,"
        f" {report.ended} ended meanwhile; {report.compared} compared"
    )
