"""Adding sessions to a store: which one, when they are durable, and the counts."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

from litesess.cli import output, stopping
from litesess.cli.arguments import Command
from litesess.cli.exits import Failure
from litesess.cli.opening import Located, LocatedDirectory
from litesess.ids import KEY_DIGITS
from litesess.stores.base import Record, Store


def take_arguments(command: Command) -> None:
    """Let *command* take a store to import into, which it may have to make."""
    command.takes_store(writes=True)
    command.takes_kind("with --create, the encryption key is", "a passphrase").prints()
    command.add(
        "--create",
        action="store_true",
        help="make the store if it does not exist; encrypted, if a key is given",
    )
    command.add("--dry-run", action="store_true", help="only check the sessions")


class Counts:
    """The counts of an import so far."""

    def __init__(self) -> None:
        self.created = self.existing = self.expired = 0

    def take(self, key: str, record: Record, store: Store | None) -> None:
        """Import a session unless it exists or has expired; without a store, only count it."""
        if record.expires_at <= time.time():
            self.expired += 1
        elif store is None or store.create(key, record):
            self.created += 1
        else:
            self.existing += 1

    def report(self, options: argparse.Namespace) -> None:
        """Print the counts."""
        created = output.counted(self.created, "session")
        rest = ", ".join(
            f"{count} {'there already' if name == 'existing' else name}"
            for name, count in vars(self).items()
            if name != "created"
        )
        done = "to import" if options.dry_run else "imported"
        output.report(options, f"{created} {done}, {rest}", **vars(self), dry_run=options.dry_run)


@contextmanager
def opened_for_import(found: Located) -> Iterator[Store]:
    """Open or make a store that was located.

    The imported sessions are durable when the block has ended, also by a bad line or a signal.

    Raises:
        LitesessError: it can't be used.
    """
    # Not durable one by one: no client waits for one of them.
    with found.open(durable=False) as store:
        try:
            yield store
        except (Failure, stopping.Stopped):
            _sync(found)
            raise
        _sync(found)


def _sync(found: Located) -> None:
    # Opening a store in a directory makes its sessions durable; nothing else promises to.
    if isinstance(found, LocatedDirectory):
        with stopping.deferred(), found.open() as again:
            again.load("0" * KEY_DIGITS)
