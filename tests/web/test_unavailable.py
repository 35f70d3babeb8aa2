"""What a request gets while its store can't be reached."""

from __future__ import annotations

import logging

import pytest

from litesess import StoreUnavailable
from tests.tools.apps import COOKIE, KEY, Site, WatchedMemoryStore, look, write

AWAY = StoreUnavailable("the store is away")


@pytest.fixture
def store(clock):
    return WatchedMemoryStore(clock=clock)


def site_of(store, clock, **options):
    site = Site(store, clock=clock, **options)
    site.visit(write(user="ada"))
    return site


def generated(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield str(environ[KEY].get("user")).encode()


class TestAs503:
    @pytest.fixture
    def site(self, store, clock):
        return site_of(store, clock)

    @pytest.mark.parametrize("operation", ["load", "update"])
    def test_a_request_that_needs_its_session_is_refused(self, site, operation, caplog):
        site.store.failing[operation] = AWAY
        response = site.visit(write(n=1))
        assert response.status == "503 Service Unavailable"
        assert response.body == b"Service Unavailable\n"
        assert response.all("Retry-After") == ["5"]
        assert response.all("Cache-Control") == ["no-store"]
        assert response.set_cookies == []
        assert "the store is away" in caplog.text

    @pytest.mark.parametrize("shape", [None, generated], ids=["list", "generator"])
    def test_an_answer_to_head_has_no_body(self, site, shape):
        site.store.failing["load"] = AWAY
        response = site.visit(None if shape else look, REQUEST_METHOD="HEAD", shape=shape)
        assert (response.status[:3], response.body) == ("503", b"")

    def test_one_that_does_not_is_served(self, site):
        site.store.failing = dict.fromkeys(("load", "update", "touch"), AWAY)
        assert site.visit().body == b"hello"

    def test_whoever_was_logged_in_is_so_when_the_store_is_back(self, site):
        site.store.failing["load"] = AWAY
        site.visit(look)
        site.store.failing.clear()
        assert site.visit(look).value == {"user": "ada"}

    def test_a_page_that_is_made_while_it_is_sent_is_refused_before_it_begins(self, site):
        closed = []

        def shape(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            try:
                yield environ[KEY]["user"].encode()
            finally:
                closed.append(True)

        site.store.failing["load"] = AWAY
        response = site.visit(shape=shape)
        assert (response.status[:3], response.body) == ("503", b"Service Unavailable\n")
        assert closed == [True]

    def test_a_page_that_was_begun_ends_with_the_error(self, site):
        def shape(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"begun "
            yield environ[KEY]["user"].encode()

        site.store.failing["load"] = AWAY
        with pytest.raises(StoreUnavailable):
            site.visit(shape=shape)


def test_raised_it_reaches_the_server(store, clock):
    site = site_of(store, clock, if_unavailable="raise")
    for operation in "load", "update":
        site.store.failing = {operation: AWAY}
        with pytest.raises(StoreUnavailable):
            site.visit(write(n=1))


class TestAsNobody:
    @pytest.fixture
    def site(self, store, clock):
        return site_of(store, clock, if_unavailable="anonymous", rolling=True)

    def test_the_page_is_served_to_nobody_without_a_cookie(self, site, caplog):
        site.store.failing["load"] = AWAY
        response = site.visit(look)
        assert (response.status[:3], response.value, response.set_cookies) == ("200", {}, [])
        assert "served with an empty session" in caplog.text
        assert COOKIE in site.browser.cookies

    @pytest.mark.parametrize("operation", ["load", "update", "create"])
    def test_what_it_writes_is_lost_and_logged(self, site, operation, caplog):
        site.store.failing[operation] = AWAY
        caplog.set_level(logging.ERROR)
        visitor = site.new_browser() if operation == "create" else site.browser
        response = site.visit(write(n=1), by=visitor)
        assert (response.status[:3], response.set_cookies) == ("200", [])
        site.store.failing.clear()
        assert site.data == [{"user": "ada"}]
        assert len(caplog.records) == 1

    def test_no_session_begins_when_the_store_is_back_before_the_request_ends(self, site):
        def store_comes_back(session):
            write(n=1)(session)
            site.store.failing.clear()

        site.store.failing["load"] = AWAY
        assert site.visit(store_comes_back).set_cookies == []
        assert site.data == [{"user": "ada"}]
        assert site.visit(look).value == {"user": "ada"}

    @pytest.mark.parametrize("name", ["destroy", "save"])
    def test_what_must_be_done_now_is_not_passed_over(self, site, name):
        site.store.failing["load"] = AWAY
        with pytest.raises(StoreUnavailable):
            site.visit(lambda session: (look(session), getattr(session, name)()))
