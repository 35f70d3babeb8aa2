"""``litesess salvage``: get the certain sessions out of a damaged store."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from litesess.cli import output, progress, target
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import Located, located
from litesess.engine.check import Salvaged
from litesess.engine.fs import FileSystem
from litesess.engine.lock import FileLock
from litesess.engine.names import Names

_CURE: Final = (
    "stop the processes that use it first: a salvage can't tell damage from a write under way"
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    salvage = commands.add(
        "salvage",
        _run,
        "get the certain sessions out of a damaged store that no process uses",
        about="The store is left as it is.  If the damaged part may have ended a session, that"
        " session is left out.",
        example="litesess salvage /srv/app/data /srv/app/data.new",
    )
    salvage.takes_store(writes=False).prints()
    salvage.add("target", metavar="TARGET", help="empty, or to be made; its parent must exist")


def _run(options: argparse.Namespace) -> int:
    damaged = located(options)
    with _alone(damaged), target.made(options.target, damaged) as new:
        new.claim()
        found, live = _rescued(damaged, new.path)
    holes = [str(hole) for hole in found.holes]
    words = (
        f"{output.counted(found.kept, 'session')} kept, of which {live} have not expired;"
        f" {found.doubtful} left out, because the damage may have ended them"
    )
    output.report(
        options,
        "\n".join([words, *(f"not readable: {output.printable(hole)}" for hole in holes)]),
        directory=new.path,
        kept=found.kept,
        live=live,
        doubtful=found.doubtful,
        holes=holes,
    )
    return Exit.DONE


def _rescued(damaged: Located, path: str) -> tuple[Salvaged, int]:
    with damaged.like(path) as rescued:
        with progress.bar("salvaging"):
            # By its path: no store can be opened on files that may begin with anything.
            found = rescued.salvage(
                damaged.path,
                collection=damaged.collection,
                encryption_key=damaged.key,
            )
        return found, len(rescued)


@contextmanager
def _alone(damaged: Located) -> Iterator[None]:
    """Keep all processes from opening the store, which no process may have open."""
    name = Names(damaged.collection).live
    directory = os.open(damaged.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = FileSystem.open(directory, name, str(Path(damaged.path, name)), write=False)
    except FileNotFoundError:  # the first process that opens the store makes it
        yield
        return
    finally:
        os.close(directory)
    try:
        if not FileLock.take(fd):
            raise Failure(Exit.LOCKED, f"{damaged.path} is in use; {_CURE}")
        yield
    finally:
        os.close(fd)
