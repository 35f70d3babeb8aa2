"""The commands that carry sessions as JSON lines: export, import."""

from __future__ import annotations

import argparse
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from litesess.cli import lines, output, progress, reaching, stopping
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit, Failure
from litesess.cli.looking import sessions_of
from litesess.cli.opening import Opened, located, opened
from litesess.cli.owner import Identity, writing_to
from litesess.cli.target import is_same
from litesess.errors import EncodeError
from litesess.ids import KEY_DIGITS
from litesess.stores.base import Record
from litesess.stores.wal import WALStore

_STANDARD: Final = "-"
_PART_SUFFIX: Final = ".part"
#: No line is as long: a session has at most 1 MiB.
_MOST_BYTES: Final = 1 << 24


def add_to(commands: Commands) -> None:
    """Add these commands."""
    export = commands.add(
        "export",
        _export,
        "write the sessions as JSON lines, values included",
        about="The values are the users' secrets, in the clear: FILE is made for its owner alone to"
        " read.  If root runs this, that is the owner of the store.",
        example="litesess export /srv/app/data sessions.jsonl",
    )
    export.takes_store(writes=False).prints()
    export.add(
        "file", nargs="?", default=_STANDARD, metavar="FILE", help="a new one; else to stdout"
    )
    export.add("--owner", metavar="OWNER", help="only those of OWNER")
    imports = commands.add(
        "import",
        _import,
        "add sessions that export has written, as far as they are not there",
        about="Each line is checked as a whole; at the first that is wrong it stops, and what"
        " stands before is imported.  Once more is harmless.",
        example="litesess import --create /srv/new/data sessions.jsonl",
    )
    imports.takes_store(writes=True)
    imports.takes_kind("with --create, the encryption key is", "a passphrase").prints()
    imports.add("files", nargs="*", metavar="FILE", help="else from stdin")
    imports.add(
        "--create",
        action="store_true",
        help="make the store if it is not there; encrypted, if a key is given",
    )
    imports.add("--dry-run", action="store_true", help="only check each line")


def _export(options: argparse.Namespace) -> int:
    count = 0
    with (
        opened(options, read_only=True) as source,
        _written(options.file, source.place.identity) as file,
    ):
        store = source.store
        with progress.bar("exporting", lambda: len(store)) as advance:
            for key, record in sessions_of(store, options.owner):
                file.write(lines.written(key, record))
                count += 1
                advance(1)
    if options.file == _STANDARD:
        return Exit.DONE
    if options.json:
        output.print_json({"file": options.file, "exported": count})
    else:
        words = output.counted(count, "session")
        output.print_line(f"{words} exported to {output.printable(options.file)}")
    return Exit.DONE


@contextmanager
def _written(name: str, identity: Identity | None) -> Iterator[BinaryIO]:
    """Have a file that gets its name when the block has come to its end, or stdout for ``-``."""
    if name == _STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with ExitStack() as closing, ExitStack() as undo:
        cure = (
            "choose a directory that this user can write to, or let your shell make the file:"
            f" (umask 077; litesess export PATH > {name})"
        )
        there = Path(name)
        with stopping.held(), writing_to(name, identity, cure):
            above = reaching.directory(str(there.parent))
            closing.callback(os.close, above)
            part = f"{there.name}{_PART_SUFFIX}"
            if _is_there(there.name, above):
                raise Failure(Exit.PATH, f"{name}: is there already; choose another name")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.fdopen(os.open(part, flags, 0o600, dir_fd=above), "wb")
            closing.callback(file.close)
            undo.callback(_remove, part, above, file)
        yield file
        file.flush()
        # Order: the bytes before the name, which says that they are all there.
        os.fsync(file.fileno())
        with stopping.held(), writing_to(name, identity, cure):
            os.rename(part, there.name, src_dir_fd=above, dst_dir_fd=above)
            undo.pop_all()
            stopping.too_late()


def _is_there(name: str, directory: int) -> bool:
    try:
        os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _remove(name: str, directory: int, file: BinaryIO) -> None:
    """Take the name away, if it is still that of the file."""
    with suppress(FileNotFoundError):
        if is_same(file.fileno(), os.stat(name, dir_fd=directory, follow_symlinks=False)):
            os.unlink(name, dir_fd=directory)


class _Counts:
    """What an import has done so far."""

    def __init__(self) -> None:
        self.created = self.existing = self.expired = 0

    def take(self, key: str, record: Record, store: WALStore | None) -> None:
        """Import a session, if it is not there and has not expired; without a store only count."""
        if record.expires_at <= time.time():
            self.expired += 1
        elif store is None or store.create(key, record):
            self.created += 1
        else:
            self.existing += 1


def _import(options: argparse.Namespace) -> int:
    counts = _Counts()
    # Order: before root becomes the owner, who need not be able to read them.
    with ExitStack() as files:
        sources = [(name, files.enter_context(_read(name))) for name in options.files or ["-"]]
        if options.dry_run:
            _take_all(sources, counts, None)
        else:
            # Not each by itself: nobody waits for one of them.
            with (
                opened(
                    options, place=located(options, create=options.create), durable=False
                ) as source,
                synced_at_the_end(source),
            ):
                _take_all(sources, counts, source.store)
    facts = {**vars(counts), "dry_run": options.dry_run}
    if options.json:
        output.print_json(facts)
    else:
        created = output.counted(counts.created, "session")
        output.print_line(
            f"{created} {'to import' if options.dry_run else 'imported'},"
            f" {counts.existing} there already, {counts.expired} expired"
        )
    return Exit.DONE


@contextmanager
def synced_at_the_end(source: Opened) -> Iterator[None]:
    """Make durable what the block has imported, if it was stopped or met a bad line, too."""
    try:
        yield
    except (Failure, stopping.Stopped):
        _sync(source)
        raise
    _sync(source)


def _sync(source: Opened) -> None:
    # Whoever opens a store first makes durable what is there; nobody else promises to.
    with stopping.held(), source.place.like(source.store.path) as again:
        again.load("0" * KEY_DIGITS)


def _read(name: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if name == _STANDARD else reaching.reading(name)


def _take_all(sources: list[tuple[str, BinaryIO]], counts: _Counts, store: WALStore | None) -> None:
    def total() -> int | None:
        kinds = [os.fstat(file.fileno()) for _, file in sources]
        is_known = all(stat.S_ISREG(kind.st_mode) for kind in kinds)
        return sum(kind.st_size for kind in kinds) if is_known else None

    with progress.bar("importing", total, in_bytes=True) as advance:
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


def _bad_line(name: str, number: int, error: Exception, counts: _Counts) -> Failure:
    where = "stdin" if name == _STANDARD else name
    so_far = output.counted(counts.created, "session")
    return Failure(Exit.BAD_LINE, f"{where} line {number}: {error}; before it {so_far} imported")
