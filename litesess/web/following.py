"""The owner of a session, as a framework's own login says it: by the value of a session key.

Frameworks and their extensions keep the logged-in user under a key of the session's data.  With the
option ``owner_key`` the session's owner follows that value, so that such a login gets another id
and other tokens, and the user's sessions are found.
"""

from __future__ import annotations

from litesess import ids
from litesess.errors import ConfigTypeError, EncodeError
from litesess.stores.base import KEEP, Owner
from litesess.web.loaded import GONE
from litesess.web.state import State


def by_key(state: State) -> Owner:
    """Return the owner that the value of the owner key, which was just set or removed, names.

    KEEP: the session has that owner, or the app itself has named the owner in this request by
    ``login()`` or ``owner =``, which takes precedence.
    """
    key = state.rules.owner_key
    if state.is_owner_said or key is None:
        return KEEP
    return _other_than_now(state, _value(state, key))


def by_function(state: State) -> Owner:
    """Return the owner that the app's function names, if the session is to be written.

    KEEP: as for :func:`by_key`.
    """
    function = state.rules.owner_function
    if function is None or state.is_owner_said or state.status in GONE:
        return KEEP
    if not (state.is_changed() or state.is_atomic):
        return KEEP
    return _other_than_now(state, function(state.rules.session_class(state)))


def _value(state: State, key: str) -> object:
    try:
        return state.contents[key]
    except KeyError:
        return None


def _other_than_now(state: State, value: object) -> Owner:
    owner = _owner_of(state, value)
    return KEEP if owner == state.owner() else owner


def _owner_of(state: State, value: object) -> str | None:
    """Return the owner that *value* names; log the first value that can name none."""
    if value is None or value == "":
        return None
    try:
        return ids.owner_of(value)
    except (ConfigTypeError, EncodeError):
        state.rules.warn_once(
            f"the session has no owner: owner_key leads to a value of type {type(value).__name__},"
            " not to a str, an int or a UUID"
        )
        return None
