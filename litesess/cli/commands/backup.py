"""``litesess backup``: copy the store, which may be in use."""

from __future__ import annotations

import argparse

from litesess.cli import output, progress, target
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import opened


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
    backup.takes_store(writes=True).prints()
    backup.add("directory", metavar="DIR", help="empty, or to be made; its parent must exist")


def _run(options: argparse.Namespace) -> int:
    with opened(options) as source, target.made(options.directory, source.located) as copy:
        beginning = f"{source.located.collection}."
        with progress.bar(
            "copying",
            lambda: progress.bytes_in(source.store.path, beginning),
            done=lambda: progress.bytes_in(copy.path, beginning),
            in_bytes=True,
        ):
            source.store.backup(copy.path)
        # Before this line the store itself has removed a copy that failed.
        copy.claim_all()
        with source.located.like(copy.path, read_only=True) as store:
            live = store.stats().live
    output.report(
        options,
        f"{output.counted(live, 'session')} in {output.printable(copy.path)}",
        directory=copy.path,
        live=live,
    )
    return Exit.DONE
