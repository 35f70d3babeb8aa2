"""Response headers that keep shared caches from mixing up the clients of an app.

Source: RFC 9111 sections 4.1 and 5.2.2; CVE-2023-30861 (Flask), CVE-2024-26144 (Rails).
"""

from __future__ import annotations

import logging
import re
from typing import Final, TypeAlias

logger = logging.getLogger("litesess.caches")

#: A response's headers, as WSGI passes them.
Headers: TypeAlias = "list[tuple[str, str]]"

_SHARED: Final = re.compile(r"(public|s-maxage)(=|\Z)", re.IGNORECASE)
_NOT_STORED: Final = re.compile(r"no-store\Z", re.IGNORECASE)
# Not private="X-Field", which keeps shared caches from that field alone (RFC 9111 5.2.2.7).
_PRIVATE: Final = re.compile(r"private\Z", re.IGNORECASE)
# Commas within quotes part nothing.
_DIRECTIVE: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')


#: Headers that tell some caches more than ``Cache-Control`` does, which these then do not read.
#: Source: RFC 9213 section 3; the manuals of Cloudflare, Fastly and nginx.
_TARGETED: Final = frozenset(
    {"cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control", "x-accel-expires"}
)
_FORBIDS: Final = re.compile(r"(no-store|private)\Z", re.IGNORECASE)


def guard_caches(headers: Headers, cookies: list[str]) -> Headers:
    """Return *headers* for a response that sets a session's cookies.

    Args:
        headers: the app's; not changed.
        cookies: the ``Set-Cookie`` values that will be added.
    """
    headers = vary_by_cookie(headers)
    headers = _untargeted(headers)
    stated = [value for name, value in headers if name.lower() == "cache-control"]
    directives = [
        part.strip() for value in stated for part in _DIRECTIVE.findall(value) if part.strip()
    ]
    if any(map(_NOT_STORED.match, directives)):
        return headers
    is_deletion = any("Max-Age=0;" in cookie for cookie in cookies)
    if is_deletion or any(map(_SHARED.match, directives)):
        if not is_deletion:
            logger.warning("a response that sets the session cookie was public; it is not stored")
        directives = ["no-store"]
    elif any(map(_PRIVATE.match, directives)):
        return headers
    else:
        directives = ["private", *directives]
    kept = [(name, value) for name, value in headers if name.lower() != "cache-control"]
    return [*kept, ("Cache-Control", ", ".join(directives))]


def vary_by_cookie(headers: Headers) -> Headers:
    """Return *headers* with ``Cookie`` in ``Vary``."""
    position = None
    for at, (name, value) in enumerate(headers):
        if name.lower() == "vary":
            named = {part.strip().lower() for part in value.split(",")}
            if named & {"*", "cookie"}:
                return headers
            position = at
    if position is None:
        return [*headers, ("Vary", "Cookie")]
    name, value = headers[position]
    value = f"{value}, Cookie" if value.strip() else "Cookie"
    return [*headers[:position], (name, value), *headers[position + 1 :]]


def _untargeted(headers: Headers) -> Headers:
    """Return *headers* without those that let a cache of one kind store the response."""
    permitting = [
        name for name, value in headers if name.lower() in _TARGETED and not _forbids(value)
    ]
    if not permitting:
        return headers
    logger.warning(
        "a response that sets the session cookie told a cache to store it; %s is left out",
        ", ".join(permitting),
    )
    return [header for header in headers if header[0] not in permitting]


def _forbids(value: str) -> bool:
    parts = [part.strip() for part in _DIRECTIVE.findall(value)]
    return value.strip() == "0" or any(map(_FORBIDS.match, parts))
