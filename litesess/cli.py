"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from litesess import ids


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: what stands behind ``litesess``; None: this process's.
    """
    parser = argparse.ArgumentParser(prog="litesess", description="Sessions for WSGI apps.")
    parser.add_argument("--version", action="version", version=f"litesess {version('litesess')}")
    commands = parser.add_subparsers(dest="command", required=True)
    secret = commands.add_parser("secret", help="print a new secret for signing cookies")
    kinds = secret.add_mutually_exclusive_group()
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
    sys.stdout.write(f"{parser.parse_args(arguments).make()}\n")
    return 0
