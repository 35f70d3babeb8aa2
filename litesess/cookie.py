"""The session cookie: its settings, its signature, its way in and out of headers.

The only module that knows WebOb.  The value is WebOb's ``SignedSerializer`` (HMAC-SHA-256) over
the session id; the cookie's name is part of the salt, so that a value signed for one cookie is
worth nothing in another.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from hashlib import sha256
from math import isfinite
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

from webob.cookies import SignedSerializer, make_cookie

from litesess.errors import ConfigError, ConfigTypeError
from litesess.options import Options, boolean, build, option, optional, seconds_or_zero

logger = logging.getLogger("litesess.cookie")

SECRET_BYTES: Final = 32
SHORTEST_SECRET_BYTES: Final = 16
#: Browsers ignore what a longer life says.  Source: RFC 6265bis section 5.5.
LONGEST_MAX_AGE: Final = 400 * 86_400
#: What a browser may send at most is far less; parsing more is work for an attacker.
LONGEST_HEADER: Final = 16_384
LONGEST_VALUE: Final = 512
#: Of the cookie's name, path and domain: browsers ignore an attribute of more than 1024 octets, and
#: a cookie whose name and value have more than 4096.  Source: RFC 6265bis section 5.6.
LONGEST_NAME: Final = 1024
#: So many verified values are remembered: 0.3 MB.
_KNOWN_VALUES: Final = 1024
_LAST_DATE: Final = 253_402_300_799  # 9999-12-31, the last that a cookie date can say

# Source: RFC 3986 section 3.3, what may stand in a path as it is.
_PATH_SAFE: Final = "/!$&'()*+,=:@~.-_"
# Source: RFC 6265 section 4.1.1 (a cookie's name is a token of RFC 2616 section 2.2).
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#%&'*+.^_`|~-][A-Za-z0-9!#$%&'*+.^_`|~-]*\Z")
# Names that WebOb takes for attributes when it parses.
_ATTRIBUTES: Final = frozenset(
    {"path", "comment", "domain", "max-age", "expires", "secure", "httponly", "samesite"}
)
_PATH: Final = re.compile(r"/[^\x00-\x1f;\x7f]*\Z")
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
# Base64url without padding, in the one spelling that its bytes have: the bits of the last
# character that stand for nothing are zero.  Source: RFC 4648 section 3.5.
_SIGNED: Final = re.compile(
    rb"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?\Z"
)
#: What an id may look like: it must pass through a header as it is.
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")

# Longer ones first: what is left when all are taken out must be secret.
_PLACEHOLDERS: Final = (
    "yoursecret", "notsecret", "changeme", "keyboardcat", "secretkey", "secret", "password",
    "example", "placeholder", "development", "insecure", "default", "test",
)  # fmt: skip


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
    if not isfinite(value):
        raise ConfigError(f"cookie {name} {value} is not a point in time")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class CookieSettings(Options):
    """The attributes of the session cookie."""

    max_age: float | None = option(
        None,
        "Life of the session and of its cookie without a request, in seconds; ``None``: the"
        " cookie ends with the browser, the session after the store's ``ttl``",
        check=optional(seconds_or_zero),
    )
    expires: float | None = option(
        None, "When both end, an aware datetime or Unix seconds", check=optional(_instant)
    )
    path: str = option("/", "Where the session is valid; elsewhere there is none", check=_path)
    domain: str | None = option(
        None,
        "Whose subdomains get the cookie too; ``None``: this host alone",
        check=optional(_domain),
    )
    secure: bool | Literal["auto"] = option(
        "auto", "Sent over https only; auto: as the request came", check=_secure
    )
    httponly: bool = option(True, "Hidden from scripts", check=boolean)
    samesite: str | None = option(
        "lax",
        "Sent from other sites' pages: strict, lax, none; auto: none over https, else lax",
        check=_samesite,
    )
    partitioned: bool = option(
        False, "Kept apart for each site that embeds this one (CHIPS); needs secure", check=boolean
    )
    priority: str | None = option(
        None, "What Chromium drops first: low, medium, high", check=optional(_priority)
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
    prefix = name.lower()
    if prefix.startswith(("__host-", "__secure-")) and not settings.secure:
        raise ConfigError(f"cookie_name {name!r} needs cookie secure=True or 'auto'")
    if prefix.startswith("__host-") and (settings.domain is not None or settings.path != "/"):
        raise ConfigError(f"cookie_name {name!r} needs cookie path='/' and no domain")


class Secrets(tuple[bytes, ...]):
    """Secrets that were checked; they are not checked, nor complained of, again."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def check_secrets(name: str, value: object) -> Secrets:
    """Return the secrets as bytes, newest first.

    Raises:
        ConfigError: there is none, or one is too short or well known.

    Source: CVE-2020-17526 (Airflow): one default secret signed everybody's sessions.
    """
    if isinstance(value, Secrets):
        return value
    given: Sequence[object] = value if isinstance(value, (list, tuple)) else [value]
    cure = "make one with: litesess secret"
    if not given:
        raise ConfigError(f"{name} is an empty list; {cure}")
    secrets = []
    for item in given:
        if not isinstance(item, (str, bytes)):
            raise ConfigTypeError(
                f"{name} is of type {type(item).__name__}, not str or bytes; {cure}"
            )
        secret = item.encode() if isinstance(item, str) else bytes(item)
        if len(secret) < SHORTEST_SECRET_BYTES:
            raise ConfigError(
                f"{name} has {len(secret)} bytes, needs {SHORTEST_SECRET_BYTES},"
                f" better {SECRET_BYTES}; {cure}"
            )
        if _is_well_known(secret):
            raise ConfigError(f"{name} is a placeholder that everybody knows; {cure}")
        if len(secret) < SECRET_BYTES:
            logger.warning("%s has %d bytes, better %d; %s", name, len(secret), SECRET_BYTES, cure)
        secrets.append(secret)
    return Secrets(secrets)


def _is_well_known(secret: bytes) -> bool:
    if len(set(secret)) < 4:
        return True
    letters = re.sub(r"[^a-z]", "", secret.decode("latin-1").lower())
    rest = letters
    for word in _PLACEHOLDERS:
        rest = rest.replace(word, "")
    # What is left beside well-known words is no secret: "changeme-changeme-123".
    return bool(letters) and not rest and len(letters) * 2 > len(secret)


class Verified(NamedTuple):
    """A session id whose signature holds."""

    session_id: str
    is_stale: bool  # signed with a secret that is not the first

    def __repr__(self) -> str:
        return f"<Verified is_stale={self.is_stale}>"


def values_of(name: str, header: str) -> list[str]:
    """Return the values that a ``Cookie`` header gives the cookie *name*, in their order.

    The work is linear in the header's length.  WebOb's parser is not used: it takes quadratic time
    for a quote that is not closed, and drops, cuts or joins foreign cookies its own way.  A value
    of ours needs no escapes, so that a pair of quotes is all that is taken off.

    Args:
        name: a cookie's name.
        header: the ``Cookie`` header; servers join several by a comma, RFC 6265 section 5.4 has a
            semicolon between two cookies.  One of more than ``LONGEST_HEADER`` characters, and a
            value of more than ``LONGEST_VALUE``, counts as absent.
    """
    if name not in header or len(header) > LONGEST_HEADER:
        return []
    values = []
    if not name.lower().startswith(("__host-", "__secure-")):
        # Not for those names: a neighbour may not set them, but one with a comma before them.
        header = header.replace(",", ";")
    for piece in header.split(";"):
        given_name, _, value = piece.partition("=")
        if given_name.strip(" \t") != name:
            continue
        value = value.strip(" \t")
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if len(value) <= LONGEST_VALUE and value.isascii():
            values.append(value)
    return values


class CookieSigner:
    """Reads and writes the values of one cookie."""

    def __init__(self, name: str, secrets: Sequence[bytes]) -> None:
        self.name = name
        # A token has no NUL, so no other name and secret make the same key.
        salt = b"litesess/cookie/1/" + name.encode() + b"\0"
        self._serializers = [_serializer(secret, salt) for secret in secrets]
        # Values that were verified: a client that comes back is not checked again.  Forged ones
        # never get in, and no dict tells by its time how much of a key was right.
        self._known: dict[bytes, Verified] = {}

    def sign(self, session_id: str) -> str:
        """Return the cookie value that carries *session_id*."""
        signed: bytes = self._serializers[0].dumps(session_id)
        return signed.decode()

    def verified(self, header: str) -> list[Verified]:
        """Return the different ids that a ``Cookie`` header carries and we have signed.

        What else is in the header does not matter, and nothing in it is an error.
        """
        found: dict[str, Verified] = {}
        for value in values_of(self.name, header):
            verified = self._verify(value.encode("ascii"))
            if verified is not None:
                found.setdefault(verified.session_id, verified)
        return list(found.values())

    def _verify(self, value: bytes) -> Verified | None:
        known = self._known.get(value)
        if known is None:
            known = self._check(value)
            if known is not None:
                if len(self._known) >= _KNOWN_VALUES:
                    self._known.clear()
                self._known[value] = known
        return known

    def _check(self, value: bytes) -> Verified | None:
        # WebOb would accept junk between the characters, and lax padding.
        if len(value) > LONGEST_VALUE or not _SIGNED.match(value):
            return None
        for position, serializer in enumerate(self._serializers):
            try:
                session_id = serializer.loads(value)
            except ValueError:  # not signed with this secret
                continue
            return Verified(session_id, position > 0) if ID.match(session_id) else None
        return None


def _serializer(secret: bytes, salt: bytes) -> SignedSerializer:
    serializer = SignedSerializer(secret, salt, hashalg="sha256", serializer=_Plain)
    # WebOb passes a lambda, which keeps hmac from its C code: 3 times slower.
    serializer.digestmod = sha256
    return serializer


class _Plain:
    """WebOb's serializer protocol over the id as it is."""

    @staticmethod
    def dumps(session_id: str) -> bytes:
        return session_id.encode("ascii")

    @staticmethod
    def loads(data: bytes) -> str:
        return data.decode("ascii")  # UnicodeDecodeError is the ValueError that WebOb expects


_CHECKS: Final = {item.name: item.metadata["check"] for item in fields(CookieSettings)}


class _Attribute:
    """A cookie attribute: as configured, unless the app set it on this session."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, cookie: SessionCookie | None, _owner: type) -> Any:
        if cookie is None:
            return self
        return cookie.changes.get(self._name, getattr(cookie.settings, self._name))

    def __set__(self, cookie: SessionCookie, value: object) -> None:
        checked = _CHECKS[self._name](self._name, value)
        # The rules that bind attributes to each other hold for one session's cookie, too.
        if cookie.is_agreed():
            check_name(cookie.name, replace(cookie.own_settings(), **{self._name: checked}))
        cookie.change(self._name, checked)


class SessionCookie:
    """One session's cookie settings: those configured, and what the app changed on this session.

    Only the changes are stored with the session; the rest follows the configuration.

    Attributes:
        path, domain, secure, httponly, samesite, partitioned, priority: see
            :class:`CookieSettings`; settable.
        original_max_age: the whole life, in seconds, of which ``max_age`` is what remains.
    """

    __slots__ = ("_clock", "_ends_at", "changes", "is_changed", "name", "settings")

    path = _Attribute()
    domain = _Attribute()
    secure = _Attribute()
    httponly = _Attribute()
    samesite = _Attribute()
    partitioned = _Attribute()
    priority = _Attribute()

    def __init__(
        self,
        name: str,
        settings: CookieSettings,
        changes: Mapping[str, Any] | None,
        stored_until: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.settings = settings
        self.changes = dict(changes or ())
        self.is_changed = False
        self._clock = clock
        self._ends_at = stored_until

    @property
    def original_max_age(self) -> float | None:
        """The whole life that a request gives the session, in seconds; None: see ``ttl``."""
        if "max_age" in self.changes or "expires" in self.changes:
            life: float | None = self.changes.get("max_age")
            return life
        return self.settings.max_age

    @property
    def max_age(self) -> float | None:
        """How much of that life remains, in seconds; settable."""
        end = self._end()
        return None if end is None else end - self._clock()

    @max_age.setter
    def max_age(self, value: float | timedelta | None) -> None:
        life = _CHECKS["max_age"]("max_age", value)
        if self.changes.pop("expires", None) is not None:
            self.is_changed = True
        self._ends_at = None
        self.change("max_age", life)

    @property
    def expires(self) -> datetime | None:
        """When the session ends, if nobody comes back, in UTC; settable, then it is final."""
        end = self._end()
        return None if end is None else datetime.fromtimestamp(min(end, _LAST_DATE), timezone.utc)

    @expires.setter
    def expires(self, value: datetime | float | None) -> None:
        end = _CHECKS["expires"]("expires", value)
        if end is None:
            self.max_age = None
            return
        if self.changes.get("expires") != end:
            self.change("expires", end)
            self.change("max_age", max(end - self._clock(), 0.0))

    def is_agreed(self) -> bool:
        """Say whether the settings agree; what was stored may not, after the configuration's."""
        try:
            check_name(self.name, self.own_settings())
        except ConfigError:
            return False
        return True

    def own_settings(self) -> CookieSettings:
        """Return the attributes as they are for this session."""
        own = {name: value for name, value in self.changes.items() if name not in _LIFE}
        return replace(self.settings, **own)

    def change(self, name: str, value: object) -> None:
        """Set what this session's cookie differs in from the configured one."""
        if self.changes.get(name, _UNCHANGED) != value:
            self.changes[name] = value
            self.is_changed = True

    def ends_at(self, now: float) -> float | None:
        """Return when a session that is used at *now* expires; None: the store's ttl decides."""
        final = self._final()
        if final is not None:
            return final
        life = self.original_max_age
        return None if life is None else now + life

    def stored_until(self, expires_at: float) -> None:
        """Take note of when the session expires as it is stored now."""
        self._ends_at = expires_at
        self.is_changed = False

    def _final(self) -> float | None:
        if "max_age" in self.changes:
            final: float | None = self.changes.get("expires")
            return final
        return self.settings.expires

    def _end(self) -> float | None:
        final = self._final()
        if final is not None:
            return final
        if self._ends_at is None or self.original_max_age is None:
            self._ends_at = self.ends_at(self._clock())
        return self._ends_at


_UNCHANGED: Final = object()
_LIFE: Final = frozenset({"max_age", "expires"})


def set_cookie(
    signer: CookieSigner,
    session_id: str,
    cookie: SessionCookie,
    *,
    https: bool,
    now: float,
    ends_at: float | None,
) -> str | None:
    """Return the ``Set-Cookie`` value that announces a session.

    None: a client that asks over plain http would not take it.

    Args:
        signer: of the cookie.
        session_id: what the client is to send back.
        cookie: the session's settings.
        https: whether the request came that way.
        now: in Unix seconds; the life is counted from it.
        ends_at: when the cookie ends, in Unix seconds; None: with the browser.
    """
    return _header(signer.name, signer.sign(session_id), cookie, https, ends_at, now)


def expire_cookie(name: str, cookie: SessionCookie, *, https: bool) -> str | None:
    """Return the ``Set-Cookie`` value that makes a client forget the cookie; None as above."""
    return _header(name, "", cookie, https, 0.0, 0.0)


def is_accepted(name: str, cookie: SessionCookie, *, https: bool) -> bool:
    """Return whether a client takes a cookie of this name and these settings.

    Over plain http a browser takes no secure cookie.  Source: RFC 6265bis section 5.7.
    """
    return https or not (cookie.secure is True or name.lower().startswith(("__host-", "__secure-")))


def _header(
    name: str, value: str, cookie: SessionCookie, https: bool, ends_at: float | None, now: float
) -> str | None:
    if not is_accepted(name, cookie, https=https):
        return None
    secure = https if cookie.secure == "auto" else cookie.secure
    samesite = cookie.samesite
    if samesite == "auto" or (samesite == "none" and not secure):
        samesite = "none" if secure else "lax"
    # WebOb gets no max_age: it would ask the deprecated datetime.utcnow for the date.
    header: str = make_cookie(
        name,
        value,
        path=None,
        domain=cookie.domain,
        secure=secure,
        httponly=cookie.httponly,
        samesite=samesite.capitalize() if samesite else None,
    )
    # WebOb would write a comma as \054, which browsers take as it stands.
    header += "; Path=" + quote(cookie.path.encode("latin-1"), safe=_PATH_SAFE)
    if ends_at is not None:
        life = min(max(ends_at - now, 0.0), LONGEST_MAX_AGE)
        header += f"; Max-Age={int(life)}; Expires={formatdate(_date(ends_at, now), usegmt=True)}"
    if cookie.partitioned and secure:
        header += "; Partitioned"
    if cookie.priority:
        header += f"; Priority={cookie.priority.capitalize()}"
    return header


def _date(ends_at: float, now: float) -> float:
    return max(min(ends_at, now + LONGEST_MAX_AGE, _LAST_DATE), 0.0)


def in_scope(path: str, cookie_path: str) -> bool:
    """Say whether a cookie of *cookie_path* is sent with a request for *path*.

    Source: RFC 6265 section 5.1.4.
    """
    if path == cookie_path:
        return True
    return path.startswith(cookie_path) and (
        cookie_path[-1] == "/" or path[len(cookie_path)] == "/"
    )
