"""``litesess gc``: delete the sessions that have expired."""

from __future__ import annotations

import argparse

from litesess.cli import output, progress
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import believe_clock, opened


def add_to(commands: Commands) -> None:
    """Add the command."""
    commands.add(
        "gc",
        _run,
        "delete the sessions that have expired",
        about="The workers do so by themselves; while one of them does, nothing is left to do.  The"
        " clock is believed: look at it first if it may be wrong.",
        example="litesess gc /srv/app/data",
    ).takes_store(writes=True).prints()


def _run(options: argparse.Namespace) -> int:
    with opened(options) as store, progress.bar("collecting"):
        believe_clock(store)
        count = store.collect()
    output.report(options, f"{output.counted(count, 'expired session')} deleted", deleted=count)
    return Exit.DONE
