"""``litesess secret``: print a new secret."""

from __future__ import annotations

import argparse

from litesess import ids
from litesess.cli import output
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit


def add_to(commands: Commands) -> None:
    """Add the command."""
    secret = commands.add(
        "secret",
        _run,
        "print a new secret for signing cookies",
        example="litesess secret --passphrase",
    )
    kinds = secret.parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--passphrase",
        dest="make",
        action="store_const",
        const=ids.new_passphrase,
        default=ids.new_secret,
        help="print a passphrase to encrypt a store by",
    )
    kinds.add_argument(
        "--key",
        dest="make",
        action="store_const",
        const=ids.new_secret,
        help="print 32 random bytes in hex, to encrypt a store by bytes.fromhex(...)",
    )
    secret.prints()


def _run(options: argparse.Namespace) -> int:
    secret = options.make()
    output.report(options, secret, secret=secret)
    return Exit.DONE
