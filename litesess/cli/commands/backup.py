"""``litesess backup``: copy the store, which may be in use."""

from __future__ import annotations

import argparse
from typing import Final

from litesess.cli import output, progress, target
from litesess.cli.address import parse_directory
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import located_directory

_NOT_IN_REDIS: Final = (
    "Redis makes its own backups (BGSAVE); `litesess export` writes the sessions to a file, and"
    " `litesess copy` copies them to a directory"
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    backup = commands.add(
        "backup",
        _run,
        "copy the store, in use, into an empty directory",
        about="Everything acknowledged before is in the copy.  It is read from end to end, and"
        " opened as a store.  To go back to it, stop the workers and put it in the place of the"
        " store.",
        example="litesess backup /srv/app/data /var/backups/sessions",
    )
    backup.takes_store(writes=True, not_in_redis=_NOT_IN_REDIS).prints()
    backup.add(
        "directory",
        type=parse_directory,
        metavar="DIR",
        help="empty, or to be made; its parent must exist",
    )


def _run(options: argparse.Namespace) -> int:
    found = located_directory(options)
    with found.open() as store, target.made(options.directory, found) as copy:
        beginning = f"{store.collection}."
        with progress.bar(
            "copying",
            lambda: progress.bytes_in(store.path, beginning),
            done=lambda: progress.bytes_in(copy.path, beginning),
            in_bytes=True,
        ):
            store.backup(copy.path)
        # Before this line the store itself has removed a copy that failed.
        copy.claim_all()
        with found.like(copy.path, read_only=True) as copied:
            live = copied.stats().live
    output.report(
        options,
        f"{output.counted(live, 'session')} in {output.printable(copy.path)}",
        directory=copy.path,
        live=live,
    )
    return Exit.DONE
