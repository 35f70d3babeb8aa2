"""The commands on a store that an app has open, for a framework's own command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from litesess.cli import MODULES
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure, guarded
from litesess.stores.wal import WALStore

if TYPE_CHECKING:
    from litesess.stores.base import Store

#: The commands that look after the store of one app.
NAMES: Final = ("stats", "list", "show", "verify", "revoke", "gc", "compact")


def summary(name: str) -> str:
    """Return a command's description, in one line."""
    return Commands(MODULES).summary(name)


def run(program: str, store: Store, words: Sequence[str]) -> int:
    """Run a command on the store of an app; return its exit status.

    Args:
        program: the program that the operator ran, such as ``"flask litesess"``.
        store: the app's.
        words: the command and its arguments.

    Raises:
        SystemExit: for ``--help`` and a wrong command line.
    """
    modules = {name: MODULES[name] for name in NAMES}

    def work() -> int:
        if isinstance(store, WALStore):
            _check_user(store.path)
        return Commands(modules, prog=program, lent=store).run(words)

    return guarded(work)


def _check_user(path: str) -> None:
    """Refuse to make a directory that workers of another user could not enter.

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
