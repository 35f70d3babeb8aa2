"""``flask litesess ...``: the commands of ``litesess`` on the store of the app.

The command line ``litesess`` has more commands, and needs no app.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext


def _lent() -> ModuleType:
    from litesess.cli import lent  # noqa: PLC0415  # only the command line needs it, and no worker

    return lent


class _Group(AppGroup):
    """The commands, each a command of the command line that gets the store from the app."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of the commands."""
        return [*_lent().NAMES]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return the command of that name; None: it does not exist."""
        if name not in _lent().NAMES:
            return None

        # Click's own arguments and --help are off: the commands handle their words themselves.
        @click.command(
            name,
            short_help=_lent().summary(name),
            add_help_option=False,
            context_settings={"ignore_unknown_options": True},
        )
        @click.argument("words", nargs=-1, type=click.UNPROCESSED)
        @with_appcontext
        def command(words: Sequence[str]) -> None:
            store = current_app.extensions["litesess"].store
            sys.exit(_lent().run("flask litesess", store, [name, *words]))

        return command


commands = _Group("litesess", help="Look after the app's sessions.")
