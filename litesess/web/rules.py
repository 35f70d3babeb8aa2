"""The rules of one app's sessions: its checked options, and the values derived from them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from litesess import ids
from litesess.errors import ConfigError, ConfigTypeError
from litesess.events import Event
from litesess.options import (
    Options,
    boolean,
    build,
    choice,
    count,
    function,
    option,
    optional,
    required,
    seconds,
    size,
    text,
)
from litesess.stores.base import Store
from litesess.web.cookie import (
    ID,
    CookieSettings,
    CookieSigner,
    check_name,
    check_secrets,
    cookie_settings,
)
from litesess.web.csrf import CSRF_KEY
from litesess.web.flash import FLASH_PREFIX
from litesess.web.lives import Lives

logger = logging.getLogger("litesess")

#: Where the app finds the store in the environ.
STORE_KEY: Final = "litesess.store"
#: The cookie's names, unless the app gives it one: over http, and over https.
COOKIE_NAME: Final = "litesess.sid"
HOST_COOKIE_NAME: Final = f"__Host-{COOKIE_NAME}"
#: The headers of an answer that is 503 because the store is away.
#: Source: RFC 9110 section 15.6.4.
REFUSED: Final = (("Retry-After", "5"), ("Cache-Control", "no-store"))

#: So many characters of a browser's user agent and of its address are kept.
MAX_AGENT: Final = 512
MAX_ADDRESS: Final = 64

ID_TRIES: Final = 10


def _store(name: str, value: object) -> Store:
    if isinstance(value, Store):
        return value
    if not isinstance(value, str):
        raise ConfigTypeError(
            f"{name} is of type {type(value).__name__}, neither a Store nor an address"
        )
    from litesess.stores.opening import place_of  # noqa: PLC0415  # only an address needs it, and no Store

    try:
        return place_of(value).make({})
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _unset(name: str, value: object) -> object:
    return choice("keep", "destroy")(name, "keep" if value is None else value)


def _environ_key(name: str, value: object) -> str:
    key = text(name, value)
    if key == STORE_KEY:
        raise ConfigError(f"{name} {key!r} is where the store is")
    return key


def _cookie(name: str, value: object) -> CookieSettings | Callable[..., object]:
    if isinstance(value, type):
        raise ConfigTypeError(f"{name} is the class {value.__name__}, not an instance of it")
    return value if callable(value) else cookie_settings(value)


def _trust_proxy(name: str, value: object) -> bool | int | None:
    return value if value is None or isinstance(value, bool) else count(name, value)


def _owner_key(name: str, value: object) -> object:
    return value if value is None or callable(value) else text(name, value)


def _keys(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigTypeError(f"{name} is of type {type(value).__name__}, not a list of keys")
    return tuple(text(f"a key of {name}", key) for key in value)


@dataclass(frozen=True, kw_only=True)
class ManagerOptions(Options):
    """How sessions are kept for an app."""

    secret: tuple[bytes, ...] = required(
        "Signs the cookie: str, bytes, or a list, newest first.  The first one signs, all are"
        " accepted",
        check=check_secrets,
        secret=True,
    )
    store: Store = required(
        "The store of the sessions, or its address, such as ``redis://HOST``", check=_store
    )
    cookie_name: str | None = option(
        None,
        "The cookie's name.  ``None``: ``__Host-litesess.sid`` over https if the cookie's path and"
        " domain allow it, else ``litesess.sid``",
        check=optional(text),
    )
    cookie: CookieSettings | Callable[..., object] = option(
        None,
        "The cookie's attributes: ``CookieSettings``, a mapping, or a function that takes the"
        " environ and returns one of these",
        check=_cookie,
    )
    save_uninitialized: bool = option(
        False, "Store a new session, and send its cookie, without a write by the app", check=boolean
    )
    resave: bool = option(False, "Store a session even if it was not changed", check=boolean)
    rolling: bool = option(False, "Send the cookie with every response", check=boolean)
    unset: str = option(
        "keep",
        "The fate of the session if the app takes it out of the environ: keep or destroy",
        check=_unset,
    )
    genid: Callable[[Mapping[str, Any]], str] | None = option(
        None,
        "Takes the environ and returns a session id.  ``None``: 256 random bits",
        check=optional(function),
    )
    trust_proxy: bool | int | None = option(
        None,
        "The number of your proxies that a request passes: ``X-Forwarded-Proto``, ``-For`` and"
        " ``-Host`` count with the value of the first of them.  ``True``: one.  ``False``: only"
        " ``wsgi.url_scheme`` counts.  ``None``: that, or the server's ``HTTPS``",
        check=_trust_proxy,
    )
    absolute_timeout: float | None = option(
        None,
        "Longest life of a session in seconds, used or not, from its creation or the last login on",
        check=optional(seconds),
    )
    max_session_bytes: int = option(
        65_536, "Largest size of a session, encoded, in bytes", check=size(256, 1_000_000)
    )
    cache_headers: bool = option(
        True,
        "Responses that set the session cookie get ``Cache-Control: private``, or ``no-store`` if"
        " they were public, and lose the headers of single CDNs.  Responses that depend on the"
        " session get ``Vary: Cookie``",
        check=boolean,
    )
    owner_key: str | Callable[..., object] | None = option(
        None,
        "The session key under which a framework's login keeps the user's id, a str, int or UUID."
        "  That id becomes the session's owner.  Or a function that takes the session and returns"
        " its owner",
        check=_owner_key,
    )
    drop_at_login: tuple[str, ...] = option(
        (),
        "Session keys, for example of tokens, that are removed when the owner changes",
        check=_keys,
    )
    keep_on_error: bool = option(
        True,
        "Store the changes of a request to its session even if its response has a status of 500 or"
        " above",
        check=boolean,
    )
    client_info: bool = option(
        False,
        "Keep the browser's ``User-Agent`` and address with the session, when it begins and at each"
        " login",
        check=boolean,
    )
    on_event: Callable[[Event], object] | None = option(
        None,
        "Called with each ``litesess.events.Event``, such as ``created``, ``destroyed`` or"
        " ``expired``",
        check=optional(function),
    )
    if_unavailable: str = option(
        "503",
        "The result of a request if its store can't be reached (``StoreUnavailable``).  ``503``:"
        " that status.  ``raise``: the exception, for the server or another middleware."
        "  ``anonymous``: the app gets an empty session, and its changes are discarded",
        check=choice("503", "raise", "anonymous"),
    )
    environ_key: str = option(
        "litesess.session", "The key of the session in the environ", check=_environ_key
    )
    clock: Callable[[], float] | None = option(
        None,
        "Returns the current time in Unix seconds.  ``None``: the store's clock",
        check=optional(function),
    )


class Rules(Lives):
    """The rules that follow from the options, for all requests."""

    session_class: ClassVar[Callable[..., Any]]
    #: The beginnings of keys with lists, to which several requests can append at once.
    list_keys: ClassVar[tuple[str, ...]] = (FLASH_PREFIX,)

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take the options of :class:`ManagerOptions`.

        Args:
            options: those.
            monotonic: returns seconds that never go back.
            sleep: how to wait.

        Raises:
            ConfigError: one is unknown, missing or wrong, or two contradict each other.
        """
        self.options = checked_options = build(ManagerOptions, options)
        self.store = checked_options.store
        self.absolute_timeout = checked_options.absolute_timeout
        self.environ_key = checked_options.environ_key
        self.clock = checked_options.clock or self.store.clock
        self.monotonic = monotonic
        self.sleep = sleep
        name = checked_options.cookie_name or COOKIE_NAME
        #: Of the cookie by the name that is good everywhere.
        self.signer = CookieSigner(name, checked_options.secret)
        #: Of the cookie by the name that browsers take from this host over https alone; None: the
        #: app has given the cookie a name of its own.
        self.host_signer: CookieSigner | None = None
        if checked_options.cookie_name is None:
            self.host_signer = CookieSigner(HOST_COOKIE_NAME, checked_options.secret)
        #: The cookie's settings, the same for every request; None: see :meth:`settings_of`.
        self.fixed_settings: CookieSettings | None = (
            checked_options.cookie if isinstance(checked_options.cookie, CookieSettings) else None
        )
        check_name(name, self.fixed_settings or CookieSettings())
        if self.fixed_settings is not None and self.fixed_settings.expires is not None:
            logger.warning("cookie expires is a point in time, not a life; after it none is valid")
        has_life = self.fixed_settings is not None and self.fixed_settings.max_age is not None
        if has_life and self.store.anonymous_ttl is not None:
            logger.warning(
                "anonymous_ttl has no effect, as cookie max_age is set and decides first; leave"
                " one of them out"
            )
        owner_key = checked_options.owner_key
        #: The session key that names the owner, or the function that does.
        self.owner_key = owner_key if isinstance(owner_key, str) else None
        self.owner_function = owner_key if callable(owner_key) else None
        #: The session keys of tokens that a change of owner ends.
        self.token_keys: tuple[str, ...] = (CSRF_KEY, *checked_options.drop_at_login)
        # Of these rules alone: a middleware around may have the same environ_key.
        self._settings_key = f"{self.environ_key}.cookie.{id(self):x}"
        #: Whether a session that the app did not look at may need something at a request's end.
        self.commits_unread = (
            checked_options.rolling or checked_options.resave or checked_options.save_uninitialized
        )
        self._warned: set[str] = set()
        self._lock = threading.Lock()  # Guards: _warned.

    @property
    def cookie_names(self) -> tuple[str, ...]:
        """The names of the cookie."""
        signers = (self.host_signer, self.signer)
        return tuple(signer.name for signer in signers if signer is not None)

    def has_signed(self, set_cookie: str) -> bool:
        """Return whether a ``Set-Cookie`` value is one of a session's cookies."""
        pair = set_cookie.partition(";")[0]
        signers = (self.host_signer, self.signer)
        return any(signer.verified(pair) for signer in signers if signer is not None)

    def make_id(self, environ: Mapping[str, Any]) -> str:
        """Return an id that no session has."""
        genid = self.options.genid
        if genid is None:
            return ids.new_id()
        for _ in range(ID_TRIES):
            session_id = genid(environ)
            if not isinstance(session_id, str) or not ID.match(session_id):
                raise ConfigError("genid returned no str of 1 to 128 of A-Z a-z 0-9 _ -")
            if self.store.load(ids.key_of(session_id)) is None:
                return session_id
        raise ids_are_taken()

    def warn_once(self, message: str) -> None:
        """Log a warning, the first time."""
        with self._lock:
            is_first = message not in self._warned
            self._warned.add(message)
        if is_first:
            logger.warning(message)

    def settings_of(self, environ: Mapping[str, Any]) -> CookieSettings:
        """Return the cookie's settings, as configured for a request."""
        if self.fixed_settings is not None:
            return self.fixed_settings
        settings = environ.get(self._settings_key)
        return self.ask_settings(environ) if settings is None else settings

    def ask_settings(self, environ: Mapping[str, Any]) -> CookieSettings:
        """Return the cookie's settings for a request, as the app's function gives them.

        Raises:
            ConfigError: they can't be used.
        """
        assert callable(self.options.cookie)  # it is no settings
        settings = cookie_settings(self.options.cookie(environ))
        check_name(self.signer.name, settings)
        return settings

    def client(self, environ: Mapping[str, Any]) -> dict[str, str] | None:
        """Return the browser's user agent and address; None: they are not kept."""
        if not self.options.client_info:
            return None
        address = self._forwarded(environ, "FOR") or environ.get("REMOTE_ADDR", "")
        agent = environ.get("HTTP_USER_AGENT", "")
        return {"user_agent": agent[:MAX_AGENT], "address": address[:MAX_ADDRESS]}

    def host(self, environ: Mapping[str, Any]) -> str:
        """Return the host that the client asked, with its port if it named one."""
        forwarded = self._forwarded(environ, "HOST")
        host: str = forwarded or environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
        return host

    def is_https(self, environ: Mapping[str, Any]) -> bool:
        """Return whether the client's request came by https, or counts as if it had."""
        trust_proxy = self.options.trust_proxy
        if trust_proxy:
            forwarded = self._forwarded(environ, "PROTO")
            if forwarded:
                return forwarded.lower() == "https"
        is_https = environ.get("wsgi.url_scheme") == "https"
        if trust_proxy is None:
            is_https = is_https or environ.get("HTTPS", "").lower() in {"on", "1"}
            if not is_https and "https" in environ.get("HTTP_X_FORWARDED_PROTO", "").lower():
                self.warn_once(
                    "X-Forwarded-Proto says https, but is not trusted; if a proxy of yours sets"
                    " it, set trust_proxy=True, or gunicorn's forwarded_allow_ips"
                )
        return is_https

    def _forwarded(self, environ: Mapping[str, Any], name: str) -> str:
        """Return the first trusted proxy's value of ``X-Forwarded-<name>``; "" without one.

        Each proxy appends a value.  A client can have written the values before those of the
        trusted proxies.  If there are fewer values, some proxies replace the header, so that the
        first value is that of a trusted proxy, too.
        """
        trusted = int(self.options.trust_proxy or 0)
        header: str = environ.get(f"HTTP_X_FORWARDED_{name}", "") if trusted else ""
        if not header:
            return ""
        return header.split(",")[-trusted:][0].strip()


def ids_are_taken() -> ConfigError:
    """Return the error for a genid that has returned only ids in use."""
    return ConfigError(f"genid returned ids that are taken, {ID_TRIES} times in a row")
