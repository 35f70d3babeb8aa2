"""The commands that need no store: secret, completion."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from litesess import ids
from litesess.cli import output
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure

_SHELLS: Final = ("bash", "zsh", "fish", "tcsh")
_DIRECTORIES: Final = frozenset({"path", "directory", "target"})
_FILES: Final = frozenset({"key_file", "new_key_file", "file", "files"})


def add_to(commands: Commands) -> None:
    """Add these commands."""
    secret = commands.add(
        "secret",
        _secret,
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
    completion = commands.add(
        "completion",
        _completion,
        "print what lets a shell complete commands and options",
        about="It needs shtab, of the extra litesess[cli].",
        example='eval "$(litesess completion bash)"',
    )
    completion.add("shell", choices=_SHELLS, help="which shell")


def _secret(options: argparse.Namespace) -> int:
    secret = options.make()
    if options.json:
        output.print_json({"secret": secret})
    else:
        output.print_line(secret)
    return Exit.DONE


def _completion(options: argparse.Namespace) -> int:
    try:
        import shtab  # noqa: PLC0415  # optional (litesess[cli]); only this command needs it
    except ImportError as error:
        raise Failure(
            Exit.USAGE, "shell completion needs shtab; pip install 'litesess[cli]'"
        ) from error
    hints = dict.fromkeys(_DIRECTORIES, shtab.DIRECTORY) | dict.fromkeys(_FILES, shtab.FILE)
    for argument in options.arguments:
        if argument.dest in hints:
            # Where shtab looks for it; argparse declares no such attribute.
            argument.complete = hints[argument.dest]
    sys.stdout.write(shtab.complete(options.parser, options.shell) + "\n")
    return Exit.DONE
