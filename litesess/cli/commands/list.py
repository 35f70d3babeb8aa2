"""``litesess list``: the sessions, one on a line."""

from __future__ import annotations

import argparse

from litesess import ids
from litesess.cli import output
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import opened
from litesess.cli.sessions import bytes_of, sessions_of, summary
from litesess.stores.base import Record


def add_to(commands: Commands) -> None:
    """Add the command."""
    listing = commands.add(
        "list",
        _run,
        "list the sessions",
        about="Each with its handle, when it began, was seen last and ends, its size, and its"
        " owner.",
        example="litesess list --owner ada /srv/app/data",
    )
    listing.takes_store(writes=False).prints()
    listing.add("--owner", metavar="OWNER", help="only those of OWNER")


def _run(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as store:
        if not options.json:
            _print_heading()
        for key, record in sessions_of(store, options.owner):
            if options.json:
                output.print_json(summary(key, record))
            else:
                _print_session(key, record)
    return Exit.DONE


def _print_heading() -> None:
    widths = (("HANDLE", 16), ("BEGAN", 20), ("SEEN", 20), ("ENDS", 20), ("BYTES", 9), ("OWNER", 0))
    output.print_line(output.bold("  ".join(text.ljust(width) for text, width in widths)))


def _print_session(key: str, record: Record) -> None:
    output.print_row(
        [
            (ids.handle_of(key), 16),
            (output.instant(record.created_at), 20),
            ("" if record.last_seen_at is None else output.instant(record.last_seen_at), 20),
            (output.instant(record.expires_at), 20),
            (output.size(bytes_of(record)), 9),
            ("" if record.owner is None else output.printable(record.owner), 0),
        ]
    )
