"""Advice about an unknown option: the names of other session libraries, and ours for them.

The libraries are Beaker, Pyramid, Flask, Flask-Session, express-session and Django.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

#: The attributes of the cookie: options of ``CookieSettings``.
_ATTRIBUTES: Final = frozenset({
    "domain", "expires", "httponly", "max_age", "partitioned", "path", "priority", "samesite",
    "secure",
})  # fmt: skip

_STORE, _WAL, _REDIS = "the store", "WALStore", "RedisStore"
_MIDDLEWARE: Final = "the middleware"
#: The part that has an option, for an option that is given to another part.
PARTS: Final = {
    **dict.fromkeys(
        ("anonymous_ttl", "encryption_key", "max_per_owner", "touch_interval", "ttl"), _STORE
    ),
    **dict.fromkeys(
        (
            "collection", "compact_after_gc", "compact_interval", "debug", "durable",
            "gc_interval", "lock_timeout", "max_sessions", "path", "read_only", "share_anywhere",
            "wal_limit",
        ),
        _WAL,
    ),
    **dict.fromkeys(("prefix", "timeout"), _REDIS),
    **dict.fromkeys(
        (
            "absolute_timeout", "cache_headers", "client_info", "cookie", "cookie_name",
            "drop_at_login", "environ_key", "genid", "if_unavailable", "keep_on_error",
            "max_session_bytes", "on_event", "owner_key", "resave", "rolling",
            "save_uninitialized", "secret", "store", "trust_proxy", "unset",
        ),
        _MIDDLEWARE,
    ),
}  # fmt: skip

_NOTICED: Final = "changes are noticed at any depth, and stored at the end of the request"
_TYPED: Final = "values are always stored as typed JSON"
_SIGNED: Final = "the cookie is always signed, with 'secret'"
_TOKENS: Final = "CSRF tokens live as long as the session, or until a login"

#: By a name that another library has: the option's name here, or a sentence.
_MEANT: Final = {
    **dict.fromkeys(
        (
            "expiry", "gc_maxlifetime", "idle_timeout", "lifetime", "permanent_lifetime",
            "session_lifetime", "timeout",
        ),
        "ttl",
    ),
    **dict.fromkeys(("age", "cookie_age", "maxage"), "max_age"),
    **dict.fromkeys(("cookie_key", "key", "name"), "cookie_name"),
    **dict.fromkeys(
        (
            "cache_dir", "data_dir", "dir", "directory", "file_dir", "file_path", "save_path",
            "storage_path",
        ),
        "path",
    ),
    **dict.fromkeys(
        (
            "backend", "cache_alias", "client", "engine", "mongodb", "redis", "sqlalchemy", "type",
            "url",
        ),
        "store",
    ),
    **dict.fromkeys(("keys", "secret_key", "secret_keys", "secrets", "validate_key"), "secret"),
    "encrypt_key": "encryption_key",
    "key_prefix": "prefix",
    "reissue_time": "touch_interval",
    **dict.fromkeys(("refresh_each_request", "save_every_request"), "rolling"),
    "proxy": "trust_proxy",
    "file_threshold": "max_sessions",
    **dict.fromkeys(("cleanup_interval", "cleanup_n_requests"), "gc_interval"),
    **dict.fromkeys(("cookie_on_exception", "set_on_exception"), "keep_on_error"),
    **dict.fromkeys(
        ("expire_at_browser_close", "permanent"),
        "a cookie without 'max_age' ends with the browser, the session after 'ttl' of the store",
    ),
    "cookie_expires": "a cookie without 'max_age' ends with the browser",
    **dict.fromkeys(("auto", "autosave", "save_unmodified"), _NOTICED),
    **dict.fromkeys(
        (
            "data_serializer", "json_reviver", "json_serializer", "serialization_format",
            "serializer",
        ),
        _TYPED,
    ),
    **dict.fromkeys(("hashalg", "salt", "signed", "use_signer"), _SIGNED),
    **dict.fromkeys(("constant_csrf_token", "csrf_trusted_origins"), _TOKENS),
    **dict.fromkeys(
        ("id_length", "sid_length"), "an id has 256 random bits; 'genid' makes other ones"
    ),
    **dict.fromkeys(
        ("file_mode", "mode"), "the directory has mode 0700, and each file in it 0600"
    ),
    **dict.fromkeys(
        ("lock_dir", "lockdir"), "the locks lie in the store's directory, 'path' of WALStore"
    ),
    "use_cookies": "a session id is always in a cookie, never in a URL",
}  # fmt: skip

#: The least likeness, by difflib's ratio, of a name that is misspelt.
_NEAR: Final = 0.75


def suggestion(name: object, known: Collection[str], spelled: Callable[[str], str] = str) -> str:
    """Return the end of an error about an unknown option: its name here, or all that are known.

    Args:
        name: the unknown one, in the form of *known*.
        known: the options that can be given here, in lower case.
        spelled: returns how an option is written here, such as with a prefix.
    """
    return f"; {_advice(str(name), known, spelled)}"


def _advice(name: str, known: Collection[str], spelled: Callable[[str], str]) -> str:
    plain = _plain(name)
    meant = _MEANT.get(plain, plain)
    if " " in meant:
        return meant
    for target in meant, f"cookie.{meant}":
        if target in known:
            return f"did you mean {spelled(target)!r}?"
    if plain in _ATTRIBUTES or (meant in _ATTRIBUTES and meant != "path"):
        return _in_cookie(meant, known, spelled)
    nearest = _nearest(name, known)
    return f"did you mean {spelled(nearest)!r}?" if nearest else _elsewhere(meant, known, spelled)


def _elsewhere(meant: str, known: Collection[str], spelled: Callable[[str], str]) -> str:
    if meant == "cookie" and "cookie.secure" in known:
        return f"give its attributes one by one, such as {spelled('cookie.secure')!r}"
    if meant in PARTS:
        return f"{meant!r} is an option of {PARTS[meant]}"
    return f"known are {', '.join(spelled(each) for each in known)}"


def _plain(name: str) -> str:
    """Return a name in the form of the tables: ``SESSION_COOKIE_SameSite`` is ``samesite``."""
    lower = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_")
    lower = lower.removeprefix("session_")
    for plain in lower, lower.removeprefix("cookie_"):
        joined = plain.replace("_", "")
        if joined in _ATTRIBUTES:
            return joined
        if plain in _ATTRIBUTES:
            return plain
    return lower


def _in_cookie(attribute: str, known: Collection[str], spelled: Callable[[str], str]) -> str:
    where = f"{spelled('cookie')}={{{attribute!r}: ...}}"
    if "cookie" not in known:
        where = f"the middleware, as cookie={{{attribute!r}: ...}}"
    if attribute == "path":
        return f"the store's directory is WALStore's, and the cookie's path belongs into {where}"
    return f"it belongs into {where}"


def _nearest(name: str, known: Collection[str]) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415  # slows every start by 1.5 ms, and only an error needs it

    return next(iter(get_close_matches(name.lower(), known, n=1, cutoff=_NEAR)), None)
