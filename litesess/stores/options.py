"""The options that several stores have.

Each is declared once, for a field of the stores' dataclasses, and a store takes its settings from
them in one step.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Literal

from litesess.clocks import wall_time
from litesess.crypto import encryption_key
from litesess.errors import ConfigTypeError
from litesess.options import count, function, option, optional, seconds, seconds_or_zero

#: The attributes of a store that an option of the same name sets.
_SETTINGS: Final = (
    "ttl", "anonymous_ttl", "touch_interval", "gc_interval", "compact_after_gc", "compact_interval",
    "lock_timeout",
    "clock",
)  # fmt: skip


def take_settings(store: object, given: object) -> None:
    """Set the settings of *store* that *given*, its checked options or another store, has."""
    for name in _SETTINGS:
        if hasattr(given, name):
            setattr(store, name, getattr(given, name))


def ttl() -> Any:
    """Return the option ``ttl``."""
    return option(86_400, "Life of a session if its cookie has no expiry, in s", check=seconds)


def anonymous_ttl() -> Any:
    """Return the option ``anonymous_ttl``."""
    return option(
        None,
        "As ``ttl``, for a session without an owner.  A short one soon removes the sessions of"
        " passing visitors and robots.  ``None``: ``ttl``.  If the cookie has a ``max_age`` or"
        " ``expires``, that decides, with an owner or without",
        check=optional(seconds),
    )


def gc_interval() -> Any:
    """Return the option ``gc_interval``."""
    return option(
        300,
        "Seconds between two collections, which remove expired sessions.  ``None``: no collections",
        check=optional(seconds),
    )


def touch_interval() -> Any:
    """Return the option ``touch_interval``."""
    return option(
        "auto",
        "Smallest change of expiry that is written, in seconds.  auto: a tenth of the life, at most"
        " 60 s",
        check=_touch_interval,
    )


def key(covers: str) -> Any:
    """Return the option ``encryption_key``; *covers* names the data that it encrypts."""
    return option(
        None,
        f"Encrypts {covers}: a passphrase of at least 12 characters, or 32 random bytes",
        check=optional(encryption_key),
        secret=True,
    )


def max_sessions() -> Any:
    """Return the option ``max_sessions``."""
    return option(
        None,
        "Upper limit on stored sessions, counting expired ones that are not removed yet.  When it"
        " is reached, a new session without an owner takes the place of another one without an"
        " owner.  If no such session is found, the page is served without a session.  Logins are"
        " always stored, and are never ended to make room",
        check=optional(count),
    )


def max_per_owner() -> Any:
    """Return the option ``max_per_owner``."""
    return option(
        None,
        "Upper limit on the sessions of one owner.  One more ends the oldest",
        check=optional(count),
    )


def clock() -> Any:
    """Return the option ``clock``."""
    return option(
        wall_time,
        "Returns the current time in Unix seconds.  Replace it in tests",
        check=function,
        shown="time.time",
    )


def log_everything() -> None:
    """Log everything to stderr, as the option ``debug`` asks."""
    logger = logging.getLogger("litesess")
    logger.setLevel(logging.DEBUG)
    if not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())


def _touch_interval(name: str, value: object) -> float | Literal["auto"]:
    """Check a duration in seconds, or "auto"."""
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        raise ConfigTypeError(f"{name} {value!r} is neither seconds nor 'auto'")
    return seconds_or_zero(name, value)
