"""The session cookie: its settings, its signature, its way in and out of headers."""

from litesess.web.cookie.header import (
    LONGEST_MAX_AGE,
    expire_cookie,
    in_scope,
    is_accepted,
    is_secure,
    set_cookie,
)
from litesess.web.cookie.own import ROTATION_DUE, SessionCookie, life_ends_at
from litesess.web.cookie.secrets import Secrets, check_secrets
from litesess.web.cookie.settings import (
    CookieSettings,
    check_name,
    cookie_settings,
    is_host_prefixed,
    is_prefixed,
    may_be_host,
)
from litesess.web.cookie.signer import ID, CookieSigner, Verified, values_of

__all__ = [
    "ID",
    "LONGEST_MAX_AGE",
    "ROTATION_DUE",
    "CookieSettings",
    "CookieSigner",
    "Secrets",
    "SessionCookie",
    "Verified",
    "check_name",
    "check_secrets",
    "cookie_settings",
    "expire_cookie",
    "in_scope",
    "is_accepted",
    "is_host_prefixed",
    "is_prefixed",
    "is_secure",
    "life_ends_at",
    "may_be_host",
    "set_cookie",
    "values_of",
]
