"""The names of Flask-Session's files: hashes of a prefix and a session's id, which is secret."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Final

from litesess.ids import key_of

#: The characters in a file's name: of an MD5 up to cachelib 0.13, and of a SHA-256 later.
LENGTHS: Final = (64, 32)


def names_of(text: str) -> tuple[str, str]:
    """Return the names that cachelib gives the file of a key, by its two hashes.

    Source: cachelib, file.py, ``FileSystemCache._get_filename``.
    """
    data = text.encode()
    return sha256(data).hexdigest(), md5(data, usedforsecurity=False).hexdigest()


def key_of_name(name: str) -> str:
    """Return the key under which the session in the file of that name is stored.

    No id has a space, so that no cookie of litesess's leads to it.
    """
    return key_of(f"flask-session {name}")
