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
    commands.add_parser("secret", help="print a new secret for signing cookies")
    parser.parse_args(arguments)
    sys.stdout.write(f"{ids.new_secret()}\n")
    return 0
