"""The valid cookies of a request, and the sessions that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from litesess.stores.base import LATE_FOR, Record
from litesess.web.cookie import CookieSettings, CookieSigner, Verified, may_be_host
from litesess.web.rules import Rules
from litesess.web.strays import Scope, scope_of

#: Most sessions that are loaded for one request.
MAX_CANDIDATES: Final = 4

#: A cookie's session, and its record.
Candidate: TypeAlias = "tuple[Verified, Record]"


class Request(Protocol):
    """The needed facts of a request; :class:`litesess.web.state.State` is one."""

    environ: Mapping[str, Any]

    @property
    def rules(self) -> Rules:
        """The rules of the app."""

    def ends_at(self, record: Record) -> float:
        """Return when a session ends, in Unix seconds."""


class Arrival:
    """The sessions that a request has cookies of; as it is made, of one without a cookie."""

    #: The live sessions that it has cookies of.
    live: Sequence[Candidate] = ()
    #: The ids of sessions that it has too many cookies of.
    strays: Sequence[str] = ()
    #: Whether it has a cookie of ours at all.
    has_cookie: bool = False
    #: Whether that has the name that browsers take over https alone.
    is_host: bool = False
    #: Whether it came by https, or counts as if it had; None: that makes no difference so far, and
    #: a proxy's headers may still be applied further in.
    is_https: bool | None = None
    #: The ids in cookies that don't count, as they have the other name.
    ignored: Sequence[str] = ()
    #: The cookie, if no session of the client's is live, of one that has just got another id.
    overtaken: Verified | None = None


def arrival_of(request: Request) -> Arrival:
    """Return the sessions that the client has cookies of.

    Raises:
        StoreError: the store can't work.
    """
    rules, header = request.rules, request.environ.get("HTTP_COOKIE", "")
    if not header:
        return Arrival()
    host_signer = rules.host_signer
    if host_signer is not None and host_signer.name in header:
        came = _by_host_name(request, host_signer, header)
        if came is not None:
            return came
    came = arrival_by(request, rules.signer.verified(header))
    if host_signer is not None and came.has_cookie:
        came.is_https = rules.is_https(request.environ)
        if came.is_https:
            _leave_planted_out(request, came)
    return came


def _by_host_name(request: Request, host_signer: CookieSigner, header: str) -> Arrival | None:
    """Return the sessions by the name for https, which wins; None: the other name counts."""
    plain, settings = request.rules.signer, request.rules.settings_of(request.environ)
    came = arrival_by(request, host_signer.verified(header))
    # A dead session counts only where a new one would have that name.
    if not (came.live or (came.has_cookie and may_be_host(settings, {}))):
        return None
    came.is_host = True
    # The one name ends in the other.
    if header.count(plain.name) != header.count(host_signer.name):
        came.ignored = _ignored(arrival_by(request, plain.verified(header)), settings)
    return came


def _leave_planted_out(request: Request, came: Arrival) -> None:
    """Ignore all but the valid part of the cookies by the name for http that came over https.

    Only a session whose own settings rule the first name out is valid.  A neighbouring subdomain,
    or an attacker on the way of a request over http, can have planted any other.
    """
    settings = request.rules.settings_of(request.environ)
    if not may_be_host(settings, {}):
        return
    came.ignored = _ignored(came, settings)
    came.live = [each for each in came.live if not may_be_host(settings, each[1].cookie or {})]
    came.strays = ()
    came.has_cookie = bool(came.live) or came.overtaken is not None


def _ignored(came: Arrival, settings: CookieSettings) -> list[str]:
    """Return the ids in cookies by the other name that don't count.

    Cookies without a session are left alone: a login may have set that cookie anew meanwhile.
    """
    live = [item for item, record in came.live if may_be_host(settings, record.cookie or {})]
    return [*came.strays, *(item.session_id for item in live)]


def arrival_by(request: Request, verified: list[Verified]) -> Arrival:
    """Return the sessions of a client with these ids in its cookies.

    If there are more than ``MAX_CANDIDATES``, none is loaded, and all are strays: an attacker who
    planted them must not make each request cost as many look-ups.

    Raises:
        StoreError: the store can't work.
    """
    came = Arrival()
    if not verified:
        return came
    came.has_cookie = True
    if len(verified) > MAX_CANDIDATES:
        came.strays = [item.session_id for item in verified]
        return came
    rules = request.rules
    if len(verified) > 1:
        records = rules.store.load_all([item.key for item in verified])
    else:
        records = [rules.store.load(verified[0].key)]
    now = rules.clock()
    came.live = live = []
    for item, record in zip(verified, records, strict=True):
        if record is not None and request.ends_at(record) > now:
            live.append((item, record))
    if not live:
        came.overtaken = _overtaken(rules, verified, records, now)
    return came


def _overtaken(
    rules: Rules, verified: list[Verified], records: Sequence[Record | None], now: float
) -> Verified | None:
    """Return the cookie of a session that another request has just given another id.

    The client sent this request before it knew of that: the request is late.
    """
    for item, record in zip(verified, records, strict=True):
        moved_at = rules.store.moved_at(item.key) if record is None else None
        if moved_at is not None and now < moved_at + LATE_FOR:
            return item
    return None


def chosen_of(live: Sequence[Candidate]) -> Candidate | None:
    """Return the session of a request that came with *live* ones.

    Of several it has none, as a neighbour may have planted one.  All of one user is no attack: a
    cookie of a former scope, say; then it has the newest.
    """
    if len(live) < 2:
        return live[0] if live else None
    owners = {record.owner for _, record in live}
    if len(owners) > 1 or None in owners:
        return None
    return max(live, key=lambda candidate: candidate[1].created_at)


def own_scopes(rules: Rules, environ: Mapping[str, Any], live: Sequence[Candidate]) -> list[Scope]:
    """Return the scopes of sessions with cookie settings that name another one than configured."""
    settings, found = rules.settings_of(environ), []
    for _, record in live:
        own = record.cookie or {}
        scope = scope_of(own.get("domain", settings.domain), own.get("path", settings.path))
        if scope != scope_of(settings.domain, settings.path):
            found.append(scope)
    return found
