"""One request's life: which session its cookie stands for, and what becomes of it at the end.

The middleware and the integrations differ only in how they get at a request's environ and a
response's headers; everything between stands here.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar

from litesess import codec, collector, ids
from litesess.caches import Headers, guard_caches
from litesess.clocks import pauses
from litesess.cookie import (
    ID,
    CookieSettings,
    CookieSigner,
    SessionCookie,
    Verified,
    check_name,
    check_secrets,
    cookie_settings,
    expire_cookie,
    in_scope,
    set_cookie,
)
from litesess.errors import (
    ConfigError,
    ConfigTypeError,
    EncodeError,
    SessionGone,
    StoreError,
    StoreFull,
    StoreUnavailable,
    VersionConflict,
)
from litesess.events import Event
from litesess.options import (
    Options,
    boolean,
    build,
    choice,
    function,
    option,
    optional,
    required,
    seconds,
    size,
    text,
)
from litesess.session import Move, Session, Status
from litesess.stores.base import KEEP, Owner, Record, Store
from litesess.stores.memory import MemoryStore

logger = logging.getLogger("litesess")

ResultT = TypeVar("ResultT")

#: Where the app finds the store in the environ.
STORE_KEY: Final = "litesess.store"
#: The headers of an answer that is 503 because the store is away.
#: Source: RFC 9110 section 15.6.4.
REFUSED: Final = (("Retry-After", "5"), ("Cache-Control", "no-store"))

#: The most top-level keys of a session.
MAX_KEYS: Final = 1000
#: So many characters of what a browser says of itself, and of its address, are kept.
MAX_AGENT: Final = 512
MAX_ADDRESS: Final = 64

_ID_TRIES: Final = 10
#: How long, in seconds, one waits at most before it tries again to write what others write, too.
_FIRST_WAIT: Final = 5e-4
_LONGEST_WAIT: Final = 5e-2
#: What this request has done, and what the client knows, stays true when data is loaded again.
_OUTLIVES_RELOAD: Final = (
    "client_id",
    "has_cookie",
    "has_strays",
    "is_announced",
    "is_content_written",
    "is_cookie_written",
    "is_forced_touch",
    "is_stale",
    "is_written",
    "loaded_seen_at",
    "written_at",
)


def _store(name: str, value: object) -> Store:
    if not isinstance(value, Store):
        raise ConfigTypeError(f"{name} is of type {type(value).__name__}, not a Store")
    return value


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


@dataclass(frozen=True, kw_only=True)
class ManagerOptions(Options):
    """How sessions are kept for an app."""

    secret: tuple[bytes, ...] = required(
        "Signs the cookie: str, bytes, or a list, newest first: the first signs, all verify",
        check=check_secrets,
        secret=True,
    )
    store: Store = required("Where the sessions are kept", check=_store)
    cookie_name: str = option("litesess.sid", "The cookie's name", check=text)
    cookie: CookieSettings | Callable[..., object] = option(
        None,
        "The cookie's attributes: ``CookieSettings``, a mapping, or a callable that gets the"
        " environ and returns one of these",
        check=_cookie,
    )
    save_uninitialized: bool = option(
        False, "Store and announce a new session that the app did not write", check=boolean
    )
    resave: bool = option(False, "Store a session again that was not changed", check=boolean)
    rolling: bool = option(False, "Send the cookie with every response", check=boolean)
    unset: str = option(
        "keep",
        "What becomes of the session if the app takes it out of the environ: keep or destroy",
        check=_unset,
    )
    genid: Callable[[Mapping[str, Any]], str] | None = option(
        None,
        "Called with the environ, returns a session id; ``None``: 256 random bits",
        check=optional(function),
    )
    trust_proxy: bool | None = option(
        None,
        "``True``: ``X-Forwarded-Proto`` says whether a request came by https; ``False``: only"
        " ``wsgi.url_scheme``; ``None``: that, or the server's ``HTTPS``",
        check=optional(boolean),
    )
    absolute_timeout: float | None = option(
        None,
        "Longest life of a session, used or not, since it was created or changed its owner, in"
        " seconds",
        check=optional(seconds),
    )
    max_session_bytes: int = option(
        65_536, "Largest session, encoded, in bytes", check=size(256, 1_000_000)
    )
    cache_headers: bool = option(
        True, "Keep shared caches from storing what a session had a part in", check=boolean
    )
    client_info: bool = option(
        False,
        "Keep the browser's ``User-Agent`` and address with the session, when it begins and at each"
        " login",
        check=boolean,
    )
    on_event: Callable[[Event], object] | None = option(
        None,
        "Called with each ``litesess.events.Event``: a session was created, rotated, destroyed, has"
        " expired, ...",
        check=optional(function),
    )
    if_unavailable: str = option(
        "503",
        "What a request gets if its store can't be reached (``StoreUnavailable``): ``503``;"
        " ``raise``: the exception, for the server or another middleware; ``anonymous``: a session"
        " of nobody's, of which nothing is kept",
        check=choice("503", "raise", "anonymous"),
    )
    environ_key: str = option(
        "litesess.session", "Where the app finds the session", check=_environ_key
    )
    clock: Callable[[], float] = option(
        time.time, "Says how late it is, in Unix seconds", check=function
    )


class Manager:
    """Opens, commits and announces the sessions of one app."""

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
        self.environ_key = checked_options.environ_key
        self._clock = checked_options.clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._signer = CookieSigner(checked_options.cookie_name, checked_options.secret)
        self._settings = (
            checked_options.cookie if isinstance(checked_options.cookie, CookieSettings) else None
        )
        check_name(checked_options.cookie_name, self._settings or CookieSettings())
        if self._settings is not None and self._settings.expires is not None:
            logger.warning("cookie expires is a point in time, not a life; after it none is valid")
        self._is_limited_to_path = self._settings is None or self._settings.path != "/"
        self._settings_key = f"{self.environ_key}.cookie"
        if checked_options.on_event is not None:
            self.store.listeners.append(checked_options.on_event)
        self._warned: set[str] = set()
        self._lock = threading.Lock()  # Guards: _warned.
        self._watched_by = 0  # process id

    def close(self) -> None:
        """Close the store; its expired sessions are no longer collected."""
        collector.forget(self.store)
        self.store.close()

    def open(self, environ: dict[str, Any]) -> Session | None:
        """Return the session of a request, not loaded yet; None outside the cookie's path."""
        if self._is_limited_to_path or self._watched_by != os.getpid():
            self.prepare(environ)
        if self._is_limited_to_path:
            path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            if not in_scope(path or "/", self._settings_of(environ).path):
                return None
        return Session(self, environ)

    def prepare(self, environ: dict[str, Any]) -> None:
        """Do what must be done before a session of a request is made: by hand, or by :meth:`open`.

        An integration whose sessions are of a class of its own makes them itself.
        """
        if self._watched_by != os.getpid():
            self._watch(environ)
        if self._settings is None:
            # Once per request, and its errors before the app runs.
            environ[self._settings_key] = self._settings_of(environ)

    def commit(self, session: Session, *, is_unset: bool = False) -> list[str]:
        """Store what is to be stored; return the ``Set-Cookie`` values, if any.

        Args:
            session: what :meth:`open` returned.
            is_unset: the app has taken the session out of the environ.

        Raises:
            EncodeError: a value can't be stored; nothing is.
            StoreError: the store can't work.
        """
        try:
            cookies = self._outcome(session, is_unset=is_unset)
        except StoreUnavailable as error:
            session.is_refused = True
            if self.options.if_unavailable != "anonymous":
                raise
            _log_outage("what a request has done to its session is lost", error)
            session.is_anonymous = True
            cookies = []
        session.is_late = True  # not if that raised: the app may still answer otherwise
        return cookies

    def _outcome(self, session: Session, *, is_unset: bool) -> list[str]:
        if session.is_abandoned or session.is_anonymous:
            return []
        if is_unset:
            return self._unset(session)
        if session.status is not Status.UNREAD:
            return self._commit(session)
        if self._commits_unread(session):
            try:
                return self._commit(session)
            except StoreFull:
                # The page has nothing to do with it; who has a session keeps it.
                logger.exception("a session that the app did not look at was not stored")
        return []

    def decorate(self, session: Session, headers: Headers, cookies: list[str]) -> Headers:
        """Return the app's headers, which stay as they are, with what the session needs added.

        Args:
            session: what :meth:`open` returned.
            headers: the app's.
            cookies: what :meth:`commit` returned.
        """
        if not (cookies or session.accessed):
            return headers
        if cookies and _sets_cookie(headers, self._signer.name):
            logger.warning(
                "the app sets cookie %s too; the session's comes last", self._signer.name
            )
        if self.options.cache_headers:
            headers = guard_caches(headers, cookies)
        return [*headers, *(("Set-Cookie", cookie) for cookie in cookies)]

    def excuses(self, session: Session, status: int) -> bool:
        """Say whether an answer is to be 503: the store is away, and an app took it for a fault.

        Most frameworks make a page of whatever a view raises, so that none of it gets here.

        Args:
            session: what :meth:`open` returned.
            status: of the app's answer.
        """
        is_excused = (
            session.is_refused
            and status == HTTPStatus.INTERNAL_SERVER_ERROR
            and self.options.if_unavailable == "503"
        )
        if is_excused:
            logger.error("a request is refused: its session could not be reached")
        return is_excused

    def finish_late(self, session: Session, *, is_unset: bool = False) -> None:
        """Commit what was changed after the headers had left; what can't be is logged."""
        if session.is_abandoned or session.is_anonymous:
            return
        try:
            if is_unset:
                self._unset(session)
            elif session.status is Status.STORED:
                if session.current_cookie().is_changed:
                    logger.error("a cookie was changed after the headers had left: not announced")
                self._write(session)
            elif (
                session.status is Status.NEW
                and any(session.changes())
                and self._can_announce(session)
            ):
                logger.error("a new session was written after the headers had left; it is lost")
        except (EncodeError, StoreError):
            logger.exception("what the app changed after the headers had left is lost")

    def is_current(self, session: Session) -> bool:
        """Say whether a stored session is stored now as it was when this request loaded it."""
        record, session_id = session.record, session.stored_id
        stored = None if session_id is None else self.store.load(ids.key_of(session_id))
        return record is not None and stored is not None and stored.version == record.version

    # What an integration may know better.

    def settings_for(self, session: Session) -> CookieSettings:
        """Return the cookie settings that a session has, but for its own changes to them."""
        return self._settings_of(session.environ)

    def is_rolling(self, _session: Session) -> bool:
        """Say whether each response sends the cookie of a session that was looked at."""
        return self.options.rolling

    def is_https(self, environ: Mapping[str, Any]) -> bool:
        """Say whether the client's request came by https, or counts as if it had."""
        trust_proxy = self.options.trust_proxy
        forwarded: str = environ.get("HTTP_X_FORWARDED_PROTO", "")
        if trust_proxy and forwarded:
            return forwarded.partition(",")[0].strip().lower() == "https"
        is_https = environ.get("wsgi.url_scheme") == "https"
        if trust_proxy is None:
            is_https = is_https or environ.get("HTTPS", "").lower() in {"on", "1"}
            if not is_https and forwarded.partition(",")[0].strip().lower() == "https":
                self._warn_once(
                    "X-Forwarded-Proto says https, but is not trusted; if a proxy of yours sets"
                    " it, set trust_proxy=True, or gunicorn's forwarded_allow_ips"
                )
        return is_https

    # What a session asks for (session.Keeper).

    def hydrate(self, session: Session) -> None:
        """Find out which session the request's cookie stands for, and load it."""
        header = session.environ.get("HTTP_COOKIE", "")
        candidates = self._signer.verified(header) if header else []
        now = self._clock()
        live: list[tuple[Verified, Record]] = []
        try:
            for candidate in candidates:
                record = self.store.load(ids.key_of(candidate.session_id))
                if record is not None and self._ends_at(record) > now:
                    live.append((candidate, record))
        except StoreUnavailable as error:
            session.is_refused = True
            if self.options.if_unavailable != "anonymous":
                raise
            # No cookie is sent, or whoever is logged in would not be when the store is back.
            _log_outage("a request is served as nobody's", error)
            session.begin(None, None)
            session.is_anonymous = True
            return
        if len(live) == 1:
            (verified, record), *_ = live
            session.begin(verified.session_id, record)
            session.is_stale = verified.is_stale
            return
        # An id that is not stored is never adopted: whoever chose it may know it.
        # Source: OWASP Session Management Cheat Sheet, "strict" session management.
        session.begin(None, None)
        session.has_cookie = bool(candidates)
        if live:
            session.has_strays = True
            logger.warning(
                "a request came with %d live sessions, so it has none; handles %s",
                len(live),
                ", ".join(ids.handle_of(ids.key_of(item.session_id)) for item, _ in live),
            )

    def make_id(self, session: Session) -> str:
        """Return an id that no session has."""
        genid = self.options.genid
        if genid is None:
            return ids.new_id()
        for _ in range(_ID_TRIES):
            session_id = genid(session.environ)
            if not isinstance(session_id, str) or not ID.match(session_id):
                raise ConfigError("genid returned no str of 1 to 128 of A-Z a-z 0-9 _ -")
            if self.store.load(ids.key_of(session_id)) is None:
                return session_id
        raise ConfigError(f"genid returned ids that are taken, {_ID_TRIES} times in a row")

    def make_cookie(self, session: Session) -> SessionCookie:
        """Return the cookie settings of the session."""
        record = session.record if session.move is not Move.REGENERATE else None
        return SessionCookie(
            self._signer.name,
            self.settings_for(session),
            None if record is None else record.cookie,
            None if record is None else record.expires_at,
            self._clock,
        )

    def save(self, session: Session) -> None:
        """Store the session now; raises SessionGone if it is not there any more."""
        _check_reached(session)
        if session.status is Status.NEW:
            if self._can_announce(session):
                self._create(session)
            return
        if not self._write(session, is_forced=True):
            raise SessionGone("the session was destroyed or has expired meanwhile")

    def reload(self, session: Session) -> None:
        """Load the session again; raises SessionGone if it is not there any more."""
        session_id = session.stored_id
        record = None
        if session.status is Status.STORED and session_id is not None:
            record = self.store.load(ids.key_of(session_id))
        if record is None:
            session.lose(Status.LOST)
            raise SessionGone(
                "the session was destroyed, has expired, was given another id or was never stored"
            )
        self._begin_again(session, record)

    @staticmethod
    def _begin_again(session: Session, record: Record) -> None:
        kept = {name: getattr(session, name) for name in _OUTLIVES_RELOAD}
        session.begin(session.stored_id, record)
        for name, value in kept.items():
            setattr(session, name, value)

    def atomic(self, session: Session, function: Callable[[Session], ResultT]) -> ResultT:
        """Store what *function* does to the session if nobody else has written it meanwhile."""
        if session.status is Status.NEW:
            before, _ = session.changes()
            try:
                return function(session)
            except BaseException:
                if session.status is Status.NEW:
                    session.revert(before)
                raise
        if session.is_changed:
            self.save(session)
        is_touched = session.is_forced_touch
        try:
            return self._repeat(session, function)
        except BaseException:
            # By what is in memory: the store may be what failed.  Else it would be stored when
            # the request ends, over what others have stored by then.
            if session.status is Status.STORED and session.record is not None:
                self._begin_again(session, session.record)
                session.is_forced_touch = is_touched
            raise

    def _repeat(self, session: Session, function: Callable[[Session], ResultT]) -> ResultT:
        deadline = self._monotonic() + self.store.lock_timeout
        waits = pauses(_FIRST_WAIT, _LONGEST_WAIT)
        while True:
            self.reload(session)
            result = function(session)
            if session.status is not Status.STORED or self._write_if_current(session):
                return result
            if self._monotonic() >= deadline:
                raise VersionConflict(
                    f"others have written the session whenever atomic() was about to, for"
                    f" {self.store.lock_timeout:g} s"
                )
            self._sleep(next(waits))

    def destroy(self, session: Session) -> None:
        """Delete the session now."""
        _check_reached(session)
        is_stored = session.status in (Status.STORED, Status.LOST)
        if is_stored and session.stored_id is not None:
            self.store.delete(ids.key_of(session.stored_id))
        session.lose(Status.DESTROYED)

    # The end of a request.

    def _commit(self, session: Session) -> list[str]:
        """Store what is to be stored; return the ``Set-Cookie`` values, if any."""
        if session.status is Status.UNREAD:
            self.hydrate(session)
        if session.is_anonymous:
            return []
        if session.status is Status.NEW:
            self._create_if_due(session)
        elif session.status is Status.STORED:
            self._write(session)
            if session.status is Status.STORED and not session.is_written:
                self._prolong(session)
        self._check_announced(session)
        # Order: no cookie may name a session that is not stored.
        return self._announcements(session)

    def _check_announced(self, session: Session) -> None:
        """Lose a session that is about to be announced, was not written, and may be gone."""
        if (
            session.status is Status.STORED
            and session.written_at is None
            and session.stored_id is not None
            and self._is_announced(session)
            and self.store.load(ids.key_of(session.stored_id)) is None
        ):
            session.lose(Status.LOST)

    def _commits_unread(self, session: Session) -> bool:
        """Say whether a session that the app did not look at may need something at its end."""
        if session.is_tried:  # the store has failed
            return False
        if self.options.rolling or self.options.resave:
            return True
        # Not for one who has a cookie: to tell whether it is good, its session would be loaded.
        return self.options.save_uninitialized and self._signer.name not in session.environ.get(
            "HTTP_COOKIE", ""
        )

    def _unset(self, session: Session) -> list[str]:
        if self.options.unset == "keep":
            return []
        if session.status is Status.UNREAD:
            self.hydrate(session)
        self.destroy(session)
        return self._announcements(session)

    def _create_if_due(self, session: Session) -> None:
        is_due = (
            self.options.save_uninitialized
            or session.is_announced
            or bool(session.new_owner)
            or any(session.changes())
        )
        if is_due and self._can_announce(session):
            self._create(session)

    def _can_announce(self, session: Session) -> bool:
        """Say whether the client would take the cookie; if not, no new session is stored.

        Each such request would leave another one that nobody can come back to.
        """
        if self._set_cookie(session, "") is not None:
            return True
        self._warn_once(
            "a secure cookie can't be sent over plain http, so the session is not stored;"
            " behind a TLS proxy set trust_proxy=True, or gunicorn's forwarded_allow_ips"
        )
        return False

    def _create(self, session: Session) -> None:
        changed, removed = session.changes()
        self._check_size(session, changed, removed)
        record = self._record(session, changed)
        for _ in range(_ID_TRIES):
            if self.store.create(ids.key_of(session.current_id()), record):
                session.stored_as(session.current_id(), record, changed)
                return
            session.drop_id()
        raise ConfigError(f"genid returned ids that are taken, {_ID_TRIES} times in a row")

    def _write(self, session: Session, *, is_forced: bool = False) -> bool:
        """Write a stored session if it was changed; it is lost, and False returned, if gone."""
        changed, removed = session.changes()
        cookie = session.current_cookie()
        is_due = changed or removed or session.move or session.new_owner or cookie.is_changed
        if not (is_due or is_forced):
            return True
        self._check_size(session, changed, removed)
        if session.move is Move.REGENERATE and not self._can_announce(session):
            self.destroy(session)
            session.lose(Status.LOST)
            return False
        is_content = bool(changed or removed or session.move)
        is_cookie = cookie.is_changed
        record = self._store_changes(session, cookie, changed, removed)
        if record is None:
            self._discard(session)
            return False
        before = session.record
        if before is not None and record.replaced_version not in (0, before.version):
            self.store.tally.add_merge()
        if record.is_moved:
            # Stored under the id that another request has given the session.  Whoever came with
            # the old one, perhaps to a login's session, is shown nothing of what it holds now.
            session.lose(Status.LOST)
            return True
        self._count_life_anew(session, record, is_cookie=is_cookie)
        session.is_content_written |= is_content
        session.is_cookie_written |= is_cookie
        session.stored_as(session.current_id(), record, changed)
        return True

    def _count_life_anew(self, session: Session, record: Record, *, is_cookie: bool) -> None:
        """Let *record* expire by what others have made of it meanwhile, not by what was loaded."""
        before, now = session.record, session.written_at
        assert before is not None  # it is stored
        assert now is not None  # just now
        is_other = record.created_at != before.created_at or (
            not is_cookie and record.cookie != before.cookie
        )
        if not is_other or session.move is Move.REGENERATE:
            return
        expires_at = self._expiry(self._stored_cookie(session, record), record.created_at, now)
        key = ids.key_of(session.current_id())
        if expires_at != record.expires_at and self.store.touch(
            key, expires_at, version=record.version
        ):
            record.expires_at = expires_at

    def _stored_cookie(self, session: Session, record: Record) -> SessionCookie:
        """Return the cookie settings that a session is stored with."""
        settings = self.settings_for(session)
        return SessionCookie(self._signer.name, settings, record.cookie, None, self._clock)

    def _write_if_current(self, session: Session) -> bool:
        """Write the changed data of a stored session unless somebody else has written it."""
        changed, removed = session.changes()
        record, session_id, cookie = session.record, session.stored_id, session.current_cookie()
        assert record is not None  # it is stored
        assert session_id is not None
        if not (changed or removed):
            return True
        self._check_size(session, changed, removed)
        now = session.written_at = self._clock()
        try:
            saved = self.store.update(
                ids.key_of(session_id),
                codec.Encoded(changed),
                removed,
                expires_at=self._expiry(cookie, record.created_at, now),
                cookie=cookie.changes if cookie.is_changed else None,
                if_version=record.version,
            )
        except VersionConflict:
            return False
        if saved is None:
            self._discard(session)
            raise SessionGone("the session was destroyed or has expired meanwhile")
        session.is_content_written = True
        session.is_cookie_written |= cookie.is_changed
        session.stored_as(session_id, saved, changed)
        return True

    def _store_changes(
        self, session: Session, cookie: SessionCookie, changed: codec.Frames, removed: list[str]
    ) -> Record | None:
        """Make the one call to the store that the changes need; None: the session is gone."""
        before, old_id = session.record, session.stored_id
        assert before is not None  # it is stored
        assert old_id is not None
        old = ids.key_of(old_id)
        if session.move is Move.REGENERATE:
            fresh = self._record(session, changed)
            self._move(session, lambda new: self.store.replace(old, new, fresh))
            return fresh
        now = session.written_at = self._clock()
        changes = codec.Encoded(changed)
        owner: Owner = session.new_owner[0] if session.new_owner else KEEP
        settings = cookie.changes if cookie.is_changed else None
        is_anew = owner is not KEEP and owner != before.owner
        expires_at = self._expiry(cookie, now if is_anew else before.created_at, now)
        if session.move is Move.ROTATE:
            # Not to a store of somebody else's that was not asked to keep it.
            client = {"client": self._client(session)} if self.options.client_info else {}
            return self._move(
                session,
                lambda new: self.store.rotate(
                    old,
                    new,
                    changes,
                    removed,
                    expires_at=expires_at,
                    cookie=settings,
                    owner=owner,
                    **client,
                ),
            )
        return self.store.update(
            old, changes, removed, expires_at=expires_at, cookie=settings, owner=owner
        )

    def _move(self, session: Session, work: Callable[[str], ResultT]) -> ResultT:
        """Do *work* with the key of the session's next id; with another one if that is taken."""
        for _ in range(_ID_TRIES):
            try:
                return work(ids.key_of(session.current_id()))
            except VersionConflict:
                session.drop_id()
        raise ConfigError(f"genid returned ids that are taken, {_ID_TRIES} times in a row")

    def _record(self, session: Session, frames: codec.Frames) -> Record:
        """Return what a session that begins now is stored as."""
        now = session.written_at = self._clock()
        owner = session.new_owner[0] if session.new_owner else None
        cookie = session.current_cookie()
        session.is_cookie_written = cookie.is_changed
        return Record(
            codec.Encoded(frames),
            now,
            self._expiry(cookie, now, now),
            cookie.changes or None,
            owner,
            client=self._client(session),
        )

    def _client(self, session: Session) -> dict[str, str] | None:
        """Return what is to be known of the browser."""
        if not self.options.client_info:
            return None
        environ = session.environ
        address = environ.get("REMOTE_ADDR", "")
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        if self.options.trust_proxy and forwarded:
            # What the nearest proxy has added; what stands before, anybody may have written.
            address = forwarded.rpartition(",")[2].strip()
        agent = environ.get("HTTP_USER_AGENT", "")
        return {"user_agent": agent[:MAX_AGENT], "address": address[:MAX_ADDRESS]}

    def _prolong(self, session: Session) -> None:
        """Let a session that was used and not changed live longer."""
        record, session_id = session.record, session.stored_id
        assert record is not None  # it is stored
        assert session_id is not None
        now = self._clock()
        expires_at = self._expiry(session.current_cookie(), record.created_at, now)
        if self.options.resave:
            key = ids.key_of(session_id)
            try:
                saved = self.store.update(
                    key, {}, (), expires_at=expires_at, if_version=record.version
                )
            except VersionConflict:  # somebody wrote it meanwhile, and prolonged it
                return
            if saved is None:
                session.lose(Status.LOST)
            else:
                session.stored_as(session_id, saved, {})
                session.written_at = now
            return
        life = expires_at - now
        if not (
            session.is_forced_touch
            or self.store.worth_touching(record.expires_at, expires_at, life)
        ):
            return
        key = ids.key_of(session_id)
        try:
            if self.store.touch(key, expires_at, version=record.version):
                record.expires_at = expires_at
                session.written_at = now
                session.current_cookie().stored_until(expires_at)
            elif self.store.load(key) is None:
                session.lose(Status.LOST)
        except StoreError:
            # Nothing of the app's is lost, so the page is served.
            logger.exception("a session's life was not prolonged")

    def _announcements(self, session: Session) -> list[str]:
        """Return the ``Set-Cookie`` values that the client is to get."""
        cookies: list[str | None] = []
        if session.has_strays:
            cookies += self._expire_strays(session)
        if session.status is Status.STORED and self._is_announced(session):
            cookies.append(self._set_cookie(session, session.current_id()))
        elif session.status is Status.DESTROYED and session.has_cookie:
            cookies.append(
                expire_cookie(
                    self._signer.name,
                    self.make_cookie(session),
                    https=self.is_https(session.environ),
                )
            )
        # A session that this request only found gone says nothing: what is in the browser by now
        # may be the cookie that a login has just set.
        return [cookie for cookie in cookies if cookie is not None]

    def _is_announced(self, session: Session) -> bool:
        if (
            session.stored_id != session.client_id
            or session.is_stale
            or session.is_cookie_written
            or self.is_rolling(session)
        ):
            return True
        is_prolonged = session.is_content_written or session.is_forced_touch
        return is_prolonged and session.current_cookie().ends_at(0.0) is not None

    def _expire_strays(self, session: Session) -> list[str | None]:
        """Return what makes a client forget the cookie in both scopes it may have it in."""
        https = self.is_https(session.environ)
        settings = self.settings_for(session)
        scopes = [{}] if settings.domain is None else [{"domain": None}, {}]
        return [
            expire_cookie(
                self._signer.name,
                SessionCookie(self._signer.name, settings, scope, None, self._clock),
                https=https,
            )
            for scope in scopes
        ]

    def _discard(self, session: Session) -> None:
        """Drop a write that came too late: what is logged out stays logged out."""
        self.store.tally.add_discarded()
        logger.info("a session was gone when a late write to it came; the write was dropped")
        record, session_id = session.record, session.stored_id
        if record is not None and session_id is not None:
            handle = ids.handle_of(ids.key_of(session_id))
            self.store.tell(Event("discarded", handle, record))
        session.lose(Status.LOST)

    # What the request and the options say.

    def _settings_of(self, environ: Mapping[str, Any]) -> CookieSettings:
        if self._settings is not None:
            return self._settings
        settings = environ.get(self._settings_key)
        if settings is None:
            assert callable(self.options.cookie)  # it is no settings
            settings = cookie_settings(self.options.cookie(environ))
            check_name(self._signer.name, settings)
        return settings

    def _set_cookie(self, session: Session, session_id: str) -> str | None:
        cookie, record = session.current_cookie(), session.record
        # One reading of the clock for the record and for the cookie.
        now = self._clock() if session.written_at is None else session.written_at
        ends_at = cookie.ends_at(now)
        if ends_at is not None:
            created_at = now if record is None else record.created_at
            ends_at = self._expiry(cookie, created_at, now)
        return set_cookie(
            self._signer,
            session_id,
            cookie,
            https=self.is_https(session.environ),
            now=now,
            ends_at=ends_at,
        )

    def _expiry(self, cookie: SessionCookie, created_at: float, now: float) -> float:
        """Return when a session that is used at *now* expires."""
        ends_at = cookie.ends_at(now)
        if ends_at is None:
            ends_at = now + self.store.ttl
        if self.options.absolute_timeout is not None:
            ends_at = min(ends_at, created_at + self.options.absolute_timeout)
        return ends_at

    def _ends_at(self, record: Record) -> float:
        if self.options.absolute_timeout is None:
            return record.expires_at
        return min(record.expires_at, record.created_at + self.options.absolute_timeout)

    def _check_size(self, session: Session, changed: codec.Frames, removed: list[str]) -> None:
        frames = session.frames
        most = sum(map(len, (*frames, *frames.values(), *changed, *changed.values())))
        if len(frames) + len(changed) <= MAX_KEYS and most <= self.options.max_session_bytes:
            return  # whatever it replaces
        sizes = {key: len(key) + len(frame) for key, frame in frames.items()}
        sizes |= {key: len(key) + len(frame) for key, frame in changed.items()}
        if len(sizes) - len(removed) > MAX_KEYS:
            raise EncodeError("(all)", f"has {len(sizes) - len(removed)} keys, limit {MAX_KEYS}")
        total = sum(sizes.values()) - sum(sizes[key] for key in removed)
        if total > self.options.max_session_bytes:
            for key in removed:
                del sizes[key]
            largest = max(sizes, key=sizes.__getitem__)
            raise EncodeError(
                largest,
                f"has {sizes[largest]} of the session's {total} bytes,"
                f" limit {self.options.max_session_bytes}",
            )

    def _warn_once(self, message: str) -> None:
        with self._lock:
            is_first = message not in self._warned
            self._warned.add(message)
        if is_first:
            logger.warning(message)

    def _watch(self, environ: Mapping[str, Any]) -> None:
        """At the first request of a process: let the collector begin."""
        self._watched_by = os.getpid()
        collector.watch(self.store)
        if environ.get("wsgi.multiprocess") and isinstance(self.store, MemoryStore):
            self._warn_once(
                "MemoryStore is not shared, but this server runs several processes: users will"
                " lose their sessions at random; use WALStore"
            )


def _log_outage(what: str, error: StoreUnavailable) -> None:
    # Without a traceback: an outage has one of these for every request.
    logger.error("%s: %s", what, error)


def _check_reached(session: Session) -> None:
    """Raise :class:`StoreUnavailable` for what must not be passed over in silence."""
    if session.is_anonymous:
        raise StoreUnavailable("the store could not be reached when the session was loaded")


def _sets_cookie(headers: Headers, cookie_name: str) -> bool:
    return any(
        name.lower() == "set-cookie" and value.partition("=")[0].strip() == cookie_name
        for name, value in headers
    )
