"""``litesess revoke``: end sessions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from litesess.cli import output
from litesess.cli.arguments import Commands, handle
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import opened
from litesess.cli.sessions import no_such
from litesess.stores.base import Store


def add_to(commands: Commands) -> None:
    """Add the command."""
    revoke = commands.add(
        "revoke",
        _run,
        "end sessions",
        about="Requests that are under way do not bring them back.",
        example="litesess revoke /srv/app/data --owner ada",
    )
    revoke.takes_store(writes=True).prints()
    revoke.add(
        "handles", nargs="*", type=handle, metavar="HANDLE", help="of a session, as in `list`"
    )
    which = revoke.parser.add_mutually_exclusive_group()
    which.add_argument("--owner", metavar="OWNER", help="all sessions of OWNER")
    which.add_argument("--all", action="store_true", help="all sessions there are")


def _run(options: argparse.Namespace) -> int:
    if bool(options.handles) + (options.owner is not None) + options.all != 1:
        raise Failure(Exit.USAGE, "no sessions were named: give handles, or --owner, or --all")
    with opened(options) as store:
        if options.all:
            store.clear()
            output.report(options, "all sessions were revoked", revoked="all")
            return Exit.DONE
        missing: list[str] = []
        if options.owner is not None:
            count = store.delete_owner(options.owner)
        else:
            count = _delete(store, options.handles, missing)
        output.report(options, f"{output.counted(count, 'session')} revoked", revoked=count)
    if missing:
        raise no_such(", ".join(missing))
    return Exit.DONE


def _delete(store: Store, handles: Sequence[str], missing: list[str]) -> int:
    """Delete the sessions with these handles; return how many, and list the *missing* ones."""
    count = 0
    for each in handles:
        key = store.locate(each)
        if key is not None and store.delete(key):
            count += 1
        else:
            missing.append(each)
    return count
