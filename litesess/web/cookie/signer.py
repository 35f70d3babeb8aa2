"""The signed value of the session cookie: written, and found again in a ``Cookie`` header.

The value is WebOb's ``SignedSerializer`` (HMAC-SHA-256) over the session id.  The cookie's name is
part of the salt, so that a value signed for one cookie is worth nothing in another.  So is whether
the cookie was set with ``Secure``, which no ``Cookie`` header says.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from webob.cookies import SignedSerializer

from litesess.ids import key_of
from litesess.web.cookie.settings import is_prefixed

#: Browsers send far less; parsing more is work for an attacker.
LONGEST_HEADER: Final = 16_384
LONGEST_VALUE: Final = 512
#: So many verified values are remembered: 0.4 MB.
_KNOWN_VALUES: Final = 1024
# Base64url without padding, in the one spelling that its bytes have: the bits of the last
# character that stand for nothing are zero.  Source: RFC 4648 section 3.5.
_SIGNED: Final = re.compile(
    rb"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?\Z"
)
#: The form of an id: it must pass through a header as it is.
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


class Verified(NamedTuple):
    """A session id with a valid signature."""

    session_id: str
    #: Where the session is stored: see :func:`litesess.ids.key_of`.
    key: str
    #: It is signed with a secret that is not the first.
    is_stale: bool
    #: It was set as a cookie for https alone.
    is_secure: bool

    def __repr__(self) -> str:
        return f"<Verified is_stale={self.is_stale} is_secure={self.is_secure}>"


def values_of(name: str, header: str) -> list[str]:
    """Return the values that a ``Cookie`` header gives the cookie *name*, in their order.

    The work is linear in the header's length.  WebOb's parser is not used: it takes quadratic time
    for a quote that is not closed, and drops, cuts or joins foreign cookies its own way.  A value
    of ours needs no escapes, so that a pair of quotes is all that is taken off.

    Args:
        name: a cookie's name.
        header: the ``Cookie`` header; servers join several by a comma, RFC 6265 section 5.4 has a
            semicolon between two cookies.  One of more than ``LONGEST_HEADER`` characters, and a
            value of more than ``LONGEST_VALUE``, counts as absent.
    """
    if name not in header or len(header) > LONGEST_HEADER:
        return []
    if "," in header and not is_prefixed(name):
        # Not for those names: a neighbour may not set them, but one with a comma before them.
        header = header.replace(",", ";")
    values = []
    for piece in header.split(";"):
        given_name, _, value = piece.partition("=")
        if given_name.strip(" \t") != name:
            continue
        value = value.strip(" \t")
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if len(value) <= LONGEST_VALUE and value.isascii():
            values.append(value)
    return values


class CookieSigner:
    """Reads and writes the values of one cookie."""

    def __init__(self, name: str, secrets: Sequence[bytes]) -> None:
        self.name = name
        # A token has no NUL, so no other name and secret make the same key.
        salt = b"litesess/cookie/1/" + name.encode() + b"\0"
        self._csrf_key = hmac.digest(secrets[0], b"litesess/csrf/1", "sha256")
        #: One for each secret, newest first, and each for a cookie with and without Secure.
        self._serializers = [
            (_serializer(secret, salt), _serializer(secret, salt + b"secure\0"))
            for secret in secrets
        ]
        # Values that were verified: a client that comes back is not checked again.  Forged ones
        # never get in, and no dict tells by its time how much of a key was right.
        self._known: dict[str, Verified] = {}

    def sign(self, session_id: str, *, is_secure: bool = False) -> str:
        """Return the cookie value that carries *session_id*.

        Args:
            session_id: of 1 to 128 letters, digits, ``-`` and ``_``.
            is_secure: the cookie is set with ``Secure``.
        """
        signed: bytes = self._serializers[0][is_secure].dumps(session_id)
        return signed.decode()

    def csrf_token(self, session_id: str, owner: str | None) -> str:
        """Return the first CSRF token of a session: 160 bits in hex, of the id and the owner.

        Without the secret, the token can't be computed from the id, nor the id from the token.
        """
        message = f"{session_id} {owner or ''}".encode()
        return hmac.digest(self._csrf_key, message, "sha256").hex()[:40]

    def verified(self, header: str) -> list[Verified]:
        """Return the different ids that a ``Cookie`` header carries and we have signed.

        The rest of the header does not matter, and nothing in it is an error.
        """
        found: dict[str, Verified] = {}
        for value in values_of(self.name, header):
            verified = self._known.get(value) or self._check(value)
            if verified is None:
                continue
            other = found.get(verified.session_id)
            # Of several spellings of one id the one that needs not be set anew.
            if other is None or (verified.is_stale, not verified.is_secure) < (
                other.is_stale,
                not other.is_secure,
            ):
                found[verified.session_id] = verified
        return [*found.values()]

    def _check(self, text: str) -> Verified | None:
        # WebOb would accept junk between the characters, and lax padding.
        value = text.encode("ascii")
        if not _SIGNED.match(value):
            return None
        for position, pair in enumerate(self._serializers):
            for is_secure, serializer in enumerate(pair):
                try:
                    session_id = serializer.loads(value)
                except ValueError:  # not signed with this secret
                    continue
                return self._remembered(text, session_id, position > 0, is_secure > 0)
        return None

    def _remembered(
        self, text: str, session_id: str, is_stale: bool, is_secure: bool
    ) -> Verified | None:
        if not ID.match(session_id):
            return None
        if len(self._known) >= _KNOWN_VALUES:
            self._known.clear()
        verified = Verified(session_id, key_of(session_id), is_stale, is_secure)
        self._known[text] = verified
        return verified


def _serializer(secret: bytes, salt: bytes) -> SignedSerializer:
    serializer = SignedSerializer(secret, salt, hashalg="sha256", serializer=_Plain)
    # WebOb passes a lambda, which keeps hmac from its C code: 3 times slower.
    serializer.digestmod = sha256
    return serializer


class _Plain:
    """WebOb's serializer protocol over the id as it is."""

    @staticmethod
    def dumps(session_id: str) -> bytes:
        return session_id.encode("ascii")

    @staticmethod
    def loads(data: bytes) -> str:
        return data.decode("ascii")  # UnicodeDecodeError is the ValueError that WebOb expects
