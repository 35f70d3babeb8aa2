"""``litesess import-beaker``: add the sessions that Beaker keeps in files."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Final

from litesess.beaker import files, pickled
from litesess.cli import importing, progress, stopping
from litesess.cli.address import address_of
from litesess.cli.arguments import Commands, interval
from litesess.cli.exits import Exit, Failure, code_of
from litesess.cli.opening import located
from litesess.cli.owner import become_owner
from litesess.errors import EncodeError
from litesess.ids import handle_of, key_of
from litesess.stores.base import Record, Store

logger = logging.getLogger("litesess.beaker")

_DONE_SUFFIX: Final = ".imported"


def add_to(commands: Commands) -> None:
    """Add the command."""
    imports = commands.add(
        "import-beaker",
        _run,
        "add sessions that Beaker keeps in files, if their values are plain",
        about="Nothing is unpickled: a session that holds objects of a class is named by its"
        " handle, and left where it is.  The file of an imported session gets the suffix .imported,"
        " so that it is not imported again after its user has logged out.  Stop the app that uses"
        " Beaker first; litesess.beaker honours its cookies.  An app with session.encrypt_key needs"
        " a store that is encrypted by that key: give it to --create.",
        example="litesess import-beaker --create --timeout 3600 /srv/app/data /srv/app/beaker",
    )
    importing.take_arguments(imports)
    imports.add("directory", metavar="DIR", help="Beaker's data_dir, or its file_dir")
    imports.add(
        "--timeout",
        type=interval,
        required=True,
        metavar="SECONDS",
        help="Beaker's timeout: a session ends so long after its last use",
    )


class _Counts(importing.Counts):
    """The counts of an import from Beaker so far."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = self.refused = 0


class _Import:
    """An import under way."""

    def __init__(self, timeout: float, store: Store | None) -> None:
        self.counts = _Counts()
        self._timeout = timeout
        self._store = store
        self._is_encrypted = False

    def take_all(self, top: Path) -> None:
        """Import the files below *top*."""
        with progress.bar("importing", lambda: sum(1 for _ in files.paths(top))) as advance:
            for path in files.paths(top):
                self._take(path)
                advance(1)
        if self._is_encrypted and not getattr(self._store, "is_encrypted", False):
            logger.warning(
                "an app with session.encrypt_key needs a store that is encrypted by that key: make"
                " it with --create, and the key in LITESESS_ENCRYPTION_KEY or by --key-file"
            )

    def _take(self, path: Path) -> None:
        """Import a file, if it holds a session that is plain and has not expired."""
        key = key_of(files.id_of(path))
        try:
            record = files.read(path, time.time(), self._timeout)
            if record is None:
                self.counts.empty += 1
            elif self._store is None or record.expires_at <= time.time():
                self.counts.take(key, record, None)
            else:
                self._create(path, key, record, self._store)
        except files.Encrypted as error:
            self._is_encrypted = True
            self._refuse(key, error)
        except (files.Refused, pickled.NotPlain, EncodeError) as error:
            self._refuse(key, error)

    def _refuse(self, key: str, error: Exception) -> None:
        self.counts.refused += 1
        logger.warning("%s is not imported: %s", handle_of(key), error)

    def _create(self, path: Path, key: str, record: Record, store: Store) -> None:
        done = path.with_name(path.name + _DONE_SUFFIX)
        with stopping.deferred():
            # Order: rename the file before the session exists, so that no later import brings back
            # the session of a user who has logged out since.
            _rename(path, done)
            try:
                self.counts.take(key, record, store)
            except BaseException:
                _rename(done, path)
                raise


def _run(options: argparse.Namespace) -> int:
    # Act as the owner of the store and of Beaker's files: root would follow links there.
    if options.dry_run:
        become_owner(*address_of(options).paths)
        done = _Import(options.timeout, None)
        done.take_all(_top(options.directory))
    else:
        found = located(options, create=options.create)
        top = _top(options.directory)
        with importing.opened_for_import(found) as store:
            done = _Import(options.timeout, store)
            done.take_all(top)
    done.counts.report(options)
    return Exit.BAD_LINE if done.counts.refused else Exit.DONE


def _top(directory: str) -> Path:
    """Return the directory of the files, which lies below Beaker's data_dir or is *directory*.

    Raises:
        Failure: the directory holds no sessions of Beaker's in files.
    """
    given = Path(directory)
    if (given / files.FILES).is_dir():
        return given / files.FILES
    if (given / files.DBM).is_dir():
        raise Failure(Exit.PATH, f"{directory}: has sessions in dbm files, which can't be imported")
    if not given.is_dir() or next(given.glob("?/??/*.cache*"), None) is None:
        raise Failure(Exit.PATH, f"{directory}: has no sessions of Beaker's; give its data_dir")
    return given


def _rename(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        # The message leaves out the path, which ends with the id.
        where = path.parent.parent.parent
        raise Failure(code_of(error), f"{where}: can't rename a file: {error.strerror}") from None
