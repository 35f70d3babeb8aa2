"""The commands that make another store: backup, salvage."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from litesess.cli import output, progress, target
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import Located, located, opened
from litesess.engine import Salvaged, closed

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
    with opened(options) as source, target.held(options.directory, source.place) as copy:
        path, beginning = source.store.path, f"{source.place.collection}."

        def size() -> int:
            return progress.bytes_in(path, beginning)

        def done() -> int:
            return progress.bytes_in(copy.path, beginning)

        with progress.bar("copying", size, done=done, in_bytes=True):
            source.store.backup(copy.path)
        # What was copied before that has failed the store has removed itself.
        copy.claim_all()
        with source.place.like(copy.path, read_only=True) as store:
            live = store.stats().live
    if options.json:
        output.print_json({"directory": copy.path, "live": live})
    else:
        output.print_line(f"{output.counted(live, 'session')} in {output.printable(copy.path)}")
    return Exit.DONE


def _salvage(options: argparse.Namespace) -> int:
    place = located(options)
    with _alone(place), target.held(options.target, place) as new:
        new.claim()
        found, live = _rescued(place, new.path)
    holes = [str(hole) for hole in found.holes]
    if options.json:
        facts = {"kept": found.kept, "live": live, "doubtful": found.doubtful, "holes": holes}
        output.print_json({"directory": new.path, **facts})
        return Exit.DONE
    output.print_line(
        f"{output.counted(found.kept, 'session')} kept, of which {live} have not expired;"
        f" {found.doubtful} left out, as what can't be read may have ended them"
    )
    for hole in holes:
        output.print_line(f"not readable: {output.printable(str(hole))}")
    return Exit.DONE


def _rescued(place: Located, path: str) -> tuple[Salvaged, int]:
    with place.like(path) as rescued:
        with progress.bar("salvaging"):
            # No store is made of the damaged one: its files may begin with anything.
            found = rescued.salvage(
                place.path,
                collection=place.collection,
                encryption_key=place.key,
            )
        return found, len(rescued)


@contextmanager
def _alone(place: Located) -> Iterator[None]:
    """Keep the store, which no process may have open, from being opened."""
    with closed(place.path, place.collection) as is_closed:
        if not is_closed:
            raise Failure(Exit.LOCKED, f"{place.path} is in use; {_NO_ROOM_FOR_DOUBT}")
        yield
