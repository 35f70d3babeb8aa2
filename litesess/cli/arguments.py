"""What each command takes, and what its ``--help`` says."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from textwrap import fill
from typing import Any, Final

from litesess.cli.encryption import NEW_VARIABLE, VARIABLE, Kind
from litesess.cli.exits import Exit
from litesess.engine import is_collection
from litesess.ids import HANDLE_DIGITS

Run = Callable[[argparse.Namespace], int]

_HANDLE: Final = re.compile(rf"[0-9a-f]{{{HANDLE_DIGITS}}}\Z")
_SUMMARY: Final = "Looks after the sessions of WSGI apps, while these use them."


class _Intermixed(argparse.ArgumentParser):
    """A parser that takes options between the arguments, too: ``import PATH --create FILE``.

    By itself argparse is content, on its way to the option, with no FILE at all.
    """

    _is_inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what there is, in any order."""
        if self._is_inside:
            return super().parse_known_args(args, namespace)
        self._is_inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_inside = False


class Commands:
    """The commands, one parser each."""

    def __init__(self) -> None:
        #: Those of all commands, for the completion by shells.
        self._arguments: list[Any] = []
        self.parser = argparse.ArgumentParser(
            prog="litesess",
            description=_SUMMARY,
            epilog=_exit_codes(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.parser.add_argument(
            "--version", action="version", version=f"litesess {version('litesess')}"
        )
        self._parsers = self.parser.add_subparsers(
            dest="command",
            required=True,
            metavar="COMMAND",
            title="commands",
            parser_class=_Intermixed,
        )

    def add(self, name: str, run: Run, summary: str, *, about: str = "", example: str) -> Command:
        """Add a command.

        Args:
            name: what it is called by.
            run: does it and returns the exit status.
            summary: what it does, in a line.
            about: what else is to be known, for its ``--help``.
            example: of its use; what stands behind ``litesess``.
        """
        parts = (f"{summary}.", about) if about else (f"{summary}.",)
        parser = self._parsers.add_parser(
            name,
            help=summary,
            description="\n\n".join(fill(f"{text[:1].upper()}{text[1:]}", 79) for text in parts),
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=run)
        return Command(parser, self._arguments)

    def run(self, arguments: Sequence[str] | None) -> int:
        """Run the command that *arguments* name; return its exit status."""
        options = self.parser.parse_args(arguments)
        options.parser = self.parser
        options.arguments = self._arguments
        run: Run = options.run
        return run(options)


class Command:
    """One command's parser, and the arguments that several commands share."""

    def __init__(self, parser: argparse.ArgumentParser, arguments: list[Any]) -> None:
        self.parser = parser
        self._arguments = arguments

    def add(self, *names: str, **settings: Any) -> None:
        """Add an argument of this command alone; see ``ArgumentParser.add_argument``."""
        self._arguments.append(self.parser.add_argument(*names, **settings))

    def takes_store(self, *, writes: bool) -> Command:
        """Let it be told which store, and by which key."""
        self.add("path", metavar="PATH", help="the store's directory")
        self.add(
            "--collection",
            type=_collection,
            default="sessions",
            metavar="NAME",
            help="what the files' names begin with (default: sessions)",
        )
        self.add(
            "--key-file",
            metavar="FILE",
            help=f"file with the encryption key; else {VARIABLE} is used, else it is asked for",
        )
        if writes:
            self.add(
                "--lock-timeout",
                type=_seconds,
                default=10.0,
                metavar="SECONDS",
                help="how long to wait for another process to let go (default: 10)",
            )
        return self

    def takes_new_key(self, purpose: str) -> Command:
        """Let it be told a new encryption key."""
        self.add(
            "--new-key-file",
            metavar="FILE",
            help=f"file with {purpose}; else {NEW_VARIABLE} is used, else it is asked for",
        )
        return self.takes_kind(f"{purpose} is", "the kind that the store has")

    def takes_kind(self, which: str, default: str) -> Command:
        """Let it be told what kind of key the new one is."""
        kinds = self.parser.add_mutually_exclusive_group()
        kinds.add_argument(
            "--passphrase",
            dest="kind",
            action="store_const",
            const=Kind.PASSPHRASE,
            help=f"{which} a passphrase (default: {default})",
        )
        kinds.add_argument(
            "--raw-key",
            dest="kind",
            action="store_const",
            const=Kind.RAW,
            help=f"{which} 32 bytes, as they are or as 64 hex digits",
        )
        return self

    def prints(self) -> Command:
        """Let it print JSON."""
        self.add("--json", action="store_true", help="print JSON, one object on a line")
        return self


def handle(text: str) -> str:
    """Check a handle from the command line."""
    if not _HANDLE.match(text):
        # Not repeated: somebody may have pasted a session id.
        raise argparse.ArgumentTypeError(f"a handle is {HANDLE_DIGITS} digits of 0-9 a-f")
    return text


def _collection(text: str) -> str:
    if not is_collection(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def interval(text: str) -> float:
    """Check how often something is done, in seconds."""
    seconds = _seconds(text)
    if seconds < 0.1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 0.1 seconds")
    return seconds


def _exit_codes() -> str:
    codes = "\n".join(f"  {code.value:3}  {code.meaning}" for code in Exit)
    return f"exit status:\n{codes}\n\n`litesess COMMAND --help` shows an example of each."
