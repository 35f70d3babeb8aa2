"""The ``Set-Cookie`` header of a session, and the requests that its cookie comes with."""

from __future__ import annotations

from email.utils import formatdate
from typing import Final
from urllib.parse import quote

from webob.cookies import make_cookie

from litesess.web.cookie.own import LAST_DATE, SessionCookie
from litesess.web.cookie.settings import CookieSettings, is_host_prefixed, is_prefixed
from litesess.web.cookie.signer import CookieSigner

#: Browsers shorten a longer life to this.  Source: RFC 6265bis section 5.5.
LONGEST_MAX_AGE: Final = 400 * 86_400
# Source: RFC 3986 section 3.3, the characters that a path can have unescaped.
_PATH_SAFE: Final = "/!$&'()*+,=:@~.-_"


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
        session_id: the id that the client is to send back.
        cookie: the session's settings.
        https: whether the request came that way.
        now: in Unix seconds; the life is counted from it.
        ends_at: when the cookie ends, in Unix seconds; None: with the browser.
    """
    value = signer.sign(session_id, is_secure=is_secure(cookie, https=https))
    return _header(signer.name, value, cookie, https, ends_at, now)


def expire_cookie(name: str, cookie: SessionCookie, *, https: bool) -> str | None:
    """Return the ``Set-Cookie`` value that expires the cookie; None: see :func:`set_cookie`."""
    return _header(name, "", cookie, https, 0.0, 0.0)


def is_accepted(name: str, cookie: SessionCookie, *, https: bool) -> bool:
    """Return whether a client takes a cookie of this name and these settings.

    Over plain http a browser takes no secure cookie.  Source: RFC 6265bis section 5.7.
    """
    return https or not (cookie.secure is True or is_prefixed(name))


def is_secure(cookie: SessionCookie | CookieSettings, *, https: bool) -> bool:
    """Return whether a cookie of these settings is set with ``Secure``."""
    return https if cookie.secure == "auto" else cookie.secure is True


def _header(
    name: str, value: str, cookie: SessionCookie, https: bool, ends_at: float | None, now: float
) -> str | None:
    if not is_accepted(name, cookie, https=https):
        return None
    # The usual session has no settings of its own.
    own = cookie if cookie.changes else cookie.settings
    # Source: RFC 6265bis section 4.1.3: browsers refuse such names otherwise.
    is_host = is_host_prefixed(name)
    secure = is_prefixed(name) or is_secure(own, https=https)
    samesite = own.samesite
    if samesite == "auto" or (samesite == "none" and not secure):
        samesite = "none" if secure else "lax"
    # WebOb gets no max_age: it would ask the deprecated datetime.utcnow for the date.
    header: str = make_cookie(
        name,
        value,
        path=None,
        domain=None if is_host else own.domain,
        secure=secure,
        httponly=own.httponly,
        samesite=samesite.capitalize() if samesite else None,
    )
    if secure:
        # As RFC 6265 and most servers spell it: logs and tests look for that.
        header = header.replace("; secure", "; Secure", 1)
    # WebOb would write a comma as \054, which browsers take as it stands.
    path = "/" if is_host else own.path
    header += "; Path=" + quote(path.encode("latin-1"), safe=_PATH_SAFE)
    if ends_at is not None:
        life = min(max(ends_at - now, 0.0), LONGEST_MAX_AGE)
        header += f"; Max-Age={int(life)}; Expires={formatdate(_date(ends_at, now), usegmt=True)}"
    if own.partitioned and secure:
        header += "; Partitioned"
    if own.priority:
        header += f"; Priority={own.priority.capitalize()}"
    return header


def _date(ends_at: float, now: float) -> float:
    return max(min(ends_at, now + LONGEST_MAX_AGE, LAST_DATE), 0.0)


def in_scope(path: str, cookie_path: str) -> bool:
    """Return whether a cookie of *cookie_path* is sent with a request for *path*.

    Source: RFC 6265 section 5.1.4.
    """
    if path == cookie_path:
        return True
    return path.startswith(cookie_path) and (
        cookie_path[-1] == "/" or path[len(cookie_path)] == "/"
    )
