"""Config keys of Flask-Session, which have no effect here: each gets one warning."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Final

logger = logging.getLogger("litesess.flask")

_PLACE: Final = (
    "LITESESS_PATH names the directory of the sessions, or LITESESS_STORE is a store, such as"
    " RedisStore"
)

#: The advice for each key; a key that ends in * stands for all keys that begin so.
_INSTEAD: Final = {
    "SESSION_TYPE": _PLACE,
    "SESSION_PERMANENT": (
        "a session ends with the browser unless the app sets session.permanent = True, which"
        " Flask-Session did for every session; do so in a before_request function"
    ),
    "SESSION_USE_SIGNER": "the cookie is always signed, with SECRET_KEY",
    "SESSION_KEY_PREFIX": "LITESESS_COLLECTION, or RedisStore(prefix=...), parts several apps",
    "SESSION_ID_LENGTH": "ids have 256 random bits; LITESESS_GENID makes others",
    "SESSION_SID_LENGTH": "ids have 256 random bits; LITESESS_GENID makes others",
    "SESSION_SERIALIZATION_FORMAT": (
        "values are stored as JSON, and dates, Decimal, UUID, bytes, tuples and sets"
    ),
    "SESSION_CLEANUP_N_REQUESTS": (
        "expired sessions are removed each LITESESS_GC_INTERVAL, in seconds"
    ),
    "SESSION_FILE_DIR": (
        "LITESESS_PATH names the directory of the sessions; give it a new one, and bring the"
        " sessions over with: litesess import-flask-session"
    ),
    "SESSION_FILE_THRESHOLD": "LITESESS_MAX_SESSIONS limits the number of sessions",
    "SESSION_FILE_MODE": "files of sessions are private to the user of the app",
    "SESSION_REDIS": "set LITESESS_STORE = RedisStore(client), of litesess.stores.redis",
    "SESSION_CACHELIB": _PLACE,
    "SESSION_MEMCACHED*": _PLACE,
    "SESSION_MONGODB*": _PLACE,
    "SESSION_SQLALCHEMY*": _PLACE,
    "SESSION_DYNAMODB*": _PLACE,
}
_FAMILIES: Final = tuple(key.rstrip("*") for key in _INSTEAD if key.endswith("*"))


def warn_of_leftovers(config: Mapping[str, Any], used: Collection[str]) -> None:
    """Log a warning for each key of Flask-Session's that *config* has, except the *used* ones."""
    for key in config:
        if key in used:
            continue
        family = next((each for each in _FAMILIES if key.startswith(each)), None)
        advice = _INSTEAD.get(key if family is None else f"{family}*")
        if advice is not None:
            logger.warning("%s is a key of Flask-Session's and does nothing: %s", key, advice)
