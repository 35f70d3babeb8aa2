"""How a command ends: every error as one line on stderr and a documented exit code."""

from __future__ import annotations

import enum
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from litesess.cli import stopping
from litesess.cli.output import printable, without_secrets
from litesess.errors import (
    ConfigError,
    Corruption,
    DecryptError,
    LitesessError,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreUnavailable,
)


class Exit(enum.IntEnum):
    """The exit status of a command (docs/cli.rst)."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        """Make a member with its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done"
    NOT_THERE = 1, "no session has that handle"
    USAGE = 2, "the command line or an option is wrong"
    PATH = 3, "the store or a file is missing, or must not be used"
    KEY = 4, "the encryption key is missing or wrong, or a file was tampered with"
    DAMAGED = 5, "the store is damaged"
    LOCKED = 6, "another process uses the store"
    FULL = 7, "the disk is full"
    FAILED = 8, "a read, write or sync failed"
    BAD_LINE = 9, "a line or a file can't be imported"
    AWAY = 10, "the server can't be reached, or refuses the user"
    DIFFERENT = 11, "sessions were copied, but some copies are missing or differ"
    HANGUP = 129, "the terminal was closed (SIGHUP); nothing half-done remains"
    INTERRUPTED = 130, "Ctrl-C (SIGINT); nothing half-done remains"
    CLOSED_PIPE = 141, "the reader of the output has closed it (SIGPIPE)"
    TERMINATED = 143, "SIGTERM; nothing half-done remains"


class Failure(Exception):  # a message for the user, not an error of the program
    """A command can't do its work.

    Attributes:
        code: the exit status.
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


# Order: subclasses before their bases.
_CODES: Final[tuple[tuple[type[LitesessError], Exit], ...]] = (
    (ConfigError, Exit.USAGE),
    (DecryptError, Exit.KEY),
    (Corruption, Exit.DAMAGED),
    (StoreLocked, Exit.LOCKED),
    (StoreFull, Exit.FULL),
    (StoreFailed, Exit.FAILED),
    (StoreUnavailable, Exit.AWAY),
    (StoreError, Exit.PATH),
    (LitesessError, Exit.FAILED),
)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PATH: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
    | {errno.EROFS, errno.EEXIST, errno.ENAMETOOLONG}
)


def code_of(error: Exception) -> Exit:
    """Return the exit status for *error*."""
    if isinstance(error, Failure):
        return error.code
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return Exit.FULL
        return Exit.PATH if error.errno in _PATH else Exit.FAILED
    return next(code for kind, code in _CODES if isinstance(error, kind))


def guarded(work: Callable[[], int], *, is_last: bool = False) -> int:
    """Run a command and return its exit status, after a line on stderr if it failed.

    Args:
        work: the command.
        is_last: the process ends after it.

    Raises:
        SystemExit: argparse's own, for ``--help`` and a wrong command line.
    """
    with _warnings_as_lines(), stopping.signals(is_last=is_last):
        try:
            try:
                return work()
            finally:
                # Flush here, where a full disk or a closed pipe is still an error of the command.
                with stopping.deferred():
                    sys.stdout.flush()
        except BrokenPipeError:
            return Exit.CLOSED_PIPE
        except stopping.Stopped as stop:
            return stop.code
        except (Failure, LitesessError, OSError) as error:
            _say(_in_words(error))
            return code_of(error)
        finally:
            stopping.too_late()
            _settle_stdout()


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error)


def _say(message: str) -> None:
    with suppress(OSError):  # stderr may be as closed as stdout
        sys.stderr.write(f"litesess: {printable(without_secrets(message))}\n")
        sys.stderr.flush()


def _settle_stdout() -> None:
    """Discard output that can't be written, so that the interpreter does not complain at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Line(logging.Formatter):
    """A record of the log as one line; tracebacks are for a server's log."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = printable(without_secrets(record.getMessage()))
        return f"litesess: {record.levelname.lower()}: {message}"


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda _record: not stopping.is_stopped())
    # The command's error says the same.
    handler.addFilter(lambda record: record.name != "litesess.store.connection")
    logger = logging.getLogger("litesess")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
