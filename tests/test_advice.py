"""What is said of an option that litesess does not have."""

from __future__ import annotations

from dataclasses import fields

import pytest

from litesess import ConfigError, CookieSettings, MemoryStore, SessionMiddleware, WALStore
from litesess.advice import PARTS, suggestion
from litesess.integrations.settings import from_settings
from litesess.stores.memory import MemoryOptions
from litesess.stores.redis import RedisOptions
from litesess.stores.wal import WALOptions
from litesess.web import ManagerOptions
from tests.tools.apps import SECRET, hello

ATTRIBUTES = [item.name for item in fields(CookieSettings)]


def said_of(name, kind):
    """Return the complaint about an option that one part of litesess was given."""
    with pytest.raises(ConfigError) as error_info:
        if kind == "middleware":
            SessionMiddleware(hello, secret=SECRET, store=MemoryStore(), **{name: 1})
        elif kind == "cookie":
            CookieSettings(**{name: 1}) if name in ATTRIBUTES else SessionMiddleware(
                hello, secret=SECRET, store=MemoryStore(), cookie={name: 1}
            )
        elif kind == "settings":
            from_settings({"l.store": "memory", f"l.{name}": "1"}, "l.")
        else:
            WALStore("/nowhere", **{name: 1})
    complaint = str(error_info.value)
    assert complaint.startswith(("unknown option", "unknown cookie option", "unknown setting"))
    return complaint.partition("; ")[2]


@pytest.mark.parametrize("name", ["httponly", "secure", "samesite", "max_age", "domain", "expires"])
@pytest.mark.parametrize("spelt", [str, str.upper, "cookie_{}".format, "session_cookie_{}".format])
def test_an_attribute_of_the_cookie_belongs_into_cookie(name, spelt):
    assert said_of(spelt(name), "middleware") == f"it belongs into cookie={{{name!r}: ...}}"
    assert "the middleware, as cookie={" in said_of(spelt(name), "store")
    assert said_of(spelt(name), "settings") == f"did you mean 'l.cookie.{name}'?"


def test_a_path_may_be_the_cookie_s_or_the_store_s():
    assert said_of("path", "middleware") == (
        "the store's directory is WALStore's, and the cookie's path belongs into"
        " cookie={'path': ...}"
    )


@pytest.mark.parametrize(
    ("name", "kind", "advice"),
    [
        ("timeout", "middleware", "'ttl' is an option of the store"),
        ("timeout", "store", "did you mean 'ttl'?"),
        ("timeout", "settings", "did you mean 'l.ttl'?"),
        ("SESSION_LIFETIME", "middleware", "'ttl' is an option of the store"),
        ("expiry", "store", "did you mean 'ttl'?"),
        ("name", "middleware", "did you mean 'cookie_name'?"),
        ("key", "middleware", "did you mean 'cookie_name'?"),
        ("key", "cookie", "'cookie_name' is an option of the middleware"),
        ("dir", "middleware", "'path' is an option of WALStore"),
        ("data_dir", "settings", "did you mean 'l.path'?"),
        ("SESSION_FILE_DIR", "settings", "did you mean 'l.path'?"),
        ("secret_key", "middleware", "did you mean 'secret'?"),
        ("validate_key", "middleware", "did you mean 'secret'?"),
        ("encrypt_key", "store", "did you mean 'encryption_key'?"),
        ("encrypt_key", "middleware", "'encryption_key' is an option of the store"),
        ("saveUninitialized", "middleware", "did you mean 'save_uninitialized'?"),
        ("proxy", "middleware", "did you mean 'trust_proxy'?"),
        ("reissue_time", "middleware", "'touch_interval' is an option of the store"),
        ("SESSION_TYPE", "middleware", "did you mean 'store'?"),
        ("SESSION_PERMANENT", "middleware", "a cookie without 'max_age' ends with the"),
        ("SESSION_USE_SIGNER", "middleware", "the cookie is always signed, with 'secret'"),
        ("constant_csrf_token", "middleware", "CSRF tokens live as long as the session"),
        ("serializer", "middleware", "values are always stored as typed JSON"),
        ("lock_dir", "store", "the locks lie in the store's directory"),
        ("httpOnly", "cookie", "did you mean 'httponly'?"),
        ("maxAge", "cookie", "did you mean 'max_age'?"),
        ("ttl", "cookie", "'ttl' is an option of the store"),
        ("ttl", "middleware", "'ttl' is an option of the store"),
        ("secret", "store", "'secret' is an option of the middleware"),
        ("cookie", "settings", "give its attributes one by one, such as 'l.cookie.secure'"),
    ],
)  # fmt: skip
def test_a_name_of_another_library_is_told_what_it_is_called_here(name, kind, advice):
    assert said_of(name, kind).startswith(advice)


def test_only_a_name_that_is_near_is_suggested():
    """Who followed the suggestion for httponly trusted a header of anybody's."""
    known = [item.name for item in fields(ManagerOptions)]
    for near, name in ("secrt", "secret"), ("absolut_timout", "absolute_timeout"):
        assert suggestion(near, known) == f"; did you mean {name!r}?"
    for far in "xyzzy", "trust", "time", "sec", "cache":
        assert suggestion(far, known).startswith("; known are secret, store, ")


def test_each_option_is_known_to_belong_to_a_part():
    declared = {
        item.name
        for options in (ManagerOptions, WALOptions, MemoryOptions, RedisOptions)
        for item in fields(options)
    }
    assert declared - {"clock"} <= PARTS.keys()


# ASGI.


async def asgi_app(scope, receive, send):
    """Is never called."""


class AsgiApp:
    async def __call__(self, scope, receive, send):
        """Is never called."""


@pytest.mark.parametrize("app", [asgi_app, AsgiApp()])
def test_an_asgi_app_is_refused(app):
    with pytest.raises(ConfigError, match="the app is an ASGI app, and litesess keeps"):
        SessionMiddleware(app, secret=SECRET, store=MemoryStore())


@pytest.mark.parametrize("arguments", [({},), ({}, None, None)], ids=["ASGI 2", "ASGI 3"])
def test_a_server_of_asgi_is_told_that_this_is_no_asgi_app(arguments):
    middleware = SessionMiddleware(hello, secret=SECRET, store=MemoryStore())
    with pytest.raises(ConfigError, match="a server calls litesess as an ASGI app"):
        middleware(*arguments)
