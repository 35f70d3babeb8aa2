"""A file of another library's: its bytes, and values that a session can hold.

Nothing in a file is trusted: a worker that was taken over can have written it, or put a link or a
pipe in its place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from litesess import codec

#: The largest session has 1 MiB; base64 adds a third, and each library its own values.
MOST_BYTES: Final = 1 << 22
#: The largest value of a session, encoded.
_LARGEST: Final = 1_000_000


class Refused(Exception):  # it is the file's fault
    """A file can't be imported; the message gives the reason, and shows neither id nor value."""


def content_of(path: Path) -> tuple[bytes, float]:
    """Return the bytes of a file and the time of its last change, in Unix seconds.

    Raises:
        Refused: it can't be read, is no regular file, or has ``MOST_BYTES`` or more.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("is no file")
            # Not os.fdopen(), which refuses a directory, and leaves the descriptor open.
            with open(fd, "rb", closefd=False) as file:
                content = file.read(MOST_BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise Refused(f"can't be read: {error.strerror}") from None
    if len(content) == MOST_BYTES:
        raise Refused(f"has {MOST_BYTES} bytes or more")
    return content, status.st_mtime


def encoded(data: Mapping[Any, Any]) -> codec.Encoded:
    """Return the values of a session, each encoded as it is stored.

    Raises:
        EncodeError: a key is no text, or a value can't be stored.
    """
    return codec.Encoded(
        {codec.check_key(name): codec.encode(value, name, _LARGEST) for name, value in data.items()}
    )
