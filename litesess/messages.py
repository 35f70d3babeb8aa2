"""Flash messages and the CSRF token: what Pyramid's sessions have, under the keys it has it.

Source: pyramid.interfaces.ISession; what is stored by Pyramid's own sessions can be read here.
"""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from typing import Any, Final

_FLASH: Final = "_f_"
#: The session key of the CSRF token.
CSRF_KEY: Final = "_csrft_"
_TOKEN_BYTES: Final = 20


class Messages(MutableMapping[str, Any]):
    """A session that carries messages to the next page, and a token against forged requests."""

    __slots__ = ()

    def flash(
        self, message: Any, queue: str = "", allow_duplicate: bool = True
    ) -> None:  # as ISession has it
        """Put a message at the end of a queue.

        Args:
            message: anything that a session can store.
            queue: which one; an app may have several.
            allow_duplicate: also if it is in there already.
        """
        waiting = self.setdefault(_FLASH + queue, [])
        if allow_duplicate or message not in waiting:
            waiting.append(message)

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue, oldest first, and empty it."""
        messages: list[Any] = self.pop(_FLASH + queue, [])
        return messages

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue, oldest first, and leave them there."""
        messages: list[Any] = self.get(_FLASH + queue, [])
        return messages

    def new_csrf_token(self) -> str:
        """Make another token, 160 random bits in hex; forms with an older one are not accepted."""
        token = self[CSRF_KEY] = secrets.token_hex(_TOKEN_BYTES)
        return token

    def get_csrf_token(self) -> str:
        """Return the token; the first time, make one.

        Compare it with ``hmac.compare_digest``.
        Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Synchronizer Token
        Pattern".
        """
        token: str | None = self.get(CSRF_KEY)
        return self.new_csrf_token() if token is None else token
