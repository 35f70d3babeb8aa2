"""``litesess compact``: give back the room of deleted sessions."""

from __future__ import annotations

import argparse
from typing import Final

from litesess.cli import output, progress
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import believe_clock, opened_directory

_NOT_IN_REDIS: Final = "Redis gives back the memory of deleted sessions by itself"


def add_to(commands: Commands) -> None:
    """Add the command."""
    commands.add(
        "compact",
        _run,
        "give back the room of deleted sessions",
        about="It needs room for one more copy of the store meanwhile.",
        example="litesess compact /srv/app/data",
    ).takes_store(writes=True, not_in_redis=_NOT_IN_REDIS).prints()


def _run(options: argparse.Namespace) -> int:
    with opened_directory(options) as store:
        believe_clock(store)
        before = progress.size_of(store)
        with progress.rewriting("compacting", store):
            store.compact()
        after = progress.size_of(store)
    output.report(
        options,
        f"{output.size(before)} before, {output.size(after)} after",
        before_bytes=before,
        after_bytes=after,
    )
    return Exit.DONE
