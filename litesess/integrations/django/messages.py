"""The messages of ``django.contrib.messages``: a list in the store, the text that it wants outside.

Django stores them as one text: the later of two overlapping requests would replace the text of the
earlier one.  As a list they are merged, so that the messages of both arrive.
"""

from __future__ import annotations

import json
from typing import Any, Final

#: Where ``SessionStorage`` keeps them.
MESSAGES_KEY: Final = "_messages"
#: The beginning of each message.
_MARK: Final = "__json_message"


def items_of(value: Any) -> Any:
    """Return the messages in a text of Django's; any other value as it is."""
    if type(value) is not str:
        return value
    try:
        items = json.loads(value)
    except ValueError:
        return value
    return items if _are_messages(items) and json.dumps(items) == value else value


def text_of(value: Any) -> Any:
    """Return the text that Django has for a list of messages; any other value as it is."""
    return json.dumps(value) if _are_messages(value) else value


def _are_messages(items: Any) -> bool:
    return (
        type(items) is list
        and len(items) > 0
        and all(type(item) is list and item[:1] == [_MARK] for item in items)
    )
