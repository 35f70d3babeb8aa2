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


# Timeouts that were changed.

DAY, HOUR, MINUTE = 86_400.0, 3600.0, 60.0

#: Each way to say how long a session lives: the options before and after.
SHORTER = {
    "ttl": ({"ttl": 30 * DAY}, {"ttl": 15 * MINUTE}),
    "anonymous_ttl": ({"ttl": 30 * DAY}, {"ttl": 30 * DAY, "anonymous_ttl": 15 * MINUTE}),
    "max_age": ({"max_age": 30 * DAY}, {"max_age": 15 * MINUTE}),
    "ttl in place of max_age": ({"max_age": 30 * DAY}, {"ttl": 15 * MINUTE}),
}


def site_of(store, clock, *, ttl=DAY, anonymous_ttl=None, max_age=None, **options):
    """Return the site as it is after a restart with other options."""
    store.ttl, store.anonymous_ttl = ttl, anonymous_ttl
    return Site(store, clock=clock, cookie={"max_age": max_age}, **options)


def returning(site, browser):
    """Return the browser as one that visits *site*."""
    again = site.new_browser()
    again.cookies = browser.cookies
    return again


@pytest.fixture(params=SHORTER)
def shortened(request, each_store, clock):
    """A site whose sessions were begun under a longer timeout, and a browser that has one."""
    before, after = SHORTER[request.param]
    site = site_of(each_store, clock, **before)
    site.visit(write(a=1))
    clock.advance(DAY)
    site.visit(look)
    return site_of(each_store, clock, **after), site.browser


def test_a_shorter_timeout_holds_for_the_sessions_that_there_are(shortened, clock):
    """coherence-spring#358"""
    site, browser = shortened
    browser = returning(site, browser)
    clock.advance(15 * MINUTE)
    assert site.visit(look, by=browser).value == {}


def test_a_session_that_is_used_lives_on_under_a_shorter_timeout(shortened, clock):
    site, browser = shortened
    browser = returning(site, browser)
    clock.advance(14 * MINUTE)
    for minutes in (14, 1, 14, 14, 0.5, 14):
        assert site.visit(look, by=browser).value == {"a": 1}
        clock.advance(minutes * MINUTE)
    assert site.visit(write(b=2), by=browser)
    clock.advance(14 * MINUTE)
    assert site.visit(look, by=browser).value == {"a": 1, "b": 2}
    clock.advance(15 * MINUTE)
    assert site.visit(look, by=browser).value == {}


def test_the_last_use_is_known_after_the_life_has_changed(shortened, clock):
    site, browser = shortened
    browser = returning(site, browser)
    clock.advance(10 * MINUTE)
    used_at = clock()
    site.visit(look, by=browser)
    clock.advance(5 * MINUTE)
    assert site.visit(lambda s: s.last_seen_at, by=browser).value == pytest.approx(used_at)
    assert [record.expires_at for _, record in site.store.records()] == [clock() + 15 * MINUTE]


def test_a_shorter_end_costs_one_write_and_then_it_is_as_before(shortened, clock):
    site, browser = shortened
    browser = returning(site, browser)
    assert site.writes_of(look, by=browser) == {"update": 1}
    assert site.writes_of(look, by=browser) == {}
    clock.advance(5 * MINUTE)
    assert site.writes_of(look, by=browser) == {"touch": 1}


def test_a_longer_timeout_and_then_a_shorter_one_hold(each_store, clock):
    first = site_of(each_store, clock, ttl=15 * MINUTE)
    first.visit(write(a=1))
    clock.advance(10 * MINUTE)
    longer = site_of(each_store, clock, ttl=30 * DAY)
    browser = returning(longer, first.browser)
    assert longer.visit(look, by=browser).value == {"a": 1}
    clock.advance(29 * DAY)
    assert longer.visit(look, by=browser).value == {"a": 1}
    shorter = site_of(each_store, clock, ttl=HOUR)
    browser = returning(shorter, browser)
    clock.advance(HOUR - 1)
    assert shorter.visit(look, by=browser).value == {"a": 1}
    clock.advance(HOUR)
    assert shorter.visit(look, by=browser).value == {}


def test_a_sessions_own_life_is_not_shortened(each_store, clock):
    before = site_of(each_store, clock, max_age=HOUR)
    before.visit(lambda s: s.update(a=setattr(s.cookie, "max_age", 30 * DAY)))  # remember me
    site = site_of(each_store, clock, max_age=15 * MINUTE)
    browser = returning(site, before.browser)
    for _ in range(3):
        clock.advance(29 * DAY)
        assert site.visit(look, by=browser).value == {"a": None}


def test_a_sessions_own_end_is_kept(each_store, clock):
    before = site_of(each_store, clock)
    ends_at = clock() + 30 * DAY
    before.visit(lambda s: s.update(a=setattr(s.cookie, "expires", ends_at)))
    site = site_of(each_store, clock, ttl=15 * MINUTE, max_age=5 * MINUTE)
    browser = returning(site, before.browser)
    clock.advance(30 * DAY - 1)
    assert site.visit(look, by=browser).value == {"a": None}
    clock.advance(1)
    assert site.visit(look, by=browser).value == {}


def test_a_shorter_absolute_timeout_and_a_shorter_ttl_hold_together(each_store, clock):
    before = site_of(each_store, clock, ttl=30 * DAY, absolute_timeout=90 * DAY)
    before.visit(write(a=1))
    site = site_of(each_store, clock, ttl=HOUR, absolute_timeout=8 * HOUR)
    browser = returning(site, before.browser)
    for _ in range(15):
        clock.advance(HOUR / 2)
        assert site.visit(look, by=browser).value == {"a": 1}
    clock.advance(HOUR / 2)
    assert site.visit(look, by=browser).value == {}


def test_a_life_that_another_request_has_set_meanwhile_is_no_reason_to_end(each_store, clock):
    """A touch by it left the last use 30 days before the truth."""
    site = site_of(each_store, clock, max_age=30 * DAY)
    site.visit(write(a=1))
    tab = site.new_tab()

    def slow(session):
        look(session)
        site.visit(lambda s: setattr(s.cookie, "max_age", HOUR), by=tab)
        session["b"] = 2

    site.visit(slow)
    for _ in range(3):
        clock.advance(HOUR - 1)
        assert site.visit(look).value == {"a": 1, "b": 2}
    clock.advance(HOUR)
    assert site.visit(look).value == {}
