"""``litesess compact``: give back the room of deleted sessions."""

from __future__ import annotations

import argparse

from litesess.cli import output, progress
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import opened


def add_to(commands: Commands) -> None:
    """Add the command."""
    commands.add(
        "compact",
        _run,
        "give back the room of deleted sessions",
        about="It needs room for one more copy of the store meanwhile.",
        example="litesess compact /srv/app/data",
    ).takes_store(writes=True).prints()


def _run(options: argparse.Namespace) -> int:
    with opened(options) as source:
        before = progress.size_of(source.store)
        with progress.rewriting("compacting", source.store, source.located.collection):
            source.store.compact()
        after = progress.size_of(source.store)
    output.report(
        options,
        f"{output.size(before)} before, {output.size(after)} after",
        before_bytes=before,
        after_bytes=after,
    )
    return Exit.DONE
