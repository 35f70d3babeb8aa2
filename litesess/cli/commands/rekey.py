"""``litesess rekey``: encrypt the whole store again, under another random key."""

from __future__ import annotations

import argparse

from litesess.cli import encryption, output, progress
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import located_directory


def add_to(commands: Commands) -> None:
    """Add the command."""
    rekey = commands.add(
        "rekey",
        _run,
        "encrypt everything again, under another random key",
        about="With --new or --new-key-file the passphrase or key that opens the store is"
        " replaced, too; then restart the workers, which have only the former one.",
        example="litesess rekey /srv/app/data",
    )
    rekey.takes_store(writes=True, not_in_redis=encryption.NOT_IN_REDIS)
    rekey.takes_new_key("the new encryption key").prints()
    rekey.add("--new", action="store_true", help="replace the key that opens the store, too")


def _run(options: argparse.Namespace) -> int:
    wants_new = options.new or options.new_key_file is not None
    # Order: a key file may be readable by root alone, so it comes before root becomes the owner.
    given = encryption.new_given(options) if wants_new else None
    found = located_directory(options)
    with found.open() as store:
        kind = encryption.needed(found.kind, store.path)
        new = encryption.new_key(options, kind, given) if wants_new else None
        with progress.rewriting("encrypting again", store):
            store.rekey(new)
    also = "; restart the workers, which have only the former key" if wants_new else ""
    output.report(options, f"everything is encrypted again{also}", rekeyed=True, new_key=wants_new)
    return Exit.DONE
