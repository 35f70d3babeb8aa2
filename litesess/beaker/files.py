"""The sessions that Beaker keeps in files.

::

    DIR/container_file/3/3f/3f...e1.cache       named after the session's id, which is secret
        a pickled dict {"session": base64}      which holds, by Beaker's data_serializer,
            JSON, compressed, or a pickle       of the values, with _creation_time, _accessed_time

:mod:`litesess.beaker.pickled` reads the pickles, and runs nothing.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from litesess import codec
from litesess.beaker import pickled
from litesess.cli.lines import seconds_in
from litesess.stores.base import Record

#: In Beaker's ``data_dir``: its sessions in files, and in dbm files.
FILES: Final = "container_file"
DBM: Final = "container_dbm"
#: uuid.uuid4().hex names a session; the files of Beaker's caches have 40 digits.
_NAME: Final = re.compile(r"([0-9a-f]{32})\.cache\Z")
#: The largest value of a session, encoded.
_LARGEST: Final = 1_000_000
#: The largest session has 1 MiB, and base64 adds a third.
_MOST_BYTES: Final = 1 << 22
#: Beaker's own values in a session: times, and the cookie's scope.
_OWN: Final = frozenset({"_accessed_time", "_creation_time", "_domain", "_id", "_path"})


class Refused(Exception):  # it is the file's fault
    """A file can't be imported; the message gives the reason, and shows neither id nor value."""


class Encrypted(Refused):
    """A file holds a session that can't be read, as Beaker encrypts it with ``encrypt_key``."""


def paths(top: Path) -> Iterator[Path]:
    """Yield the files below *top*, each named after a session's id.

    Raises:
        OSError: a directory can't be read.
    """
    # List all names of a directory before the import renames one.  glob() would pass over
    # directories that can't be read.
    for first in sorted(path for path in top.iterdir() if len(path.name) == 1):
        for second in sorted(path for path in first.iterdir() if len(path.name) == 2):
            yield from sorted(path for path in second.iterdir() if _NAME.match(path.name))


def id_of(path: Path) -> str:
    """Return the id of the session in a file."""
    return path.name.partition(".")[0]


def read(path: Path, now: float, timeout: float) -> Record | None:
    """Return the session in a file; None: it holds no value of the app.

    Args:
        path: of the file.
        now: Unix seconds; no instant of the session is later.
        timeout: Beaker's, in seconds: the life of a session without a request.

    Raises:
        Refused: the file can't be read, or holds no session.
        NotPlain: it holds more than plain values.
        EncodeError: a value can't be stored.
    """
    content, written_at = _content(path)
    values = _values(content)
    data = {name: value for name, value in values.items() if name not in _OWN}
    if not data:
        return None
    # Beaker loses both instants when the app clears the session.
    seen_at = min(_instant(values, "_accessed_time", written_at), now)
    created_at = min(_instant(values, "_creation_time", seen_at), seen_at)
    frames = {
        codec.check_key(name): codec.encode(value, name, _LARGEST) for name, value in data.items()
    }
    return Record(codec.Encoded(frames), created_at, seen_at + timeout, last_seen_at=seen_at)


def _content(path: Path) -> tuple[bytes, float]:
    """Return the bytes of a file and the time of its last change, in Unix seconds.

    Raises:
        Refused: it can't be read, or is no regular file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("is no file")
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise Refused(f"can't be read: {error.strerror}") from None
    if len(content) == _MOST_BYTES:
        raise Refused(f"has {_MOST_BYTES} bytes or more")
    return content, status.st_mtime


def _values(content: bytes) -> Mapping[Any, Any]:
    outer = pickled.read(content)
    values = outer.get("session", {}) if isinstance(outer, dict) else None
    if isinstance(values, str):
        values = _unpacked(values)
    if not isinstance(values, dict):
        raise Refused("holds no session of Beaker's")
    return values


def _unpacked(text: str) -> Any:
    """Return the values that one of Beaker's two serializers has packed."""
    try:
        packed = b64decode(text, validate=True)
        if packed[:1] == b"\x80":
            return pickled.read(packed)
        unpacker = zlib.decompressobj()
        inner = unpacker.decompress(packed, _MOST_BYTES)
    except (ValueError, zlib.error):
        raise Encrypted(
            "is encrypted by Beaker's encrypt_key, or packed by a serializer of your own"
        ) from None
    if not unpacker.eof:
        raise Refused("is cut short, or larger than any session")
    try:
        return json.loads(inner)
    except (ValueError, RecursionError):
        raise Refused("holds a value that can't be read as JSON") from None


def _instant(values: Mapping[Any, Any], name: str, default: float) -> float:
    seconds = seconds_in(values.get(name, default))
    if seconds is None:
        raise Refused(f"has no instant as its {name}")
    return seconds
