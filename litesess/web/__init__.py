"""Everything about one request: its session, the cookie, the answer's headers.

An app imports its names from ``litesess``; integrations import theirs from here.
"""

from litesess.web.arrival import MAX_CANDIDATES, Arrival, arrival_by
from litesess.web.contents import Contents
from litesess.web.cookie import (
    ID,
    LONGEST_MAX_AGE,
    ROTATION_DUE,
    CookieSettings,
    CookieSigner,
    Secrets,
    SessionCookie,
    Verified,
    check_name,
    check_secrets,
    values_of,
)
from litesess.web.loaded import Move, Status
from litesess.web.manager import Manager
from litesess.web.middleware import SessionMiddleware
from litesess.web.rules import REFUSED, STORE_KEY, ManagerOptions
from litesess.web.session import Session, visit_of
from litesess.web.visit import Visit

__all__ = [
    "ID",
    "LONGEST_MAX_AGE",
    "MAX_CANDIDATES",
    "REFUSED",
    "ROTATION_DUE",
    "STORE_KEY",
    "Arrival",
    "Contents",
    "CookieSettings",
    "CookieSigner",
    "Manager",
    "ManagerOptions",
    "Move",
    "Secrets",
    "Session",
    "SessionCookie",
    "SessionMiddleware",
    "Status",
    "Verified",
    "Visit",
    "arrival_by",
    "check_name",
    "check_secrets",
    "values_of",
    "visit_of",
]
