"""Flash messages and the CSRF token."""

from __future__ import annotations

import re

import pytest

from tests.tools.apps import Site, look, write


@pytest.fixture
def site():
    return Site()


def test_a_message_is_there_for_the_next_page_and_then_no_more(site):
    site.visit(lambda session: session.flash("saved"))
    assert site.visit(lambda session: session.pop_flash()).value == ["saved"]
    assert site.visit(lambda session: session.pop_flash()).value == []


def test_messages_come_in_their_order_and_may_be_anything_that_can_be_stored(site):
    site.visit(lambda session: [session.flash(it) for it in ("a", {"level": 2}, "a")])
    assert site.visit(lambda session: session.pop_flash()).value == ["a", {"level": 2}, "a"]


def test_peeking_leaves_them_there_and_writes_nothing(site):
    site.visit(lambda session: session.flash("saved"))
    assert site.writes_of(lambda session: session.peek_flash()) == {}
    assert site.visit(lambda session: session.peek_flash()).value == ["saved"]


def test_queues_are_apart(site):
    site.visit(lambda session: (session.flash("bad", "errors"), session.flash("good")))
    assert site.visit(lambda session: session.pop_flash("errors")).value == ["bad"]
    assert site.visit(lambda session: session.pop_flash()).value == ["good"]


def test_a_duplicate_can_be_left_out(site):
    def twice(session):
        session.flash("saved")
        session.flash("saved", allow_duplicate=False)
        session.flash("other", allow_duplicate=False)
        return session.peek_flash()

    assert site.visit(twice).value == ["saved", "other"]


def test_they_lie_where_pyramid_puts_them(site):
    def say(session):
        session.flash("a")
        session.flash("b", "errors")
        session.get_csrf_token()

    site.visit(say)
    assert set(site.visit(look).value) == {"_f_", "_f_errors", "_csrft_"}


def test_popping_from_an_empty_queue_stores_nothing(site):
    assert site.writes_of(lambda session: session.pop_flash()) == {}
    assert site.data == []


def test_a_csrf_token_stays_until_another_is_made(site):
    token = site.visit(lambda session: session.get_csrf_token()).value
    assert re.fullmatch(r"[0-9a-f]{40}", token)
    assert site.visit(lambda session: session.get_csrf_token()).value == token
    other = site.visit(lambda session: session.new_csrf_token()).value
    assert other != token
    assert site.visit(lambda session: session.get_csrf_token()).value == other


def test_each_session_has_its_own_csrf_token(site):
    tokens = {
        site.visit(lambda session: session.get_csrf_token(), by=site.new_browser()).value
        for _ in range(20)
    }
    assert len(tokens) == 20


def test_a_regenerated_session_has_another_csrf_token(site):
    token = site.visit(lambda session: session.get_csrf_token()).value

    def regenerate(session):
        session.regenerate()
        return session.get_csrf_token()

    assert site.visit(regenerate).value != token


def test_the_apps_own_data_is_left_alone(site):
    site.visit(write(user="ada"))
    site.visit(lambda session: session.flash("saved"))
    site.visit(lambda session: session.pop_flash())
    assert site.visit(look).value == {"user": "ada"}
