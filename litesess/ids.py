"""Session ids, their keys, handles and owner hashes, and the core's random bytes."""

from __future__ import annotations

import os
import re
import secrets
from base64 import b32encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeAlias
from uuid import UUID

from litesess.errors import ConfigTypeError, EncodeError

#: The types by which an app can name an owner.
OwnerName: TypeAlias = "str | int | UUID"

ID_BYTES = 32
KEY_DIGITS = 64
HANDLE_DIGITS = 16
_KEY: Final = re.compile(rf"[0-9a-f]{{{KEY_DIGITS}}}\Z")
_HANDLE: Final = re.compile(rf"[0-9a-f]{{{HANDLE_DIGITS}}}\Z")

#: Returns the given number of random bytes.
random_bytes: Callable[[int], bytes] = os.urandom


def new_id() -> str:
    """Return a session id: 256 random bits as 43 base64url characters.

    Source: OWASP Session Management Cheat Sheet, "Session ID Entropy" (at least 64 bits).
    """
    return secrets.token_urlsafe(ID_BYTES)


def key_of(session_id: str) -> str:
    """Return the key a session is stored under: the id's SHA-256 in hex.

    The id itself is never stored, so that a stolen disk yields no cookie and a look-up can't be
    timed towards one.

    Source: CVE-2019-16782 (Rack).
    """
    return sha256(session_id.encode()).hexdigest()


def handle_of(key: str) -> str:
    """Return the public name of the session stored under *key*, safe in logs and pages."""
    return key[:HANDLE_DIGITS]


def is_key(text: str) -> bool:
    """Return whether *text* can be a key."""
    return _KEY.match(text) is not None


def check_key(key: str) -> str:
    """Return *key*; raises ValueError if it does not have the form of a key."""
    if _KEY.match(key) is None:
        raise no_key(key)
    return key


def no_key(text: str) -> ValueError:
    """Return the error that refuses *text*, which does not have the form of a key."""
    return ValueError(
        f"a key is {KEY_DIGITS} hex digits, the SHA-256 of a session id; got {len(text)}"
    )


def is_handle(text: str) -> bool:
    """Return whether *text* can be a handle."""
    return _HANDLE.match(text) is not None


def owner_of(value: object) -> str:
    """Return the owner that *value* names: a str, the digits of an int, the text of a UUID.

    Other types are refused.  The text of an object without a ``__str__`` of its own differs in
    each process, so no other process would find its sessions.

    Raises:
        ConfigTypeError: *value* is not a str, an int or a UUID; True and False are no numbers here.
        EncodeError: it has a lone surrogate.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)  # not that of an enum
    if isinstance(value, UUID):
        return UUID.__str__(value)
    if not isinstance(value, str):
        raise ConfigTypeError(f"owner is of type {type(value).__name__}, not str, int or UUID")
    owner = str.__str__(value)
    try:
        owner.encode()
    except UnicodeEncodeError:
        raise EncodeError("owner", "has a lone surrogate, which is no Unicode text") from None
    return owner


def owner_hash(owner: str) -> bytes:
    """Return the 16 bytes of a SHA-256 by which an owner's sessions are found."""
    return sha256(b"owner " + owner.encode()).digest()[:16]


def new_secret() -> str:
    """Return a secret: 256 random bits in hex."""
    return secrets.token_hex(32)


def new_passphrase() -> str:
    """Return a passphrase that can be read aloud: 150 random bits in six groups of letters."""
    letters = b32encode(secrets.token_bytes(20)).decode().lower()
    return "-".join(letters[at : at + 5] for at in range(0, 30, 5))
