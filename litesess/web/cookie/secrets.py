"""The secrets that sign the session cookie, checked: long enough, and not in everybody's hands."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

from litesess.errors import ConfigError, ConfigTypeError

logger = logging.getLogger("litesess.cookie")

SECRET_BYTES: Final = 32
SHORTEST_SECRET_BYTES: Final = 16

# Longer ones first: the rest, when all are taken out, must be secret.
_PLACEHOLDERS: Final = (
    "yoursecret", "notsecret", "changeme", "keyboardcat", "secretkey", "secret", "password",
    "example", "placeholder", "development", "insecure", "default", "test",
)  # fmt: skip


class Secrets(tuple[bytes, ...]):
    """Secrets that were checked; they are not checked, nor complained of, again."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def check_secrets(name: str, value: object) -> Secrets:
    """Return the secrets as bytes, newest first.

    Raises:
        ConfigError: no secret is given, or one is too short or well known.

    Source: CVE-2020-17526 (Airflow): one default secret signed the sessions of all installations.
    """
    if isinstance(value, Secrets):
        return value
    given: Sequence[object] = value if isinstance(value, (list, tuple)) else [value]
    cure = "make one with: litesess secret"
    if not given:
        raise ConfigError(f"{name} is an empty list; {cure}")
    secrets = []
    for item in given:
        if not isinstance(item, (str, bytes)):
            raise ConfigTypeError(
                f"{name} is of type {type(item).__name__}, not str or bytes; {cure}"
            )
        secret = item.encode() if isinstance(item, str) else bytes(item)
        if len(secret) < SHORTEST_SECRET_BYTES:
            raise ConfigError(
                f"{name} has {len(secret)} bytes, needs {SHORTEST_SECRET_BYTES},"
                f" better {SECRET_BYTES}; {cure}"
            )
        if _is_well_known(secret):
            raise ConfigError(f"{name} is a placeholder that everybody knows; {cure}")
        if len(secret) < SECRET_BYTES:
            logger.warning("%s has %d bytes, better %d; %s", name, len(secret), SECRET_BYTES, cure)
        secrets.append(secret)
    return Secrets(secrets)


def _is_well_known(secret: bytes) -> bool:
    if len(set(secret)) < 4:
        return True
    letters = re.sub(r"[^a-z]", "", secret.decode("latin-1").lower())
    rest = letters
    for word in _PLACEHOLDERS:
        rest = rest.replace(word, "")
    # Few characters beside well-known words are no secret: "changeme-changeme-123".
    return bool(letters) and not rest and len(letters) * 2 > len(secret)
