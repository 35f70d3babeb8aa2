"""The command that brings over the sessions that Beaker keeps in files: import-beaker.

::

    DIR/container_file/3/3f/3f...e1.cache       named after the session's id, which is secret
        a pickled dict {"session": base64}      which holds, by Beaker's data_serializer,
            JSON, compressed, or a pickle       of the values, with _creation_time, _accessed_time

The pickles are read by :mod:`litesess.cli.pickled`, which runs nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import stat
import time
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from litesess import codec
from litesess.cli import importing, output, pickled, progress, stopping
from litesess.cli.arguments import Commands, interval
from litesess.cli.exits import Exit, Failure, code_of
from litesess.cli.lines import seconds_in
from litesess.cli.opening import located
from litesess.cli.owner import become_owner
from litesess.errors import EncodeError
from litesess.ids import handle_of, key_of
from litesess.stores.base import Record, Store

logger = logging.getLogger("litesess.beaker")

_FILES: Final = "container_file"
_OTHERS: Final = "container_dbm"
#: What uuid.uuid4().hex is; the files of Beaker's caches have 40 digits.
_NAME: Final = re.compile(r"([0-9a-f]{32})\.cache\Z")
_DONE_SUFFIX: Final = ".imported"
#: The largest session has 1 MiB, and base64 adds a third.
_MOST_BYTES: Final = 1 << 22
#: What Beaker adds to the values: times, and the cookie's scope.
_OWN: Final = frozenset({"_accessed_time", "_creation_time", "_domain", "_id", "_path"})


class _Refused(Exception):  # it is the file's fault
    """A file can't be imported; the message says why, and shows neither id nor value."""


def add_to(commands: Commands) -> None:
    """Add the command."""
    imports = commands.add(
        "import-beaker",
        _import,
        "add sessions that Beaker keeps in files, as far as they are plain",
        about="Nothing is unpickled: a session that holds objects of a class is named by its"
        " handle, and left where it is.  The file of an imported one gets the suffix .imported, so"
        " that it is not imported again when its user has logged out.  Stop the app that uses"
        " Beaker first; litesess.integrations.beaker honours its cookies.",
        example="litesess import-beaker --create --timeout 3600 /srv/app/data /srv/app/beaker",
    )
    importing.take_arguments(imports)
    imports.add("directory", metavar="DIR", help="Beaker's data_dir, or its file_dir")
    imports.add(
        "--timeout",
        type=interval,
        required=True,
        metavar="SECONDS",
        help="Beaker's timeout: so long after it was used last a session ends",
    )


class _Import:
    """What an import does, and has done so far."""

    def __init__(self, timeout: float, store: Store | None) -> None:
        self._timeout = timeout
        self._store = store
        self.created = self.existing = self.expired = self.empty = self.refused = 0

    def take(self, path: Path) -> None:
        """Import a file, if it holds a session that is plain and has not expired."""
        key = key_of(path.name.partition(".")[0])
        try:
            now = time.time()
            record = _record(*_content(path), now, self._timeout)
            if record is None:
                self.empty += 1
            elif record.expires_at <= now:
                self.expired += 1
            elif self._store is None:
                self.created += 1
            else:
                self._create(path, key, record, self._store)
        except (_Refused, pickled.NotPlain, EncodeError) as error:
            self.refused += 1
            logger.warning("%s is not imported: %s", handle_of(key), error)

    def _create(self, path: Path, key: str, record: Record, store: Store) -> None:
        done = path.with_name(path.name + _DONE_SUFFIX)
        with stopping.deferred():
            # Order: before it is there, so that whatever happens nobody who has logged out since
            # comes back by another import.
            _rename(path, done)
            try:
                is_new = store.create(key, record)
            except BaseException:
                _rename(done, path)
                raise
        self.created += is_new
        self.existing += not is_new


def _import(options: argparse.Namespace) -> int:
    # As the owner of the store, who is that of Beaker's files, too: root would follow links there.
    if options.dry_run:
        become_owner(options.path)
        done = _Import(options.timeout, None)
        _take_all(_top(options.directory), done)
    else:
        place = located(options, create=options.create)
        top = _top(options.directory)
        with importing.opened_for_import(options, place) as store:
            done = _Import(options.timeout, store)
            _take_all(top, done)
    counts = {name: count for name, count in vars(done).items() if not name.startswith("_")}
    if options.json:
        output.print_json({**counts, "dry_run": options.dry_run})
    else:
        created = output.counted(done.created, "session")
        output.print_line(
            f"{created} {'to import' if options.dry_run else 'imported'},"
            f" {done.existing} there already, {done.expired} expired, {done.empty} empty,"
            f" {done.refused} refused"
        )
    return Exit.BAD_LINE if done.refused else Exit.DONE


def _take_all(top: Path, done: _Import) -> None:
    with progress.bar("importing", lambda: sum(1 for _ in _files(top))) as advance:
        for path in _files(top):
            done.take(path)
            advance(1)


def _top(directory: str) -> Path:
    """Return the directory with the files, below Beaker's data_dir or itself.

    Raises:
        Failure: there is none.
    """
    given = Path(directory)
    if (given / _FILES).is_dir():
        return given / _FILES
    if (given / _OTHERS).is_dir():
        raise Failure(Exit.PATH, f"{directory}: has sessions in dbm files, which can't be imported")
    if not given.is_dir() or next(given.glob("?/??/*.cache*"), None) is None:
        raise Failure(Exit.PATH, f"{directory}: has no sessions of Beaker's; give its data_dir")
    return given


def _files(top: Path) -> Iterator[Path]:
    # All names of a directory before any of them is changed.  No glob(), which would pass over
    # what may not be read.
    for first in sorted(path for path in top.iterdir() if len(path.name) == 1):
        for second in sorted(path for path in first.iterdir() if len(path.name) == 2):
            yield from sorted(path for path in second.iterdir() if _NAME.match(path.name))


def _rename(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        # The path is not to be shown: it ends with the id.
        where = path.parent.parent.parent
        raise Failure(code_of(error), f"{where}: can't rename a file: {error.strerror}") from None


def _content(path: Path) -> tuple[bytes, float]:
    """Return what a file holds, and when it was written, in Unix seconds.

    Raises:
        _Refused: it can't be read, or is no such file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise _Refused("is no file")
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise _Refused(f"can't be read: {error.strerror}") from None
    if len(content) == _MOST_BYTES:
        raise _Refused(f"has {_MOST_BYTES} bytes or more")
    return content, status.st_mtime


def _record(content: bytes, written_at: float, now: float, timeout: float) -> Record | None:
    """Return the session that a file holds; None: nothing of the app's is in it.

    Raises:
        _Refused: it holds none.
        NotPlain: it holds more than plain values.
        EncodeError: a value can't be stored.
    """
    values = _values(content)
    data = {name: value for name, value in values.items() if name not in _OWN}
    if not data:
        return None
    # Beaker forgets both when the app clears the session.
    seen_at = min(_instant(values, "_accessed_time", written_at), now)
    created_at = min(_instant(values, "_creation_time", seen_at), seen_at)
    frames = codec.encode_items(data)
    return Record(codec.Encoded(frames), created_at, seen_at + timeout, last_seen_at=seen_at)


def _values(content: bytes) -> Mapping[Any, Any]:
    outer = pickled.read(content)
    values = outer.get("session", {}) if isinstance(outer, dict) else None
    if isinstance(values, str):
        values = _unpacked(values)
    if not isinstance(values, dict):
        raise _Refused("holds no session of Beaker's")
    return values


def _unpacked(text: str) -> Any:
    """Return what Beaker has packed by either of its serializers."""
    try:
        packed = b64decode(text, validate=True)
        if packed[:1] == b"\x80":
            return pickled.read(packed)
        unpacker = zlib.decompressobj()
        inner = unpacker.decompress(packed, _MOST_BYTES)
    except (ValueError, zlib.error):
        raise _Refused(
            "is encrypted by Beaker's encrypt_key, or packed by a serializer of your own"
        ) from None
    if not unpacker.eof:
        raise _Refused("is cut short, or larger than any session")
    try:
        return json.loads(inner)
    except (ValueError, RecursionError):
        raise _Refused("holds what can't be read as JSON") from None


def _instant(values: Mapping[Any, Any], name: str, otherwise: float) -> float:
    seconds = seconds_in(values.get(name, otherwise))
    if seconds is None:
        raise _Refused(f"has no instant as its {name}")
    return seconds
