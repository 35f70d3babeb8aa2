"""``litesess stats``: how many sessions there are and how large the store is."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, Final

from litesess.cli import output
from litesess.cli.arguments import Commands, interval
from litesess.cli.exits import Exit
from litesess.cli.opening import opened
from litesess.stores.base import Store
from litesess.stores.wal import WALStore

_NUMBERS: Final = (
    "live", "expired", "passed_over", "maxmemory_policy", "log_bytes", "snapshot_bytes",
    "generation", "is_poisoned",
)  # fmt: skip


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
    with opened(options, read_only=True) as store:
        _print(store, options)
        while options.watch:
            sys.stdout.flush()
            time.sleep(options.interval)
            if not options.json:
                # On a terminal from the top again; elsewhere one after the other.
                output.print_line("\x1b[H\x1b[2J" if output.is_terminal(sys.stdout) else "")
            _print(store, options)
    return Exit.DONE


def _print(store: Store, options: argparse.Namespace) -> None:
    facts = {**_name(store, options), **_numbers(store)}
    output.print_facts(facts, as_json=options.json)


def _name(store: Store, options: argparse.Namespace) -> dict[str, Any]:
    if isinstance(store, WALStore):
        return {"path": store.path, "collection": store.collection, "encrypted": store.is_encrypted}
    if options.lent is not None:
        return {"store": type(store).__name__}
    address = options.address
    encrypted = getattr(store, "is_encrypted", None)
    return {"address": address.shown, "prefix": address.prefix, "encrypted": encrypted}


def _numbers(store: Store) -> dict[str, Any]:
    """Return the numbers that the store has; each has sessions."""
    count = getattr(store, "stats", None)
    if count is None:
        return {"live": len(store)}
    stats = count()
    found = {name: getattr(stats, name) for name in _NUMBERS if hasattr(stats, name)}
    return {name.removeprefix("is_"): value for name, value in found.items()}
