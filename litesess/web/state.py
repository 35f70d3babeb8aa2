"""The state of a request's session: the client's cookies, the stored record, the due changes.

Attributes that outlive a reload are set by :meth:`State.find` alone; those of the loaded session,
by :meth:`State.load`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

from litesess.errors import StoreUnavailable
from litesess.stores.base import KEEP, Record
from litesess.web.arrival import Arrival, arrival_of, chosen_of, own_scopes
from litesess.web.cookie import CookieSigner, may_be_host
from litesess.web.loaded import Loaded, Status
from litesess.web.rules import HOST_COOKIE_NAME, Rules
from litesess.web.strays import Scope

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("litesess")


class State(Loaded):
    """The session of one request, as far as the request knows.

    The attributes have two lifetimes.  Those of the request are set when it begins and by
    :meth:`find`; a reload and a new beginning leave them as they are.  Those of the session that is
    loaded are set by :meth:`load`, all of them, whenever the request goes on with another session.
    """

    __slots__ = (
        "_is_https",
        "client_id",
        "has_cookie",
        "has_ended",
        "ignored",
        "is_abandoned",
        "is_announced",
        "is_anonymous",
        "is_atomic",
        "is_content_written",
        "is_cookie_written",
        "is_host",
        "is_late",
        "is_looked_at",
        "is_refused",
        "is_stale",
        "is_touched",
        "is_tried",
        "is_written",
        "lock",
        "scopes",
        "seen_at",
        "strays",
        "written_at",
    )

    def __init__(self, rules: Rules, environ: Mapping[str, Any]) -> None:
        """Begin with a request; nothing is parsed or loaded yet."""
        self.rules = rules
        self.environ = environ
        self.status = Status.UNREAD
        #: The lock of the request's threads and greenlets.
        self.lock = RLock()
        #: Whether the app has looked at the session in any way.
        self.is_looked_at = False
        #: Whether the store was asked for it.
        self.is_tried = False
        #: The request has failed: none of its changes to the session is kept.
        self.is_abandoned = False
        #: The store could not be reached: the session is empty, and none of its changes is kept.
        self.is_anonymous = False
        #: The store could not be reached, which is not this app's fault: see :meth:`Visit.excuses`.
        self.is_refused = False
        #: The headers have left, so nothing can be told to the client any more.
        self.is_late = False
        self.is_atomic = False

    # The client's cookies.

    def start_over(self) -> None:
        """Forget the request's changes to its session; the next look loads it again.

        Sessions that were stored or destroyed at once stay so.
        """
        is_looked_at, is_refused = self.is_looked_at, self.is_refused
        State.__init__(self, self.rules, self.environ)
        self.is_looked_at = is_looked_at
        # After an outage, nothing but the app asks the store again.
        self.is_refused = self.is_tried = is_refused

    @property
    def is_over(self) -> bool:
        """Whether no response will store further changes to the session."""
        return self.is_late or self.is_abandoned

    def look(self) -> Self:
        """Load the session at its first use; return this."""
        self.is_looked_at = True
        if self.status is Status.UNREAD:
            # May be taken again: a callable of the app's may look at the session, too.
            with self.lock:
                if self.status is Status.UNREAD:  # no other thread of the request was faster
                    self.is_tried = True
                    self.find()
        return self

    def find(self) -> None:
        """Find out which session the request's cookie stands for, and load it."""
        try:
            came = self.arrival()
        except StoreUnavailable as error:
            came = self._outage(error)
        if self.status is not Status.UNREAD:
            return  # another greenlet of this thread was faster
        live = came.live
        chosen = chosen_of(live)
        #: The client has sent a cookie of ours, with or without a session.
        self.has_cookie = came.has_cookie or chosen is not None
        #: The client's cookie has the name that browsers take over https alone.
        self.is_host = came.is_host
        #: None: not asked yet.
        self._is_https = came.is_https
        #: The ids in cookies by the other name, which don't count.
        self.ignored = came.ignored
        if chosen is not None and self.ignored:
            self.ignored = [each for each in self.ignored if each != chosen[0].session_id]
        #: The ids of other sessions that the client came with cookies of.
        self.strays: Sequence[str] = came.strays
        #: The scopes of cookies of sessions with scopes of their own.
        self.scopes: Sequence[Scope] = ()
        #: This request has ended a session; the client is to forget it, and the strays end, too.
        self.has_ended = False
        #: The app asked for a touch.
        self.is_touched = False
        #: The client is to be told, whether or not the app wrote anything.
        self.is_announced = False
        #: This request has stored the session, when, ...
        self.is_written = False
        self.written_at: float | None = None
        #: ... with another content or id than before,
        self.is_content_written = False
        #: ... and with cookie settings of its own.
        self.is_cookie_written = False
        #: The id that the client came with and will come with again, unless it is told another.
        self.client_id: str | None = None
        #: When a request had used the session last, when this one began.
        self.seen_at: float | None = None
        #: The cookie was signed with an older secret.
        self.is_stale = False
        if len(live) > 1 or (live and live[0][1].cookie):
            self.scopes = own_scopes(self.rules, self.environ, live)
            self.strays = [
                *came.strays,
                *(each[0].session_id for each in live if each is not chosen),
            ]
        if self.is_host and not self.rules.is_https(self.environ):
            self.rules.warn_once(
                f"a request that seems to come by plain http carries {HOST_COOKIE_NAME}, so it"
                " counts as https; if a proxy of yours speaks https, let it set"
                " X-Forwarded-Proto, and set trust_proxy"
            )
        if self.strays:
            self._warn_of_strays(is_served=chosen is not None)
        # An id that is not stored is never adopted: an attacker can have chosen it.
        # Source: OWASP Session Management Cheat Sheet, "strict" session management.
        if chosen is None:
            late = came.overtaken
            self.load(*((None, None) if late is None else (late.session_id, None, late.key)))
        else:
            verified, record = chosen
            self.client_id = verified.session_id
            self.is_stale = verified.is_stale
            if not (verified.is_secure or self.is_host) and self.is_https():
                self.is_stale |= self._is_to_be_secure(record)
            self.seen_at = record.last_seen_at
            self.load(verified.session_id, record, verified.key)

    def _outage(self, error: StoreUnavailable) -> Arrival:
        """Return the cookies that count while the store is away; raise *error* if need be."""
        self.is_refused = True
        if self.rules.options.if_unavailable != "anonymous":
            raise error
        # Send no cookie, or a logged-in user would be logged out when the store is back.
        log_outage("a request is served with an empty session", error)
        self.is_anonymous = True
        return Arrival()

    #: Returns the sessions that the client has cookies of; an integration may override it.
    arrival = arrival_of

    def _is_to_be_secure(self, record: Record) -> bool:
        """Return whether a cookie that was set without ``Secure`` is to be set with it over https.

        Not by settings(): this session is not loaded yet.
        """
        configured = self.rules.settings_of(self.environ).secure
        return (record.cookie or {}).get("secure", configured) is not False

    def _warn_of_strays(self, *, is_served: bool) -> None:
        logger.warning(
            "a request came with cookies of %d sessions, so it has %s; another site on a"
            " neighbouring subdomain can plant them, the name __Host-... prevents that",
            len(self.strays) + is_served,
            "the newest, as all are of one owner" if is_served else "none",
        )

    def stored_as(self, record: Record, changed: Any) -> None:
        """Note the record that was just stored, under the id that the session was to get.

        Args:
            record: the stored record, with the changes of other requests.
            changed: the values this request changed, encoded.
        """
        if self._new_id is not None:
            self.id, self._key = self._new_id, None
        self.record = record
        self.contents.stored(record.frames, changed)
        self.move = self._new_id = None
        self.new_owner = KEEP
        self.is_cleared = False
        self.status = Status.STORED
        self.is_written = True
        if self._cookie is not None:
            self._cookie.stored(record.cookie, record.expires_at)

    def prolonged(self, expires_at: float, now: float) -> None:
        """Take note that only the session's life was prolonged.

        Args:
            expires_at: when it expires now, in Unix seconds.
            now: in Unix seconds.
        """
        _, record = self.stored()
        record.expires_at = expires_at
        self.written_at = now
        if self._cookie is not None:
            self._cookie.stored(record.cookie, expires_at)

    def is_https(self) -> bool:
        """Return whether the client's request came by https, or counts as if it had."""
        if self._is_https is None:
            self._is_https = self.is_host or self.rules.is_https(self.environ)
        return self._is_https

    def signer(self) -> CookieSigner:
        """Return the signer of the cookie that the client is told of the session by."""
        rules = self.rules
        if rules.host_signer is None or not self.is_https():
            return rules.signer
        is_host = may_be_host(self.settings(), self.own_cookie() or {}, is_host=self.is_host)
        return rules.host_signer if is_host else rules.signer

    def client_signer(self) -> CookieSigner:
        """Return the signer of the cookie that the client came with."""
        return (
            self.rules.host_signer if self.is_host and self.rules.host_signer else self.rules.signer
        )

    def is_rolling(self) -> bool:
        """Return whether the response sends the cookie of the session if it was looked at."""
        return self.rules.options.rolling


def log_outage(what: str, error: StoreUnavailable) -> None:
    """Log that the store is away."""
    # Without a traceback: an outage has one of these for every request.
    logger.error("%s: %s", what, error)
