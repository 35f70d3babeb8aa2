"""Beaker's session options, as the options of ``SessionMiddleware`` and ``WALStore``."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from litesess.advice import suggestion
from litesess.crypto import encryption_key
from litesess.errors import ConfigError, ConfigTypeError, DecryptError
from litesess.integrations.settings import from_settings
from litesess.options import seconds
from litesess.web import LONGEST_MAX_AGE, check_secrets

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from litesess.beaker.keywords import BeakerKeywords

logger = logging.getLogger("litesess.beaker")

#: The name of Beaker's cookie.
COOKIE_NAME: Final = "beaker.session.id"
_OURS: Final = re.compile(r"(beaker\.session\.|session\.|session_(?!class\Z))(.+)", re.DOTALL)
_CACHE: Final = re.compile(r"(beaker\.)?cache\.")
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "y", "t", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "f", "0"), False),
}

_ELSEWHERE: Final = "the sessions are in files below the path that you give, on this machine alone"
_ENCRYPTION: Final = "with an encrypt_key all stored values are encrypted, always by AES-256-GCM"
#: Options without effect, each with the behaviour of litesess in its place.
_WITHOUT_EFFECT: Final = {
    "invalidate_corrupt": "damage is never passed over: opening the store raises Corruption, and"
    " `litesess salvage` gets the certain sessions out",
    "validate_key": "secret signs the cookie, and nothing else is signed",
    "crypto_type": _ENCRYPTION,
    "encrypt_nonce_bits": _ENCRYPTION,
    "log_file": "litesess logs by way of Python's logging",
    "webtest_varname": "tests use litesess.testing.edit_session",
    **dict.fromkeys(
        (
            "bind", "dbm_dir", "dbmmodule", "digest_filenames", "memcache_module",
            "namespace_class", "sa_opts", "schema_name", "table", "table_name", "url", "urls",
        ),
        _ELSEWHERE,
    ),
}  # fmt: skip
_REFUSED: Final = {
    "id": "gives all clients one session; take it out",
    "session_class": "has no counterpart; take it out, and see docs/beaker.rst for the methods",
}
_DIRECTORIES: Final = ("data_dir", "file_dir", "lock_dir", "dbm_dir")


def from_beaker(
    config: Mapping[str, Any], path: str | os.PathLike[str], **options: Unpack[BeakerKeywords]
) -> dict[str, Any]:
    """Return Beaker's session options as options of :class:`litesess.SessionMiddleware`.

    ``SessionMiddleware(app, **from_beaker(config, "data"))`` keeps its sessions in ``data``.  Each
    call logs a warning for each option without a counterpart.

    Args:
        config: as Beaker's middleware takes it: names that begin with ``session.`` or
            ``beaker.session.``; if no name does, all names; values can be text.
        path: the directory of the new store; it must not be a directory of Beaker's.
        **options: options of the middleware and of ``WALStore``; they override *config*.

    Raises:
        ConfigError: an option is unknown or wrong, or asks for a feature that is missing here.
        DecryptError: the store is not encrypted by ``encrypt_key``.
    """
    given = Given(config)
    given.check()
    _check_path(given, path)
    settings = {"path": path, **_taken(given), **_spread(options)}
    if "secret" not in settings:
        settings["secret"] = _secret(given)
    given.warn(path)
    try:
        store, made = from_settings(settings)
    except DecryptError as error:
        raise DecryptError(
            f"{error}; the store's encryption_key is {given.name('encrypt_key')}: give it to"
            " `litesess import-beaker --create`, too, by LITESESS_ENCRYPTION_KEY or --key-file"
        ) from error
    return {"store": store, **made}


class Given:
    """Beaker's session options as they were given."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        found = {name: _OURS.match(name) for name in config if isinstance(name, str)}
        self._names = {match[2]: name for name, match in found.items() if match}
        #: The beginning of each name.
        self.prefix = next((match[1] for match in found.values() if match), "")
        if not self._names:
            self._names = {name: name for name in found if not _CACHE.match(name)}
        self.values = {option: config[name] for option, name in self._names.items()}

    def name(self, option: str) -> str:
        """Return an option's name as it was given, or as it would be."""
        return self._names.get(option, self.prefix + option)

    def text(self, option: str) -> str | None:
        """Return an option's text; None: it was not given."""
        value = self.values.get(option)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise ConfigTypeError(f"{self.name(option)} is of type {type(value).__name__}, not str")
        return value

    def boolean(self, option: str, *, default: bool) -> bool:
        """Return an option's True or False, which may be given as a word."""
        value = self.values.get(option)
        if isinstance(value, str):
            value = _WORDS.get(value.strip().lower(), value)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise ConfigTypeError(f"{self.name(option)} {value!r} is not True or False")
        return value

    def seconds(self, option: str) -> float | None:
        """Return an option's duration in seconds; None: it was not given."""
        value = self.values.get(option)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        return None if value is None else seconds(self.name(option), value)

    def check(self) -> None:
        """Raise ConfigError for unknown options and for features that litesess does not have."""
        known = {*_TAKEN, *_WITHOUT_EFFECT, *_REFUSED}
        for option, value in self.values.items():
            if option not in known:
                hint = suggestion(option, sorted(known), self.prefix.__add__)
                raise ConfigTypeError(f"unknown setting {self.name(option)}{hint}")
            if option in _REFUSED and value is not None:
                raise ConfigError(f"{self.name(option)} {_REFUSED[option]}")
        if self.values.get("type") == "cookie":
            raise ConfigError(
                f"{self.name('type')} 'cookie' keeps the data in the cookie, which litesess does"
                " not; take it out: the data is on the disk then, and all users log in again"
            )
        if not self.boolean("use_cookies", default=True):
            raise ConfigError(
                f"{self.name('use_cookies')} is off, and litesess takes ids from nowhere but the"
                " cookie; take it out"
            )
        if self.values.get("data_serializer") not in (None, "json", "pickle"):
            raise ConfigError(
                f"{self.name('data_serializer')} is one of your own; litesess stores JSON, and"
                " dates, Decimal, UUID, bytes, tuples and sets: take it out, and store such values"
            )

    def warn(self, path: object) -> None:
        """Log each option without a counterpart, and the behaviour of litesess in its place."""
        instead = {
            option: _WITHOUT_EFFECT[option]
            for option, value in self.values.items()
            if option in _WITHOUT_EFFECT and value is not None
        }
        if self.values.get("type") not in (None, "", "file"):
            instead["type"] = f"the sessions are in files below {path}, on this machine alone"
        if self.values.get("data_serializer") == "pickle":
            instead["data_serializer"] = (
                "values are JSON, and dates, Decimal, UUID, bytes, tuples and sets; storing others"
                " raises EncodeError"
            )
        if not self.boolean("save_accessed_time", default=True):
            instead["save_accessed_time"] = "a session that is read lives on, too"
        if not self.boolean("auto", default=True):
            instead["auto"] = "changes are stored, with or without save()"
        for option, what in instead.items():
            logger.warning("%s has no effect any more: %s", self.name(option), what)
        if self.seconds("timeout") is None:
            logger.warning(
                "%s is not set: a session ends when it was not used for %d days, which is as long"
                " as browsers keep a cookie",
                self.name("timeout"),
                LONGEST_MAX_AGE // 86_400,
            )


def _check_path(given: Given, path: str | os.PathLike[str]) -> None:
    """Raise :class:`ConfigError` if *path* is a directory of Beaker's."""
    for option in _DIRECTORIES:
        theirs = given.text(option)
        if theirs is not None and path and Path(theirs).resolve() == Path(path).resolve():
            raise ConfigError(
                f"path {os.fspath(path)!r} is {given.name(option)}, which is to be deleted one day;"
                f" give another, such as {theirs + '/litesess'!r}"
            )


def _taken(given: Given) -> dict[str, Any]:
    """Return the options as settings of litesess."""
    settings: dict[str, Any] = {}
    for option, take in _TAKEN.items():
        if option in given.values:
            settings |= take(given)
    return {"cookie_name": COOKIE_NAME, **_life(given), **settings}


def _spread(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as flat settings."""
    settings = dict(options)
    if isinstance(settings.get("secret"), str):
        settings["secret"] = [settings["secret"]]  # one, though it may have spaces
    cookie = settings.get("cookie")
    if isinstance(cookie, Mapping):
        del settings["cookie"]
        settings |= {f"cookie.{name}": value for name, value in cookie.items()}
    return settings


def _secret(given: Given) -> Any:
    secret = given.text("secret")
    name = given.name("secret")
    cure = "give another one: from_beaker(..., secret=...)"
    if secret is None:
        raise ConfigError(f"{name} is missing, and litesess signs every cookie; {cure}")
    try:
        return check_secrets(name, [secret])
    except ConfigError as error:
        raise ConfigError(f"{error}, and {cure}; Beaker's cookies are still accepted") from None


def _life(given: Given) -> dict[str, Any]:
    """Return the settings for the end of sessions and cookies.

    Beaker's cookie ends ``cookie_expires`` after it was first sent, and its session after
    ``timeout`` without a request: here a session ends when either of them would.
    """
    timeout = given.seconds("timeout")
    idle = LONGEST_MAX_AGE if timeout is None else timeout
    expires = given.values.get("cookie_expires")
    if isinstance(expires, str):
        expires = _WORDS.get(expires.strip().lower(), expires)
    if expires is None or expires is True:
        return {"ttl": idle}
    if isinstance(expires, datetime):
        if timeout is not None:
            raise ConfigError(
                f"{given.name('cookie_expires')} is a point in time, beside which"
                f" {given.name('timeout')} can't be kept; give seconds, or True"
            )
        # Beaker writes the time without conversion, and cookies count in UTC.
        aware = expires.replace(tzinfo=timezone.utc) if expires.tzinfo is None else expires
        return {"ttl": idle, "cookie.expires": aware}
    longest = None if expires is False else given.seconds("cookie_expires")
    life = idle if longest is None else min(idle, longest)
    # Send the cookie with each response, or it would end before a session that is in use.
    is_rolling = timeout is not None and (longest is None or timeout < longest)
    return {
        "ttl": life,
        "cookie.max_age": life,
        "absolute_timeout": longest,
        "rolling": is_rolling,
    }


def _attribute(ours: str, option: str) -> Callable[[Given], dict[str, Any]]:
    def take(given: Given) -> dict[str, Any]:
        value = given.text(option)
        return {} if value is None else {ours: value}

    return take


def _flag(ours: str, option: str) -> Callable[[Given], dict[str, Any]]:
    def take(given: Given) -> dict[str, Any]:
        if given.values[option] is None:
            return {}
        return {ours: given.boolean(option, default=False)}

    return take


def _samesite(given: Given) -> dict[str, Any]:
    # None leaves the attribute out; the word "None" is SameSite=None.
    return {"cookie.samesite": given.text("samesite")}


def _encryption(given: Given) -> dict[str, Any]:
    key = given.values["encrypt_key"]
    if key is None or key == "":
        return {}
    return {"encryption_key": encryption_key(given.name("encrypt_key"), key)}


def _nothing(_given: Given) -> dict[str, Any]:
    return {}


#: Beaker's options that count, each with the function that returns our settings for it.
_TAKEN: Final[dict[str, Callable[[Given], dict[str, Any]]]] = {
    "key": _attribute("cookie_name", "key"),
    "cookie_domain": _attribute("cookie.domain", "cookie_domain"),
    "cookie_path": _attribute("cookie.path", "cookie_path"),
    "secure": _flag("cookie.secure", "secure"),
    "httponly": _flag("cookie.httponly", "httponly"),
    "samesite": _samesite,
    "encrypt_key": _encryption,
    # Handled elsewhere, or the same in litesess.
    **dict.fromkeys(
        (
            "auto", "cookie_expires", "data_dir", "data_serializer", "file_dir", "lock_dir",
            "save_accessed_time", "secret", "timeout", "type", "use_cookies",
        ),
        _nothing,
    ),
}  # fmt: skip
