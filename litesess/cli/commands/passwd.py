"""``litesess passwd``: change the passphrase or key that opens the store."""

from __future__ import annotations

import argparse

from litesess.cli import encryption, output
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import located_directory


def add_to(commands: Commands) -> None:
    """Add the command."""
    passwd = commands.add(
        "passwd",
        _run,
        "change the passphrase or key that opens the store",
        about="The sessions are not encrypted again, and running workers go on: give the new key"
        " to those that start later.  After a leak use rekey --new.",
        example="litesess passwd /srv/app/data",
    )
    passwd.takes_store(writes=True, not_in_redis=encryption.NOT_IN_REDIS)
    passwd.takes_new_key("the new encryption key").prints()


def _run(options: argparse.Namespace) -> int:
    # Order: a key file may be readable by root alone, so it comes before root becomes the owner.
    given = encryption.new_given(options)
    found = located_directory(options)
    with found.open() as store:
        kind = encryption.needed(found.kind, store.path)
        store.change_key(encryption.new_key(options, kind, given))
    output.report(options, "the new key opens the store, the former one no more", changed=True)
    return Exit.DONE
