"""``litesess completion``: let a shell complete commands and options."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure

_SHELLS: Final = ("bash", "zsh", "fish", "tcsh")
_DIRECTORIES: Final = frozenset({"address", "source", "dest", "directory", "target"})
_FILES: Final = frozenset({"key_file", "new_key_file", "file", "files"})


def add_to(commands: Commands) -> None:
    """Add the command."""
    completion = commands.add(
        "completion",
        _run,
        "print the shell code that completes commands and options",
        about="It needs shtab, of the extra litesess[cli].",
        example='eval "$(litesess completion bash)"',
    )
    completion.add("shell", choices=_SHELLS, help="which shell")


def _run(options: argparse.Namespace) -> int:
    try:
        import shtab  # noqa: PLC0415  # an optional package, and --help loads this module without it
    except ImportError as error:
        raise Failure(
            Exit.USAGE, "shell completion needs shtab; pip install 'litesess[cli]'"
        ) from error
    commands: Commands = options.commands
    commands.load_all()
    hints = dict.fromkeys(_DIRECTORIES, shtab.DIRECTORY) | dict.fromkeys(_FILES, shtab.FILE)
    for argument in commands.arguments:
        if argument.dest in hints:
            # shtab looks for it here; argparse declares no such attribute.
            argument.complete = hints[argument.dest]
    sys.stdout.write(shtab.complete(commands.parser, options.shell) + "\n")
    return Exit.DONE
