"""The sessions that Flask-Session keeps in files, by way of cachelib's ``FileSystemCache``.

::

    DIR/3f...e1                 named after a hash of SESSION_KEY_PREFIX and the session's id
        4 bytes                 the end in Unix seconds, in the machine's byte order; 0: none
        a pickle                of a dict: the session's values
    DIR/20...63                 of that form, too: the number of files
    DIR/tmp...z.__wz_cache      a file that is being written

Up to cachelib 0.6 the end is a pickled int.  The serializers that ``SESSION_SERIALIZATION_FORMAT``
names are never used for files.

Source: Flask-Session 0.3.2 to 0.8.0, filesystem and cachelib; cachelib 0.1.1 to 0.17.0, file.py.
"""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from litesess.cli import output
from litesess.errors import ConfigTypeError, EncodeError
from litesess.flask_session.names import LENGTHS, key_of_name, names_of
from litesess.ids import owner_of
from litesess.moving import pickled
from litesess.moving.files import Refused, content_of, encoded
from litesess.moving.importing import DONE_SUFFIX, Source
from litesess.stores.base import Record, Store

#: The session key of Flask-Login for the user's id.
OWNER_KEY: Final = "_user_id"
#: The session key of Flask for a permanent session; alone it does not count as content.
PERMANENT: Final = "_permanent"
#: The files in which cachelib counts the files.
_COUNTS: Final = frozenset(names_of("__wz_cache_count"))
_END: Final = struct.Struct("=I")
#: A pickled int before the pickle of a dict: 0, or 32 bits.
_OLD_END: Final = re.compile(
    rb"(?:\x80[\x02-\x05](?:\x95.{8})?)?(?:K\0|J(.{4}))\.(?=\x80)", re.DOTALL
)


class FlaskSessionFiles(Source):
    """The sessions in a directory of Flask-Session's."""

    logger = logging.getLogger("litesess.flask_session")

    def __init__(self, top: Path, timeout: float | None = None, owner_key: str = OWNER_KEY) -> None:
        """Take the files in *top*.

        Args:
            top: the directory.
            timeout: the life, in seconds since its last use, of a session whose file has no end;
                None: such a session is refused.
            owner_key: the session key whose value is the owner of the session.
        """
        super().__init__(top)
        self._timeout = timeout
        self._owner_key = owner_key
        self._unused_count = 0

    def paths(self) -> Iterator[Path]:
        """Yield the files, each named after a hash; see :meth:`Source.paths`."""
        # List all names before the import renames one.
        found = sorted(path for path in self.top.iterdir() if _name_of(path))
        length = _length_in_use(found)
        left = [path for path in found if path.name not in _COUNTS and not path.suffix]
        used = [path for path in left if len(path.name) == length]
        self._unused_count = len(left) - len(used)
        yield from used

    def advice(self, _store: Store | None) -> str | None:
        """Return a warning if files are left out because of their names."""
        if not self._unused_count:
            return None
        return (
            f"{output.counted(self._unused_count, 'file')} left out, with names of another hash"
            " than cachelib uses now, so that Flask-Session has not honoured their sessions either;"
            " to import them all the same, move them to another directory"
        )

    def key_of(self, path: Path) -> str:
        """Return the key for the hash that the file is named after."""
        return key_of_name(path.name)

    def read(self, path: Path, now: float) -> Record | None:
        """Return the session in a file; see :meth:`Source.read`."""
        content, written_at = content_of(path)
        ends_at, packed = _parts(content)
        values = pickled.read(packed)
        if not isinstance(values, dict):
            raise Refused("holds no session of Flask-Session's")
        if not values.keys() - {PERMANENT}:
            return None
        # Flask-Session writes the file at each request, and keeps no other instant.
        seen_at = min(written_at, now)
        return Record(
            encoded(values),
            seen_at,
            float(ends_at) or self._end_of(seen_at),
            owner=_owner(values, self._owner_key),
            last_seen_at=seen_at,
        )

    def _end_of(self, seen_at: float) -> float:
        if self._timeout is None:
            raise Refused("has no end; give --timeout, its life in seconds since its last use")
        return seen_at + self._timeout


def is_of_flask_session(top: Path) -> bool:
    """Return whether a directory has files of Flask-Session's, imported ones among them.

    Raises:
        OSError: it can't be read.
    """
    return any(map(_name_of, top.iterdir()))


def _name_of(path: Path) -> str | None:
    """Return the name that a file of Flask-Session's had before its import; None: it is another."""
    name = path.name.removesuffix(DONE_SUFFIX)
    return name if len(name) in LENGTHS and {*name} <= {*"0123456789abcdef"} else None


def _length_in_use(paths: list[Path]) -> int:
    """Return the length of the names that cachelib gives files now: that of the newest file.

    An update of cachelib changed the hash.  Since then Flask-Session reads none of the files from
    before, so that a session among them is one that its user could not log out of.
    """
    newest = max(paths, key=_written_at, default=Path())
    return len(newest.stem)


def _written_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # the app has just deleted it
        return 0.0


def _parts(content: bytes) -> tuple[int, bytes]:
    """Return the end in a file, in Unix seconds, and the pickle of the values; 0: no end."""
    if content[4:5] == b"\x80":  # a pickle begins so
        return _END.unpack_from(content)[0], content[4:]
    found = _OLD_END.match(content)
    if found is None:
        raise Refused("is no file of cachelib's, or cut short")
    return int.from_bytes(found[1] or b"", "little"), content[found.end() :]


def _owner(values: Mapping[Any, Any], key: str) -> str | None:
    """Return the owner that the values name; None: they name none that a session can have."""
    value = values.get(key)
    if value is None or value == "":
        return None
    try:
        return owner_of(value)
    except (ConfigTypeError, EncodeError):
        return None
