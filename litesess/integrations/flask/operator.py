"""The commands of ``litesess`` on the store of a Flask app, for its operator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from flask import current_app

from litesess.cli import MODULES
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure, guarded
from litesess.stores import Store, WALStore

_PROGRAM: Final = "flask litesess"


def summary(name: str) -> str:
    """Return what a command does, in a line."""
    return _commands(None).summary(name)


def _commands(store: Store | None) -> Commands:
    return Commands(MODULES, prog=_PROGRAM, lent=store)


def run(words: Sequence[str]) -> int:
    """Run a command on the store of the app; return its exit code."""
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
    directory = Path(path)
    while not directory.exists():
        directory = directory.parent
    owner = directory.stat().st_uid
    if os.geteuid() == 0 != owner:
        raise Failure(
            Exit.PATH,
            f"{directory} belongs to uid {owner}, and this is root; run the command as that user",
        )
