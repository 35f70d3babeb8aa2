"""The commands that make another store: backup, salvage."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from litesess.cli import output, progress, stopping
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import Located, located, names_in, opened
from litesess.cli.owner import acting_as_operator, make_directory
from litesess.engine.lock import FileLock
from litesess.engine.names import Names

_NO_ROOM_FOR_DOUBT: Final = "stop what uses it first: a salvage can't tell what is being written"


def add_to(commands: Commands) -> None:
    """Add these commands."""
    backup = commands.add(
        "backup",
        _backup,
        "copy the store, in use, into an empty directory",
        about="What was acknowledged before is in the copy, which is read from end to end, and"
        " opened as a store.  To go back to it stop the workers and put it in the place of the"
        " store.",
        example="litesess backup /srv/app/data /var/backups/sessions",
    )
    backup.takes_store(writes=True).prints()
    backup.add("directory", metavar="DIR", help="empty, or to be made; its parent must be there")
    salvage = commands.add(
        "salvage",
        _salvage,
        "get out of a damaged store what is certain; nobody may be using it",
        about="The store is left as it is.  A session that may have been ended by what can't be"
        " read any more is left out.",
        example="litesess salvage /srv/app/data /srv/app/data.new",
    )
    salvage.takes_store(writes=False).prints()
    salvage.add("target", metavar="TARGET", help="empty, or to be made; its parent must be there")


def _backup(options: argparse.Namespace) -> int:
    with opened(options) as source, _made(options.directory, source.place) as target:
        path, beginning = source.store.path, f"{source.place.collection}."

        def size() -> int:
            return progress.bytes_in(path, beginning)

        def done() -> int:
            return progress.bytes_in(target, beginning)

        with progress.bar("copying", size, done=done, in_bytes=True):
            source.store.backup(target)
        with source.place.like(target, read_only=True) as copy:
            live = copy.stats().live
    if options.json:
        output.print_json({"directory": target, "live": live})
    else:
        output.print_line(f"{output.counted(live, 'session')} in {output.printable(target)}")
    return Exit.DONE


def _salvage(options: argparse.Namespace) -> int:
    with (
        located(options) as place,
        _alone(place),
        _made(options.target, place) as target,
        place.like(target) as rescued,
    ):
        with progress.bar("salvaging"):
            # No store is made of the damaged one: its files may begin with anything.
            found = rescued.salvage(
                place.path,
                collection=place.collection,
                encryption_key=place.key,
            )
        live = len(rescued)
    holes = [str(hole) for hole in found.holes]
    if options.json:
        facts = {"kept": found.kept, "live": live, "doubtful": found.doubtful, "holes": holes}
        output.print_json({"directory": target, **facts})
        return Exit.DONE
    output.print_line(
        f"{output.counted(found.kept, 'session')} kept, of which {live} have not expired;"
        f" {found.doubtful} left out, as what can't be read may have ended them"
    )
    for hole in holes:
        output.print_line(f"not readable: {output.printable(str(hole))}")
    return Exit.DONE


@contextmanager
def _alone(place: Located) -> Iterator[None]:
    """Keep everybody from opening the store, which nobody may have open."""
    presence = Path(place.path, Names(place.collection).live)
    try:
        fd = os.open(presence, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # whoever opens the store makes it
        yield
        return
    try:
        if not FileLock.take(fd):
            raise Failure(Exit.LOCKED, f"{place.path} is in use; {_NO_ROOM_FOR_DOUBT}")
        yield
    finally:
        os.close(fd)


@contextmanager
def _made(path: str, place: Located) -> Iterator[str]:
    """Have a directory for a store like that at *place*; nothing remains if the block fails."""
    is_made = False
    before: set[str] = set()
    try:
        with stopping.held():
            is_made = make_directory(path)
            before = set(names_in(path))
        yield os.path.realpath(path)
        stopping.too_late()
    except BaseException:
        with stopping.held(), acting_as_operator():
            _remove(path, before, f"{place.collection}.", is_made=is_made)
        raise


def _remove(path: str, before: set[str], beginning: str, *, is_made: bool) -> None:
    """Delete the files of a store that were not there before."""
    with suppress(OSError):
        for name in set(names_in(path)) - before:
            if name.startswith(beginning):
                Path(path, name).unlink()
        if is_made:
            Path(path).rmdir()
