"""The attributes of the session cookie, as an app configures them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal

from litesess.errors import ConfigError, ConfigTypeError
from litesess.options import Options, boolean, build, option, optional, seconds_or_zero

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from litesess.web.cookie.keywords import CookieKeywords

#: Limit on the cookie's name, path and domain, each: browsers ignore an attribute of more than 1024
#: octets, and a cookie with more than 4096 in name and value.  Source: RFC 6265bis section 5.6.
LONGEST_NAME: Final = 1024

# Source: RFC 6265 section 4.1.1 (a cookie's name is a token of RFC 2616 section 2.2).
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#%&'*+.^_`|~-][A-Za-z0-9!#$%&'*+.^_`|~-]*\Z")
# Names that cookie parsers, WebOb's among them, take for attributes.
_ATTRIBUTES: Final = frozenset(
    {"path", "comment", "domain", "max-age", "expires", "secure", "httponly", "samesite"}
)
_PATH: Final = re.compile(r"/[^\x00-\x1f;\x7f]*\Z")
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")


def _path(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigTypeError(f"cookie {name} is of type {type(value).__name__}, not str")
    if not _PATH.match(value):
        raise ConfigError(f"cookie {name} {value!r} does not begin with /, or has ; or controls")
    # PEP 3333: a path in an environ is its bytes, each as one character.
    try:
        value.encode("latin-1").decode()
    except UnicodeError:
        return value.encode().decode("latin-1")
    return value


def _domain(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigTypeError(f"cookie {name} is of type {type(value).__name__}, not str")
    if not _DOMAIN.match(value):
        raise ConfigError(f"cookie {name} {value!r} is not a host name")
    return value


def _secure(name: str, value: object) -> bool | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, bool):
        return value
    raise ConfigTypeError(f"cookie {name} {value!r} is not True, False or 'auto'")


def _samesite(name: str, value: object) -> str | None:
    if value is None or value is False:
        return None
    if value is True:
        return "strict"
    if isinstance(value, str) and value.lower() in {"strict", "lax", "none", "auto"}:
        return value.lower()
    raise ConfigError(f"cookie {name} {value!r} is not 'strict', 'lax', 'none', 'auto' or None")


def _priority(name: str, value: object) -> str:
    if isinstance(value, str) and value.lower() in {"low", "medium", "high"}:
        return value.lower()
    raise ConfigError(f"cookie {name} {value!r} is not 'low', 'medium' or 'high'")


def _life(name: str, value: object) -> float:
    """Check a life: a duration above zero."""
    life = seconds_or_zero(name, value)
    if not life:
        # Elsewhere it stands for a cookie that ends with the browser.
        raise ConfigError(
            f"cookie {name} 0 s would end each session at once; None is for a cookie that ends with"
            " the browser, session.destroy() for a logout"
        )
    return life


def _instant(name: str, value: object) -> float:
    """Check a point in time: an aware datetime, or Unix seconds."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigError(f"cookie {name} {value} has no time zone; give it one")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigTypeError(
            f"cookie {name} is of type {type(value).__name__}, not an aware datetime or seconds"
        )
    try:
        instant = float(value)
    except OverflowError:
        raise ConfigError(f"cookie {name} is a number too large for a point in time") from None
    if not isfinite(instant):
        raise ConfigError(f"cookie {name} {value} is not a point in time")
    return instant


@dataclass(frozen=True, kw_only=True)
class CookieSettings(Options):
    """The attributes of the session cookie."""

    if TYPE_CHECKING:  # the types of the arguments; the fields have the types of checked values

        def __init__(self, **given: Unpack[CookieKeywords]) -> None: ...

    max_age: float | None = option(
        None,
        "Life of the session and of its cookie without a request, in seconds.  ``None``: the"
        " cookie ends with the browser, the session after the store's ``ttl``",
        check=optional(_life),
    )
    expires: float | None = option(
        None, "The end of both, as an aware datetime or Unix seconds", check=optional(_instant)
    )
    path: str = option("/", "The session exists on this path and below it", check=_path)
    domain: str | None = option(
        None,
        "Subdomains of this domain get the cookie, too.  ``None``: only this host gets it",
        check=optional(_domain),
    )
    secure: bool | Literal["auto"] = option(
        "auto", "Send the cookie over https only.  auto: if the request came so", check=_secure
    )
    httponly: bool = option(True, "Hide the cookie from scripts", check=boolean)
    samesite: str | None = option(
        "lax",
        "Send the cookie from other sites' pages: strict, lax, none.  auto: none over https, else"
        " lax",
        check=_samesite,
    )
    partitioned: bool = option(
        False, "One cookie for each site that embeds this one (CHIPS); needs secure", check=boolean
    )
    priority: str | None = option(
        None,
        "Chromium drops cookies of low priority first: low, medium, high",
        check=optional(_priority),
    )

    def check_agreement(self) -> None:
        """Raise :class:`ConfigError` if two settings contradict each other."""
        if self.max_age is not None and self.expires is not None:
            raise ConfigError("cookie max_age and expires are both set; a life or an end, not both")
        if not self.secure:
            # Source: RFC 6265bis section 5.7: browsers reject such cookies.
            if self.samesite in {"none", "auto"}:
                raise ConfigError(f"cookie samesite {self.samesite!r} needs secure=True or 'auto'")
            if self.partitioned:
                raise ConfigError("cookie partitioned needs secure=True or 'auto'")


def cookie_settings(given: object) -> CookieSettings:
    """Return the settings that *given* stands for: settings, a mapping, or None for the defaults.

    Raises:
        ConfigError: it stands for none.
    """
    if isinstance(given, CookieSettings):
        return given
    if given is None:
        return CookieSettings()
    if isinstance(given, Mapping):
        return build(CookieSettings, given, "cookie ")
    raise ConfigTypeError(
        f"cookie is of type {type(given).__name__}, not CookieSettings, a mapping or a callable"
    )


def check_name(name: str, settings: CookieSettings) -> None:
    """Raise :class:`ConfigError` unless a cookie of that name and those settings can work.

    Source: RFC 6265bis section 4.1.3, the rules of the prefixes.
    """
    for what, text in ("name", name), ("path", settings.path), ("domain", settings.domain or ""):
        if len(text) > LONGEST_NAME:
            raise ConfigError(f"cookie {what} has {len(text)} characters, limit {LONGEST_NAME}")
    if not _TOKEN.match(name) or name.lower() in _ATTRIBUTES:
        raise ConfigError(
            f"cookie_name {name!r} is not a token of RFC 6265, or an attribute's name"
        )
    if is_prefixed(name) and not settings.secure:
        raise ConfigError(f"cookie_name {name!r} needs cookie secure=True or 'auto'")
    if is_host_prefixed(name) and (settings.domain is not None or settings.path != "/"):
        raise ConfigError(f"cookie_name {name!r} needs cookie path='/' and no domain")


def is_prefixed(name: str) -> bool:
    """Return whether browsers take a cookie of this name over https only.

    Source: RFC 6265bis section 4.1.3.
    """
    return name.lower().startswith(("__host-", "__secure-"))


def is_host_prefixed(name: str) -> bool:
    """Return whether browsers take a cookie of this name for one host and the path ``/`` only.

    Source: RFC 6265bis section 4.1.3.2.
    """
    return name.lower().startswith("__host-")


def may_be_host(settings: CookieSettings, own: Mapping[str, Any], *, is_host: bool = False) -> bool:
    """Return whether a cookie can have a name that begins with ``__Host-``.

    Source: RFC 6265bis section 4.1.3.2: with ``Secure``, without a domain, for the path ``/``.

    Args:
        settings: the configured ones.
        own: the session's own settings, where they differ.
        is_host: the client has a cookie by such a name, which must not become less than that.
    """
    return (
        (is_host or own.get("secure", settings.secure) is not False)
        and own.get("domain", settings.domain) is None
        and own.get("path", settings.path) == "/"
    )
