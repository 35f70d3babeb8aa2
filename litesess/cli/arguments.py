"""The arguments of each command, and its ``--help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final, NoReturn

from litesess.cli import address, stopping
from litesess.cli.encryption import NEW_VARIABLE, VARIABLE, Kind
from litesess.cli.exits import Exit
from litesess.cli.output import without_secrets
from litesess.engine import is_collection
from litesess.ids import HANDLE_DIGITS, is_handle

if TYPE_CHECKING:
    from litesess.stores.base import Store

Run = Callable[[argparse.Namespace], int]

_SUMMARY: Final = "Looks after the sessions of WSGI apps, while these use them."


_ADDRESSES: Final = """\
STORE is a directory or in Redis:
  PATH or wal:PATH[?collection=NAME]
  redis://HOST[:PORT][/DB][?prefix=PREFIX], rediss://..., unix://PATH,
  redis+sentinel://HOST:PORT,.../SERVICE[/DB], redis+cluster://HOST:PORT,..."""


class _Parser(argparse.ArgumentParser):
    """A parser that hides the passwords of addresses in its errors."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit."""
        super().error(without_secrets(message))


class _Intermixed(_Parser):
    """A parser that takes options between the arguments, too: ``import STORE --create FILE``.

    By itself argparse takes no FILE at all on its way to the option.
    """

    _is_inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments in any order."""
        if self._is_inside:
            return super().parse_known_args(args, namespace)
        self._is_inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_inside = False


class Commands:
    """The commands, each with a parser of its own, from modules that are loaded when needed.

    Attributes:
        parser: of the whole command line.
        arguments: of all loaded commands, for the completion by shells.
    """

    def __init__(
        self, modules: Mapping[str, str], *, prog: str = "litesess", lent: Store | None = None
    ) -> None:
        """Take the command line's commands.

        Args:
            modules: the module of each command, by the command's name; its function ``add_to``
                adds the command.
            prog: the name of the program.
            lent: the open store of an app, in place of one that the command line names.
        """
        self._modules = dict(modules)
        self._summaries: dict[str, str] = {}
        self._lent = lent
        self.arguments: list[Any] = []
        self.parser = _Parser(
            prog=prog,
            description=_SUMMARY,
            epilog=_exit_codes() if lent is not None else f"{_ADDRESSES}\n\n{_exit_codes()}",
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
            name: its name on the command line.
            run: does its work and returns the exit status.
            summary: one line of help.
            about: the rest of its ``--help``.
            example: a command line.
        """
        parts = (f"{summary}.", about) if about else (f"{summary}.",)
        parser = self._parsers.add_parser(
            name,
            help=summary,
            description="\n\n".join(fill(f"{text[:1].upper()}{text[1:]}", 79) for text in parts),
            epilog=f"example:\n  {example}" if self._lent is None else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=run, lent=self._lent)
        self._summaries[name] = summary
        return Command(parser, self.arguments)

    def run(self, arguments: Sequence[str] | None) -> int:
        """Run the command that *arguments* name; return its exit status.

        Args:
            arguments: the words after the program's name; None: those of this process.

        Raises:
            SystemExit: for ``--help`` and a wrong command line.
        """
        # A signal waits until argparse is done, which would replace its exception by another one.
        with stopping.deferred():
            options = self._parsed(sys.argv[1:] if arguments is None else arguments)
        run: Run = options.run
        return run(options)

    def _parsed(self, words: Sequence[str]) -> argparse.Namespace:
        if words and words[0] in self._modules:
            self._load(words[0])
        else:
            self.load_all()
        options = self.parser.parse_args(words)
        options.commands = self
        return options

    def summary(self, name: str) -> str:
        """Return the line of help of the command *name*."""
        self._load(name)
        return self._summaries[name]

    def load_all(self) -> None:
        """Load the commands that were not loaded yet, in their order."""
        for name in [*self._modules]:
            self._load(name)

    def _load(self, name: str) -> None:
        module: Any = import_module(self._modules.pop(name))
        module.add_to(self)


class Command:
    """One command's parser, and the arguments that several commands share."""

    def __init__(self, parser: argparse.ArgumentParser, arguments: list[Any]) -> None:
        self.parser = parser
        self._arguments = arguments

    def add(self, *names: str, **settings: Any) -> None:
        """Add an argument of this command alone; see ``ArgumentParser.add_argument``."""
        self._arguments.append(self.parser.add_argument(*names, **settings))

    def takes_store(self, *, writes: bool, not_in_redis: str = "") -> Command:
        """Let it take the address of a store, and its key; an app lends its store instead.

        Args:
            writes: it waits for other processes that write.
            not_in_redis: why it works in directories alone; a sentence with the way to do without.
        """
        self.parser.set_defaults(not_in_redis=not_in_redis)
        if self.parser.get_default("lent") is not None:
            return self
        self.add(
            "address",
            type=address.parse,
            metavar="PATH" if not_in_redis else "STORE",
            help="the store's directory" if not_in_redis else "a directory, or a URL of Redis",
        )
        self.add(
            "--collection",
            type=_collection,
            metavar="NAME",
            help="first part of the files' names in a directory (default: sessions)",
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
                help="longest wait for other processes (default: 10)",
            )
        return self

    def takes_new_key(self, purpose: str) -> Command:
        """Let it take a new encryption key."""
        self.add(
            "--new-key-file",
            metavar="FILE",
            help=f"file with {purpose}; else {NEW_VARIABLE} is used, else it is asked for",
        )
        return self.takes_kind(f"{purpose} is", "the kind that the store has")

    def takes_kind(self, which: str, default: str) -> Command:
        """Let it take the kind of the new key."""
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
    if not is_handle(text):
        # The text is not repeated: it may be a session id.
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
    """Check an interval in seconds."""
    seconds = _seconds(text)
    if seconds < 0.1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 0.1 seconds")
    return seconds


def _exit_codes() -> str:
    codes = "\n".join(f"  {code.value:3}  {code.meaning}" for code in Exit)
    return f"exit status:\n{codes}\n\n`litesess COMMAND --help` shows an example of each."
