"""How long a session lives: by the cookie's settings, the store's, and whether it has an owner."""

from __future__ import annotations

import logging

import pytest

from litesess import MemoryStore
from tests.tools.apps import Site, look, write


@pytest.fixture
def store(each_store):
    each_store.ttl, each_store.anonymous_ttl = 1000, 100
    return each_store


def life(site, by=None):
    return site.visit(lambda s: s.expires_at, by=by).value - site.clock()


# Sessions without an owner.


def test_a_session_without_an_owner_lives_for_its_own_time(store, clock):
    site = Site(store, clock=clock)
    site.visit(write(a=1))
    assert life(site) == 100
    clock.advance(99)
    assert site.visit(look).value == {"a": 1}
    clock.advance(99)
    assert site.visit(look).value == {"a": 1}
    clock.advance(100)
    assert site.visit(look).value == {}


def test_a_login_makes_it_a_users_and_a_logout_of_the_owner_a_visitors(store, clock):
    site = Site(store, clock=clock)
    site.visit(write(a=1))
    site.visit(lambda s: s.login("ada"))
    assert life(site) == 1000
    clock.advance(999)
    assert site.visit(look).value == {"a": 1}
    site.visit(lambda s: (s.clear(), s.update(a=2)))
    assert life(site) == 100


def test_the_cookies_settings_decide_first_and_that_is_logged(store, clock, caplog):
    site = Site(store, clock=clock, cookie={"max_age": 500})
    assert "anonymous_ttl has no effect" in caplog.text
    site.visit(write(a=1))
    assert life(site) == 500


def test_a_sessions_own_settings_decide_before_all(store, clock):
    site = Site(store, clock=clock)
    site.visit(lambda s: s.update(a=setattr(s.cookie, "max_age", 5000)))
    assert life(site) == 5000


def test_without_the_option_both_live_as_long(clock, caplog):
    with caplog.at_level(logging.WARNING):
        site = Site(MemoryStore(clock=clock, ttl=50), clock=clock, cookie={"max_age": None})
    site.visit(write(a=1))
    assert life(site) == 50
    assert caplog.text == ""


def test_each_store_has_the_option():
    pytest.importorskip("redis")
    redis_store = pytest.importorskip("litesess.stores.redis").RedisStore
    assert MemoryStore(anonymous_ttl=5).anonymous_ttl == 5.0
    assert redis_store("redis://127.0.0.1:1", anonymous_ttl=5).anonymous_ttl == 5.0
    assert MemoryStore().anonymous_ttl is None
