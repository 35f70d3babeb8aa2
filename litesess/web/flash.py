"""Flash messages: kept for the next page, under the keys that Pyramid's own sessions have for them.

Source: pyramid.interfaces.ISession.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

#: How the session keys of queues begin.
FLASH_PREFIX: Final = "_f_"


class FlashMessages(MutableMapping[str, Any]):
    """A session that carries messages to the next page."""

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
        waiting = self.setdefault(FLASH_PREFIX + queue, [])
        if allow_duplicate or message not in waiting:
            waiting.append(message)

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue, oldest first, and empty it."""
        messages: list[Any] = self.pop(FLASH_PREFIX + queue, [])
        return messages

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue, oldest first, and leave them there."""
        messages: list[Any] = self.get(FLASH_PREFIX + queue, [])
        return messages
