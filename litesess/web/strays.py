"""The scopes in which a browser can hold a cookie of our name that we did not set there.

A neighbouring subdomain can plant such a cookie for a parent domain, and a page of another path for
that path.  A browser forgets a cookie only if it is told its domain and path, which a ``Cookie``
header does not show, so that all that can be are named.
Source: RFC 6265 sections 5.3 and 8.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

#: Most ``Set-Cookie`` headers of one response, the session's own included.
MAX_HEADERS: Final = 20
#: Most domains above the host's own that are named.
MAX_PARENTS: Final = 5
#: Source: RFC 1035 section 2.3.4.
LONGEST_HOST: Final = 253
#: Most parts of a path that are looked at.
_MAX_PARTS: Final = 8
#: Longest path that a browser takes for a cookie's.  Source: RFC 6265bis section 5.6.
_LONGEST_PATH: Final = 1024
_LONGEST_PORT: Final = len(":65535")

# Source: RFC 1035 section 2.3.1; the underscore is used in practice.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")


class Scope(NamedTuple):
    """Where a browser sends a cookie to.

    Attributes:
        domain: the domain; its subdomains get the cookie, too; None: the host alone.
        path: the path; pages below it get the cookie.
    """

    domain: str | None
    path: str


def scope_of(domain: str | None, path: str) -> Scope:
    """Return a scope as browsers compare it: without the domain's leading dot, in lower case."""
    return Scope(None if domain is None else domain.lstrip(".").lower(), path)


def scopes(host: str, path: str, configured: Scope) -> Iterator[Scope]:
    """Yield the scopes of cookies that a request can carry, the likeliest first, each once.

    Args:
        host: of the request, as its ``Host`` header has it.
        path: of the request.
        configured: where we set ours.
    """
    domains = dict.fromkeys([configured.domain, None, *_domains(host)])
    paths = dict.fromkeys([configured.path, "/", *_prefixes(path)])
    every = (Scope(domain, each) for each in paths for domain in domains)
    return islice(every, MAX_HEADERS)


def _domains(host: str) -> list[str]:
    """Return the host's name and the domains above it, but no top-level domain.

    A host that is no DNS name (an IP address, one label, junk) has none.
    """
    if len(host) > LONGEST_HOST + len(".") + _LONGEST_PORT:
        return []
    name = re.sub(r":[0-9]*\Z", "", host.lower()).removesuffix(".")
    labels = name.split(".")
    is_name = (
        len(name) <= LONGEST_HOST
        and len(labels) > 1
        and all(_LABEL.match(label) for label in labels)
        and not labels[-1].isdigit()  # an IPv4 address
    )
    if not is_name:
        return []
    parents = [".".join(labels[at:]) for at in range(1, len(labels) - 1)]
    return [name, *parents[-MAX_PARENTS:]]


def _prefixes(path: str) -> Iterator[str]:
    """Yield the paths of cookies that are sent with *path*, the shortest first, without ``/``.

    Source: RFC 6265 section 5.1.4.
    """
    prefix = ""
    for part in path.split("/", _MAX_PARTS)[1:]:
        if not part or "/" in part:
            return
        prefix = f"{prefix}/{part}"
        if len(prefix) >= _LONGEST_PATH:
            return
        yield prefix
        yield prefix + "/"
