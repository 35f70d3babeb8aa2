"""``litesess import``: add the sessions that ``export`` has written."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import BinaryIO, Final

from litesess.cli import importing, lines, output, progress, reaching
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import located
from litesess.errors import EncodeError
from litesess.stores.base import Store

_STDIN: Final = "-"
#: More than any line has: a session has at most 1 MiB.
_MOST_BYTES: Final = 1 << 24

Source = tuple[str, BinaryIO]


def add_to(commands: Commands) -> None:
    """Add the command."""
    imports = commands.add(
        "import",
        _run,
        "add the sessions that export has written, unless they exist already",
        about="Each line is checked as a whole.  The first wrong line ends the import; the lines"
        " before it are imported.  To import again is harmless.",
        example="litesess import --create /srv/new/data sessions.jsonl",
    )
    importing.take_arguments(imports)
    imports.add("files", nargs="*", metavar="FILE", help="else from stdin")


def _run(options: argparse.Namespace) -> int:
    counts = importing.Counts()
    # Order: open the files first: they may be readable by root alone, which becomes the owner.
    with _read(options.files or [_STDIN]) as sources:
        if options.dry_run:
            _take_all(sources, counts, None)
        else:
            found = located(options, create=options.create)
            with importing.opened_for_import(found) as store:
                _take_all(sources, counts, store)
    counts.report(options)
    return Exit.DONE


@contextmanager
def _read(names: Sequence[str]) -> Iterator[list[Source]]:
    with ExitStack() as stack:
        yield [(name, stack.enter_context(_opened(name))) for name in names]


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if name == _STDIN else reaching.reading(name)


def _take_all(sources: list[Source], counts: importing.Counts, store: Store | None) -> None:
    with progress.bar("importing", lambda: _bytes_of(sources), in_bytes=True) as advance:
        for name, file in sources:
            for number, line in enumerate(iter(partial(file.readline, _MOST_BYTES), b""), 1):
                try:
                    if len(line) == _MOST_BYTES:
                        raise lines.BadLine(f"has {_MOST_BYTES} bytes or more")
                    if not line.isspace():
                        counts.take(*lines.read(line), store)
                except (lines.BadLine, EncodeError) as error:
                    raise _bad_line(name, number, error, counts) from error
                advance(len(line))


def _bytes_of(sources: list[Source]) -> int | None:
    """Return the length of all files in bytes; None: one is no regular file."""
    found = [os.fstat(file.fileno()) for _, file in sources]
    is_known = all(stat.S_ISREG(status.st_mode) for status in found)
    return sum(status.st_size for status in found) if is_known else None


def _bad_line(name: str, number: int, error: Exception, counts: importing.Counts) -> Failure:
    where = "stdin" if name == _STDIN else name
    so_far = output.counted(counts.created, "session")
    return Failure(Exit.BAD_LINE, f"{where} line {number}: {error}; before it {so_far} imported")
