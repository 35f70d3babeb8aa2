"""The ``Set-Cookie`` values of a response, which tell the client of its session."""

from __future__ import annotations

from itertools import islice

from litesess.web.caching import Headers
from litesess.web.cookie import (
    SessionCookie,
    expire_cookie,
    is_accepted,
    is_host_prefixed,
    set_cookie,
)
from litesess.web.loaded import Status
from litesess.web.state import State
from litesess.web.strays import MAX_HEADERS, Scope, scope_of, scopes


def cookies(state: State) -> list[str]:
    """Return the ``Set-Cookie`` values that the client is to get."""
    is_told = state.status is Status.STORED and (
        state.id != state.client_id
        or state.is_stale
        or (state.is_host and state.signer() is not state.client_signer())
        or state.is_cookie_written
        or state.is_rolling()
        or ((state.is_content_written or state.is_touched) and state.has_life())
    )
    if is_told:
        is_told = not is_lost(state)
    if not (is_told or state.strays or state.has_ended or state.ignored):
        # A session that this request only found gone says nothing: the browser may already have
        # the cookie that a login has just set.
        return []
    found: list[str | None] = []
    if state.strays and not state.has_ended:
        # Order: expire the strays first, and send no cookie of ours: at the next request the user's
        # own session is alone, and an attacker who planted a cookie has no part in this one.
        is_told = False
    if state.strays:
        found += _expired_strays(state, is_own_kept=is_told or not state.has_ended)
    elif state.has_ended and state.has_cookie and not is_told:
        found.append(_expired(state, state.current_cookie()))
    is_moved = is_told and (state.id != state.client_id or state.is_cookie_written)
    if state.scopes and (state.has_ended or is_moved):
        found += _expired_elsewhere(state)
    if state.ignored:
        found += _expired_ignored(state)
    if is_told:
        if state.is_host and state.signer() is not state.client_signer():
            # By the other name from now on; the one it came by would win.
            found.append(_expired(state, _in_scope(state, Scope(None, "/"))))
        found.append(_set_cookie(state, state.current_id()))
    return [*filter(None, found)]


def is_lost(state: State) -> bool:
    """Return whether a session that this request has not written is gone; it is lost then.

    The client must not be told of it: the browser may already have the cookie of a login.
    """
    if state.written_at is None and state.rules.store.load(state.stored()[0]) is None:
        state.lose()
    return state.status is not Status.STORED


def is_possible(state: State) -> bool:
    """Return whether the client would take the cookie; if not, no new session is stored.

    Each such request would leave another session that no client can come back to.
    """
    if not may_begin(state):
        return False
    if is_accepted(state.signer().name, state.current_cookie(), https=state.is_https()):
        return True
    state.rules.warn_once(
        "a secure cookie can't be sent over plain http, so the session is not stored;"
        " behind a TLS proxy set trust_proxy=True, or gunicorn's forwarded_allow_ips"
    )
    return False


def may_begin(state: State) -> bool:
    """Return whether a new session can begin, as far as other cookies of the client allow it.

    Beside strays, and in a request that is late, only a login or a fresh start: any other would be
    announced, and would take the place of the user's own session, which is there again when the
    strays are gone, or when the client knows its other id.
    """
    return (
        not (state.strays or state.status is Status.OVERTAKEN)
        or state.has_ended
        or state.is_cleared
        or state.is_login()
        or state.is_announced
    )


def sets_cookie(headers: Headers, cookie_name: str) -> bool:
    """Return whether *headers* set a cookie of that name."""
    return any(
        name.lower() == "set-cookie" and value.partition("=")[0].strip() == cookie_name
        for name, value in headers
    )


def _expired(state: State, cookie: SessionCookie, name: str = "") -> str | None:
    name = name or state.client_signer().name
    return expire_cookie(name, cookie, https=state.is_https())


def _expired_elsewhere(state: State) -> list[str | None]:
    """Return the headers that expire the cookies of the client's sessions with own scopes."""
    own = state.current_cookie()
    return [
        _expired(state, _in_scope(state, scope))
        for scope in state.scopes
        if scope != scope_of(own.domain, own.path)
    ]


def _in_scope(state: State, scope: Scope) -> SessionCookie:
    rules = state.rules
    return SessionCookie(rules.signer.name, state.settings(), scope._asdict(), None, rules.clock)


def _expired_strays(state: State, *, is_own_kept: bool) -> list[str | None]:
    """Return the headers that expire the cookie in every scope that it can have.

    Args:
        state: of a request that came with strays.
        is_own_kept: not in the scope that we set ours in.
    """
    rules, settings, environ = state.rules, state.settings(), state.environ
    name, own = state.client_signer().name, state.current_cookie()
    kept = [scope_of(own.domain, own.path), scope_of(settings.domain, settings.path), *state.scopes]
    # Source: RFC 6265bis section 4.1.3.2: a cookie with that prefix has one scope alone.
    is_fixed = is_host_prefixed(name)
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    found = kept[:1] if is_fixed else scopes(rules.host(environ), path, kept[0])
    return [
        _expired(state, _in_scope(state, scope))
        for scope in found
        if not (is_own_kept and scope in kept)
    ]


def _expired_ignored(state: State) -> list[str | None]:
    """Return the headers that expire the cookies by the other name, which don't count."""
    rules, settings, environ = state.rules, state.settings(), state.environ
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    cookie, kept = state.current_cookie(), set[Scope]()
    if state.client_id is not None and not state.is_host:
        kept = {scope_of(cookie.domain, cookie.path), *state.scopes}
    configured = scope_of(settings.domain, settings.path)
    # One less than may be: ours comes with them.
    found = islice(scopes(rules.host(environ), path, configured), MAX_HEADERS - 1)
    return [
        _expired(state, _in_scope(state, scope), rules.signer.name)
        for scope in found
        if scope not in kept
    ]


def _set_cookie(state: State, session_id: str) -> str | None:
    rules, cookie, record = state.rules, state.current_cookie(), state.record
    # One reading of the clock for the record and for the cookie.
    now = rules.clock() if state.written_at is None else state.written_at
    ends_at = cookie.ends_at(now)
    if ends_at is not None:
        ends_at = state.expiry(now if record is None else record.created_at, now)
    return set_cookie(
        state.signer(), session_id, cookie, https=state.is_https(), now=now, ends_at=ends_at
    )
