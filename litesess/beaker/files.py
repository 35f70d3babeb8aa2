"""The sessions that Beaker keeps in files.

::

    DIR/container_file/3/3f/3f...e1.cache       named after the session's id, which is secret
        a pickled dict {"session": base64}      which holds, by Beaker's data_serializer,
            JSON, compressed, or a pickle       of the values, with _creation_time, _accessed_time

:mod:`litesess.moving.pickled` reads the pickles, and runs nothing.
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from litesess.cli.lines import seconds_in
from litesess.ids import key_of
from litesess.moving import pickled
from litesess.moving.files import MOST_BYTES, Refused, content_of, encoded
from litesess.moving.importing import Source
from litesess.stores.base import Record, Store

#: In Beaker's ``data_dir``: its sessions in files, and in dbm files.
FILES: Final = "container_file"
DBM: Final = "container_dbm"
#: uuid.uuid4().hex names a session; the files of Beaker's caches have 40 digits.
_NAME: Final = re.compile(r"([0-9a-f]{32})\.cache\Z")
#: Beaker's own values in a session: times, and the cookie's scope.
_OWN: Final = frozenset({"_accessed_time", "_creation_time", "_domain", "_id", "_path"})


class Encrypted(Refused):
    """A file holds a session that can't be read, as Beaker encrypts it with ``encrypt_key``."""


class BeakerFiles(Source):
    """The sessions below Beaker's directory of files."""

    logger = logging.getLogger("litesess.beaker")

    def __init__(self, top: Path, timeout: float) -> None:
        """Take the files below *top*.

        Args:
            top: the directory.
            timeout: Beaker's, in seconds: the life of a session without a request.
        """
        super().__init__(top)
        self._timeout = timeout
        self._is_encrypted = False

    def paths(self) -> Iterator[Path]:
        """Yield the files, each named after a session's id; see :meth:`Source.paths`."""
        # List all names of a directory before the import renames one.  glob() would pass over
        # directories that can't be read.
        for first in sorted(path for path in self.top.iterdir() if len(path.name) == 1):
            for second in sorted(path for path in first.iterdir() if len(path.name) == 2):
                yield from sorted(path for path in second.iterdir() if _NAME.match(path.name))

    def key_of(self, path: Path) -> str:
        """Return the key of the id that the file is named after."""
        return key_of(path.name.partition(".")[0])

    def read(self, path: Path, now: float) -> Record | None:
        """Return the session in a file; see :meth:`Source.read`."""
        content, written_at = content_of(path)
        try:
            values = _values(content)
        except Encrypted:
            self._is_encrypted = True
            raise
        data = {name: value for name, value in values.items() if name not in _OWN}
        if not data:
            return None
        # Beaker loses both instants when the app clears the session.
        seen_at = min(_instant(values, "_accessed_time", written_at), now)
        created_at = min(_instant(values, "_creation_time", seen_at), seen_at)
        return Record(encoded(data), created_at, seen_at + self._timeout, last_seen_at=seen_at)

    def advice(self, store: Store | None) -> str | None:
        """Return a warning if Beaker's sessions are encrypted, and the store is not."""
        if not self._is_encrypted or getattr(store, "is_encrypted", False):
            return None
        return (
            "an app with session.encrypt_key needs a store that is encrypted by that key: make it"
            " with --create, and the key in LITESESS_ENCRYPTION_KEY or by --key-file"
        )


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
        inner = unpacker.decompress(packed, MOST_BYTES)
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
