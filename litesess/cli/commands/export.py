"""``litesess export``: write the sessions as JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from litesess.cli import lines, output, progress, reaching, stopping
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import located
from litesess.cli.owner import Identity, writing_to
from litesess.cli.sessions import sessions_of
from litesess.cli.target import is_same

_STDOUT: Final = "-"
_PART_SUFFIX: Final = ".part"


def add_to(commands: Commands) -> None:
    """Add the command."""
    export = commands.add(
        "export",
        _run,
        "write the sessions as JSON lines, values included",
        about="The values are the users' secrets, unencrypted: FILE is made readable for its owner"
        " alone.  If root runs this, that is the owner of the store.",
        example="litesess export /srv/app/data sessions.jsonl",
    )
    export.takes_store(writes=False).prints()
    export.add("file", nargs="?", default=_STDOUT, metavar="FILE", help="a new one; else stdout")
    export.add("--owner", metavar="OWNER", help="only those of OWNER")


def _run(options: argparse.Namespace) -> int:
    count = 0
    found = located(options)
    with (
        found.open(read_only=True) as store,
        _written(options.file, found.identity) as file,
        progress.bar("exporting", lambda: len(store)) as advance,
    ):
        for key, record in sessions_of(store, options.owner):
            file.write(lines.written(key, record))
            count += 1
            advance(1)
    if options.file != _STDOUT:
        words = f"{output.counted(count, 'session')} exported to {output.printable(options.file)}"
        output.report(options, words, file=options.file, exported=count)
    return Exit.DONE


@contextmanager
def _written(name: str, identity: Identity | None) -> Iterator[BinaryIO]:
    """Yield stdout for ``-``, or a file that gets its name when the block has ended well."""
    if name == _STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with ExitStack() as closing, ExitStack() as undo:
        cure = (
            "choose a directory that this user can write to, or let your shell make the file:"
            f" (umask 077; litesess export PATH > {name})"
        )
        wanted = Path(name)
        with stopping.deferred(), writing_to(name, identity, cure):
            above = reaching.directory(str(wanted.parent))
            closing.callback(os.close, above)
            part = f"{wanted.name}{_PART_SUFFIX}"
            if _exists(wanted.name, above):
                raise Failure(Exit.PATH, f"{name}: exists already; choose another name")
            if _exists(part, above):
                raise Failure(
                    Exit.PATH,
                    f"{name}{_PART_SUFFIX}: exists already; remove it, if no export writes it",
                )
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.fdopen(os.open(part, flags, 0o600, dir_fd=above), "wb")
            closing.callback(file.close)
            undo.callback(_remove, part, above, file)
        yield file
        file.flush()
        # Order: the bytes before the name, which says that they are complete.
        os.fsync(file.fileno())
        with stopping.deferred(), writing_to(name, identity, cure):
            os.rename(part, wanted.name, src_dir_fd=above, dst_dir_fd=above)
            undo.pop_all()
            stopping.too_late()


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _remove(name: str, directory: int, file: BinaryIO) -> None:
    """Remove the name, if it still leads to the file."""
    with suppress(FileNotFoundError):
        if is_same(file.fileno(), os.stat(name, dir_fd=directory, follow_symlinks=False)):
            os.unlink(name, dir_fd=directory)
