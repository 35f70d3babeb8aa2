"""``litesess stats``: how many sessions there are and how large the store is."""

from __future__ import annotations

import argparse
import sys
import time

from litesess.cli import output
from litesess.cli.arguments import Commands, interval
from litesess.cli.exits import Exit
from litesess.cli.opening import Opened, opened


def add_to(commands: Commands) -> None:
    """Add the command."""
    stats = commands.add(
        "stats",
        _run,
        "say how many sessions there are and how large the store is",
        example="litesess stats --watch /srv/app/data",
    )
    stats.takes_store(writes=False).prints()
    stats.add("--watch", action="store_true", help="again and again, until Ctrl-C")
    stats.add(
        "--interval",
        type=interval,
        default=2.0,
        metavar="SECONDS",
        help="with --watch, between two looks (default: 2)",
    )


def _run(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as source:
        _print(source, options)
        while options.watch:
            sys.stdout.flush()
            time.sleep(options.interval)
            if not options.json:
                # On a terminal from the top again; elsewhere one after the other.
                output.print_line("\x1b[H\x1b[2J" if output.is_terminal(sys.stdout) else "")
            _print(source, options)
    return Exit.DONE


def _print(source: Opened, options: argparse.Namespace) -> None:
    stats = source.store.stats()
    facts = {
        "path": source.store.path,
        "collection": source.located.collection,
        "encrypted": source.located.kind is not None,
        "live": stats.live,
        "expired": stats.expired,
        "log_bytes": stats.log_bytes,
        "snapshot_bytes": stats.snapshot_bytes,
        "generation": stats.generation,
        "poisoned": stats.is_poisoned,
    }
    output.print_facts(facts, as_json=options.json)
