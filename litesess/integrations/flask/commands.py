"""``flask litesess ...``: the commands of ``litesess`` on the store of the app.

The command line ``litesess`` has more commands, and needs no app.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from litesess.stores.wal import WALStore

if TYPE_CHECKING:
    from litesess.cli.arguments import Commands
    from litesess.stores.base import Store

_PROGRAM: Final = "flask litesess"
_NAMES: Final = ("stats", "list", "show", "verify", "revoke", "gc", "compact")


class _Group(AppGroup):
    """The commands, each a command of the command line that gets the store from the app."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of the commands."""
        return [*_NAMES]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return a command; None: there is none of that name."""
        if name not in _NAMES:
            return None

        # Not click's own arguments and --help: those of the command line are the same for both.
        @click.command(
            name,
            short_help=_commands(None).summary(name),
            add_help_option=False,
            context_settings={"ignore_unknown_options": True},
        )
        @click.argument("words", nargs=-1, type=click.UNPROCESSED)
        @with_appcontext
        def command(words: Sequence[str]) -> None:
            sys.exit(_run([name, *words]))

        return command


commands = _Group("litesess", help="Look after the app's sessions.")


def _commands(store: Store | None) -> Commands:
    # Imported here: only an operator needs it, no worker.
    from litesess.cli import MODULES  # noqa: PLC0415
    from litesess.cli.arguments import Commands  # noqa: PLC0415

    return Commands({name: MODULES[name] for name in _NAMES}, prog=_PROGRAM, lent=store)


def _run(words: Sequence[str]) -> int:
    from litesess.cli.exits import guarded  # noqa: PLC0415  # as above

    store: Store = current_app.extensions["litesess"].store

    def work() -> int:
        if isinstance(store, WALStore):
            _check_user(store.path)
        return _commands(store).run(words)

    return guarded(work)


def _check_user(path: str) -> None:
    """Refuse to make a directory that the workers, who run as another user, could not enter.

    The store itself refuses a directory that exists.  Root can't become the owner here, as on the
    command line: the app's own code has run as root already.

    Raises:
        Failure: root runs the command, and another user owns the nearest directory.
    """
    from litesess.cli.exits import Exit, Failure  # noqa: PLC0415  # as above

    directory = Path(path)
    while not directory.exists():
        directory = directory.parent
    owner = directory.stat().st_uid
    if os.geteuid() == 0 != owner:
        raise Failure(
            Exit.PATH,
            f"{directory} belongs to uid {owner}, and this is root; run the command as that user",
        )
