"""An import of sessions from files, each of which holds one session of another library's."""

from __future__ import annotations

import argparse
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from litesess.cli import importing, progress, stopping
from litesess.cli.address import address_of
from litesess.cli.exits import Exit, Failure, code_of
from litesess.cli.opening import located
from litesess.cli.owner import become_owner
from litesess.errors import EncodeError
from litesess.ids import handle_of
from litesess.moving.files import Refused
from litesess.moving.plain import NotPlain
from litesess.stores.base import Record, Store
from litesess.web import ManagerOptions

#: Added to the name of a file when its session is imported.
DONE_SUFFIX: Final = ".imported"
#: The largest session of an app that has not set the option.
_USUAL_BYTES: Final = ManagerOptions.max_session_bytes


class Source(ABC):
    """The files of a library's sessions below one directory.

    Attributes:
        logger: tells of each file that is refused.
        top: the directory.
    """

    logger: logging.Logger

    def __init__(self, top: Path) -> None:
        self.top = top

    @abstractmethod
    def paths(self) -> Iterator[Path]:
        """Yield the files.

        Raises:
            OSError: a directory can't be read.
        """

    @abstractmethod
    def key_of(self, path: Path) -> str:
        """Return the key under which the session in a file is stored."""

    @abstractmethod
    def read(self, path: Path, now: float) -> Record | None:
        """Return the session in a file; None: it holds no value of the app.

        Args:
            path: of the file.
            now: Unix seconds; no instant of the session is later.

        Raises:
            Refused: the file can't be read, or holds no session.
            NotPlain: it holds more than plain values.
            EncodeError: a value can't be stored.
        """

    def advice(self, _store: Store | None) -> str | None:
        """Return a warning about the import as a whole; *store*: as for :class:`_Import`."""
        return None


def run(options: argparse.Namespace, source_of: Callable[[], Source]) -> int:
    """Import the sessions of a source, as a command's options say; return the exit status.

    Args:
        options: those of :func:`litesess.cli.importing.take_arguments`.
        source_of: makes the source; it opens no file.

    Raises:
        Failure: the files can't be found or renamed.
        LitesessError: the store can't be used.
    """
    if options.dry_run:
        become_owner(*address_of(options).paths)
        source = _source_as_owner(options, source_of)
        done = _Import(source, None)
        done.take_all()
    else:
        found = located(options, create=options.create)
        source = _source_as_owner(options, source_of)
        with importing.opened_for_import(found) as store:
            done = _Import(source, store)
            done.take_all()
    done.counts.report(options)
    return Exit.BAD_LINE if done.counts.refused else Exit.DONE


def _source_as_owner(options: argparse.Namespace, source_of: Callable[[], Source]) -> Source:
    """Return the source, of which no file is opened or renamed with the rights of root.

    The owner of the files could make root read those of another user, and rename them.

    Raises:
        Failure: the store is root's, and the files are not.
    """
    source = source_of()
    identity = become_owner(os.fspath(source.top))
    if identity is not None and address_of(options).paths:
        raise Failure(
            Exit.PATH,
            f"{source.top}: belongs to {identity}, and the store to root; run the command as that"
            " user, or give a store whose directory, or the one above it, belongs to that user",
        )
    return source


class _Counts(importing.Counts):
    """The counts of an import from files so far."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = self.refused = 0


class _Import:
    """An import under way; without a store, the sessions are only checked."""

    def __init__(self, source: Source, store: Store | None) -> None:
        self.counts = _Counts()
        self._source = source
        self._store = store
        self._large_count = 0

    def take_all(self) -> None:
        """Import the files of the source."""
        source = self._source
        with progress.bar("importing", lambda: sum(1 for _ in source.paths())) as advance:
            for path in source.paths():
                self._take(path)
                advance(1)
        for advice in source.advice(self._store), self._advice():
            if advice is not None:
                source.logger.warning(advice)

    def _advice(self) -> str | None:
        """Return a warning if an app can't change the sessions that it gets."""
        if not self._large_count:
            return None
        return (
            f"sessions with more than {_USUAL_BYTES} bytes: {self._large_count}; each change of one"
            " is an error, unless the app's max_session_bytes is larger"
        )

    def _take(self, path: Path) -> None:
        """Import a file, if it holds a session that is plain and has not expired."""
        key = self._source.key_of(path)
        try:
            record = self._source.read(path, time.time())
            if record is None:
                self.counts.empty += 1
            elif self._store is None or record.expires_at <= time.time():
                self.counts.take(key, record, None)
            else:
                self._create(path, key, record, self._store)
            if record is not None and record.expires_at > time.time():
                size = sum(map(len, chain(*record.frames.items())))
                self._large_count += size > _USUAL_BYTES
        except (Refused, NotPlain, EncodeError) as error:
            self.counts.refused += 1
            self._source.logger.warning("%s is not imported: %s", handle_of(key), error)

    def _create(self, path: Path, key: str, record: Record, store: Store) -> None:
        done = path.with_name(path.name + DONE_SUFFIX)
        with stopping.deferred():
            # Order: rename the file before the session exists, so that no later import undoes a
            # logout.
            self._rename(path, done)
            try:
                self.counts.take(key, record, store)
            except BaseException:
                self._rename(done, path)
                raise

    def _rename(self, path: Path, target: Path) -> None:
        try:
            path.rename(target)
        except FileNotFoundError:
            # The app has deleted it, at a logout, or another import has taken it.
            raise Refused("is gone: another process has deleted or renamed it meanwhile") from None
        except IsADirectoryError:
            raise Refused("can't be renamed: a directory has the new name of the file") from None
        except OSError as error:
            # The message leaves out the path, which can end with the id.
            message = f"{self._source.top}: can't rename a file: {error.strerror}"
            raise Failure(code_of(error), message) from None
