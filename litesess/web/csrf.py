"""The token against forged requests, under the key that Pyramid's own sessions have for it.

Source: pyramid.interfaces.ISession; OWASP Cross-Site Request Forgery Prevention Cheat Sheet,
"Synchronizer Token Pattern".
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import MutableMapping
from hmac import compare_digest
from typing import Any, Final

#: The session key of the token.
CSRF_KEY: Final = "_csrft_"
_TOKEN_BYTES: Final = 20


class CsrfToken(MutableMapping[str, Any]):
    """A session with a token that its forms carry, and forged requests do not."""

    __slots__ = ()

    def new_csrf_token(self) -> str:
        """Make another token, 160 random bits in hex; forms with an older one are not accepted.

        Returns:
            The token.
        """
        token = self[CSRF_KEY] = new_token()
        return token

    def get_csrf_token(self) -> str:
        """Return the token; the first time, make one: overlapping requests make the same."""
        token: str | None = self.get(CSRF_KEY)
        if token is None:
            token = self[CSRF_KEY] = self._first_csrf_token()
        return token

    @abstractmethod
    def _first_csrf_token(self) -> str:
        """Return the token of a session without a stored one, the same each time."""

    def check_csrf_token(self, given: object) -> bool:
        """Return whether *given* is the session's token.

        The comparison takes the same time wherever the two differ.

        Args:
            given: the token that a form or a header carried, str or bytes; anything else, None for
                a missing one included, is not the token.
        """
        token = self.get(CSRF_KEY)
        if isinstance(given, str):
            given = given.encode("utf-8", "surrogatepass")
        if not isinstance(token, str) or not isinstance(given, bytes):
            return False
        return compare_digest(token.encode(), given)


def new_token() -> str:
    """Return a random token: 160 bits in hex."""
    return secrets.token_hex(_TOKEN_BYTES)
