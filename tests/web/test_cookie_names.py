"""The cookie's names: by default one that a neighbour can't set, where that is possible."""

from __future__ import annotations

import logging

import pytest

from tests.tools.apps import COOKIE, HOST_COOKIE, Site, look, write

HTTPS = {"wsgi.url_scheme": "https"}


def names(response):
    return [value.partition("=")[0] for value in response.set_cookies]


def forgotten(response):
    """Return the names of the cookies that a response lets the client forget."""
    return {value.partition("=")[0] for value in response.set_cookies if "=;" in value}


def told(response):
    """Return the names of the cookies that a response sets."""
    return [value.partition("=")[0] for value in response.set_cookies if "=;" not in value]


def test_over_https_a_neighbour_cant_set_it():
    site = Site()
    response = site.visit(write(user="ada"), **HTTPS)
    assert told(response) == [HOST_COOKIE]
    assert {"secure", "path"} <= response.attributes.keys()
    assert response.attributes["path"] == "/"
    assert "domain" not in response.attributes
    assert site.visit(look, **HTTPS).value == {"user": "ada"}


def test_over_http_it_has_the_name_that_is_good_there():
    site = Site()
    assert told(site.visit(write(user="ada"))) == [COOKIE]
    assert site.visit(look).value == {"user": "ada"}


def test_a_request_that_carries_the_name_for_https_counts_as_https(caplog):
    site = Site()
    site.visit(write(user="ada"), **HTTPS)
    for _ in range(2):
        response = site.visit(lambda s: s.rotate() or dict(s))
        assert response.value == {"user": "ada"}
        assert told(response) == [HOST_COOKIE]
        assert "secure" in response.attributes
    warned = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert [HOST_COOKIE in it.getMessage() for it in warned] == [True]


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "/app"},
        {"domain": "example.org"},
        {"secure": False},
        lambda environ: {"path": environ.get("SCRIPT_NAME", "") + "/app"},
    ],
    ids=["path", "domain", "not secure", "a function"],
)
def test_where_its_settings_rule_the_prefix_out_it_has_the_other_name(settings):
    site = Site(cookie=settings)
    assert told(site.visit(write(user="ada"), "/app", **HTTPS)) == [COOKIE]
    assert site.visit(look, "/app", **HTTPS).value == {"user": "ada"}


def test_the_name_for_https_wins_and_the_other_one_is_forgotten():
    site = Site()
    planted = Site(site.store, clock=site.clock)
    planted.visit(write(user="eve"))
    site.visit(write(user="ada"), **HTTPS)
    both = f"{planted.header}; {site.header}"
    response = site.visit(look, cookie=both, **HTTPS)
    assert response.value == {"user": "ada"}
    assert forgotten(response) == {COOKIE}
    assert told(response) == []
    assert len(response.set_cookies) < 20


def test_over_https_the_other_name_is_no_session_and_is_forgotten():
    site = Site()
    site.visit(write(user="ada"))
    response = site.visit(look, **HTTPS)
    assert response.value == {}
    assert forgotten(response) == {COOKIE}
    response = site.visit(write(user="bob"), cookie=None, **HTTPS)
    assert told(response) == [HOST_COOKIE]
    assert site.visit(look, **HTTPS).value == {"user": "bob"}


def test_over_https_the_other_name_still_begins_a_session_by_the_right_one():
    site = Site()
    site.visit(write(user="ada"))
    plain = site.header
    response = site.visit(write(user="bob"), cookie=plain, **HTTPS)
    assert (told(response), forgotten(response)) == ([HOST_COOKIE], {COOKIE})


def test_forged_cookies_by_the_other_name_are_not_worth_a_word():
    site = Site()
    site.visit(write(user="ada"), **HTTPS)
    response = site.visit(look, cookie=f"{COOKIE}=forged; {site.header}", **HTTPS)
    assert response.value == {"user": "ada"}
    assert response.set_cookies == []


def test_a_session_whose_own_settings_rule_the_prefix_out_is_read_over_https():
    site = Site()

    def begin(session):
        session["user"] = "ada"
        session.cookie.domain = "example.org"

    response = site.visit(begin, **HTTPS)
    assert told(response) == [COOKIE]
    response = site.visit(look, **HTTPS)
    assert response.value == {"user": "ada"}
    assert response.set_cookies == []


def test_a_session_that_leaves_the_host_gets_the_other_name():
    site = Site()
    site.visit(write(user="ada"), **HTTPS)
    response = site.visit(lambda s: setattr(s.cookie, "domain", "example.org"), **HTTPS)
    assert (told(response), forgotten(response)) == ([COOKIE], {HOST_COOKIE})
    assert site.visit(look, **HTTPS).value == {"user": "ada"}


@pytest.mark.parametrize(
    "act", [lambda s: s.login("ada"), lambda s: s.destroy()], ids=["login", "logout"]
)
def test_a_login_and_a_logout_end_the_session_by_the_other_name_too(act):
    site = Site()
    site.visit(write(cart=1))
    plain = site.header
    site.visit(write(cart=2), cookie="", **HTTPS)
    site.visit(act, cookie=f"{plain}; {HOST_COOKIE}={site.browser.cookies[HOST_COOKIE]}", **HTTPS)
    assert site.visit(look, cookie=plain).value == {}


def own_domain(session):
    session["user"] = "ada"
    session.cookie.domain = "example.org"


def test_a_late_request_says_nothing_of_a_cookie_that_a_login_has_set_anew():
    site = Site()
    site.visit(own_domain, **HTTPS)
    tab = site.new_tab()
    site.visit(lambda s: s.login("ada"), **HTTPS)
    assert site.visit(look, by=tab, **HTTPS).set_cookies == []


def test_the_cookie_of_the_session_that_is_served_is_not_forgotten():
    site = Site()
    site.visit(own_domain, **HTTPS)
    other = site.new_browser()
    site.visit(write(user="eve"), by=other)
    both = f"{site.header}; {COOKIE}={other.cookies[COOKIE]}"
    response = site.visit(look, cookie=both, **HTTPS)
    assert response.value == {"user": "ada"}
    assert response.set_cookies
    assert not any("Domain=example.org" in cookie for cookie in response.set_cookies)


def test_a_session_known_by_both_names_keeps_its_data_at_a_login():
    site = Site()
    site.visit(own_domain, **HTTPS)
    plain = site.header
    response = site.visit(lambda s: setattr(s.cookie, "domain", None), **HTTPS)
    assert (told(response), forgotten(response)) == ([HOST_COOKIE], {COOKIE})
    both = f"{plain}; {HOST_COOKIE}={site.browser.cookies[HOST_COOKIE]}"
    site.visit(lambda s: s.login("ada"), cookie=both, **HTTPS)
    assert site.data == [{"user": "ada"}]


def test_of_two_apps_on_one_host_neither_forgets_the_others_cookie():
    root, shop = Site(), Site(cookie={"path": "/shop"})  # two stores, one secret
    root.visit(write(user="ada"), **HTTPS)
    response = shop.visit(write(cart=1), "/shop", cookie=root.header, **HTTPS)
    assert forgotten(response) == set()
    both = f"{root.header}; {shop.header}"
    assert shop.visit(look, "/shop", cookie=both, **HTTPS).value == {"cart": 1}
    assert root.visit(look, cookie=both, **HTTPS).value == {"user": "ada"}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_name_for_https_never_becomes_less(scheme):
    before = Site()
    before.visit(write(user="ada"), **HTTPS)
    site = Site(before.store, clock=before.clock, cookie={"secure": False})
    response = site.visit(lambda s: s.rotate(), cookie=before.header, **{"wsgi.url_scheme": scheme})
    assert told(response) == [HOST_COOKIE]
    assert "secure" in response.attributes
    assert "domain" not in response.attributes


def test_what_lets_it_be_forgotten_is_what_browsers_take_for_its_name():
    before = Site()
    before.visit(write(user="ada"), **HTTPS)
    site = Site(before.store, clock=before.clock, cookie={"secure": False, "domain": "a.test"})
    response = site.visit(lambda s: s.destroy(), cookie=before.header, **HTTPS)
    (cookie,) = [each for each in response.set_cookies if each.startswith(HOST_COOKIE)]
    assert "; Secure" in cookie
    assert "; Path=/;" in cookie
    assert "Domain" not in cookie


def test_of_two_spellings_of_one_id_the_one_counts_that_need_not_be_set_anew():
    site = Site(cookie_name=COOKIE)
    site.visit(write(user="ada"))
    first = site.header
    site.visit(look, **HTTPS)
    for both in f"{first}; {site.header}", f"{site.header}; {first}":
        assert site.visit(look, cookie=both, **HTTPS).set_cookies == []


# A name of the app's own.


def test_a_name_of_the_apps_own_is_used_as_it_is():
    site = Site(cookie_name="sid")
    for scheme in ("http", "https"):
        response = site.visit(write(user="ada"), cookie="", **{"wsgi.url_scheme": scheme})
        (cookie,) = response.all("Set-Cookie")
        assert cookie.startswith("sid=")


def test_a_cookie_that_was_set_over_http_is_set_anew_over_https_once():
    site = Site(cookie_name=COOKIE)
    site.visit(write(user="ada"))
    first = site.cookie
    response = site.visit(look, **HTTPS)
    assert response.value == {"user": "ada"}
    assert "secure" in response.attributes
    assert site.cookie != first
    assert site.visit(look, **HTTPS).set_cookies == []
    assert site.visit(look).set_cookies == []  # nor is it over http again


def test_one_that_is_never_secure_is_not_set_anew():
    site = Site(cookie_name=COOKIE, cookie={"secure": False})
    site.visit(write(user="ada"))
    assert site.visit(look, **HTTPS).set_cookies == []
