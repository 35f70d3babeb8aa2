"""session.atomic(): on fresh data, stored only if nobody else has written meanwhile."""

from __future__ import annotations

import threading

import pytest

from litesess import EncodeError, SessionGone, StoreFailed, VersionConflict
from tests.tools.apps import Boom, Site, look, write


@pytest.fixture
def site(each_store, clock):
    site = Site(each_store, clock=clock)
    site.visit(write(count=0))
    return site


def increment(session):
    session["count"] += 1
    return session["count"]


def test_it_returns_what_the_function_returned_and_stores_at_once(site):
    def count(session):
        result = session.atomic(increment)
        return result, site.data

    assert site.visit(count).value == (1, [{"count": 1}])
    assert site.visit(look).value == {"count": 1}


def test_it_sees_what_others_stored_since_this_request_began(site):
    def late(session):
        assert session["count"] == 0
        site.visit(write(count=41), by=twin(site))
        return session.atomic(increment)

    assert site.visit(late).value == 42


def twin(site):
    """A second tab of the same browser."""
    other = site.new_browser()
    other.cookies.update(site.browser.cookies)
    return other


def test_it_calls_the_function_again_if_another_was_faster(site):
    calls = []

    def slow(session):
        if not calls:
            site.visit(write(count=10), by=twin(site))
        calls.append(session["count"])
        return increment(session)

    assert site.visit(lambda session: session.atomic(slow)).value == 11
    assert calls == [0, 10]
    assert site.data == [{"count": 11}]


def test_it_gives_up_when_others_are_always_faster(site, clock):
    site.store.lock_timeout = 5.0
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        clock.advance(1.0)

    site.manager.sleep = sleep
    site.manager.monotonic = clock
    others = iter(range(100))

    def unlucky(session):
        site.visit(write(other=next(others)), by=twin(site))
        return increment(session)

    def attempt(session):
        with pytest.raises(VersionConflict, match="5 s"):
            session.atomic(unlucky)

    site.visit(attempt)
    assert len(waits) == 5
    assert all(0 <= wait <= 0.05 for wait in waits)
    assert site.visit(look).value["count"] == 0


def test_what_the_function_did_before_it_raised_is_not_stored(site):
    def half(session):
        session["count"] = 99
        raise Boom

    def attempt(session):
        with pytest.raises(Boom):
            session.atomic(half)
        assert session["count"] == 0

    site.visit(attempt)
    assert site.visit(look).value == {"count": 0}


def test_what_was_changed_before_is_saved_first(site):
    def both(session):
        session["user"] = "ada"
        session.rotate()
        return session.atomic(lambda session: (increment(session), session["user"]))

    response = site.visit(both)
    assert response.value == (1, "ada")
    assert response.said == "set"
    assert site.visit(look).value == {"count": 1, "user": "ada"}


def test_a_new_session_is_stored_and_announced_with_the_response(site):
    browser = site.new_browser()
    response = site.visit(lambda session: session.atomic(write(user="alan")), by=browser)
    assert response.said == "set"
    assert site.visit(look, by=browser).value == {"user": "alan"}


def test_a_new_session_that_is_left_empty_is_not_stored(site):
    assert site.visit(lambda session: session.atomic(look), by=site.new_browser()).said == ""

    def fail(session):
        session["user"] = "alan"
        raise Boom

    def attempt(session):
        session["kept"] = [1]
        with pytest.raises(Boom):
            session.atomic(fail)

    browser = site.new_browser()
    site.visit(attempt, by=browser)
    assert site.visit(look, by=browser).value == {"kept": [1]}


@pytest.mark.parametrize("operation", ["load", "update"])
def test_what_a_failing_store_refused_is_not_stored_later(site, operation):
    def attempt(session):
        look(session)
        site.store.failing[operation] = StoreFailed("the disk is gone")
        with pytest.raises(StoreFailed):
            session.atomic(increment)
        site.store.failing.clear()
        site.visit(write(count=10), by=twin(site))

    site.visit(attempt)
    assert site.data == [{"count": 10}]


def test_what_cant_be_stored_fails_atomic_and_not_the_response(site):
    def attempt(session):
        with pytest.raises(EncodeError):
            session.atomic(lambda session: session.update(bad=object()))

    assert site.visit(attempt).status.startswith("200")
    assert site.data == [{"count": 0}]


def test_a_function_that_changes_nothing_writes_nothing(site):
    assert site.writes_of(lambda session: session.atomic(look)) == {}


def test_it_writes_once(site):
    assert site.writes_of(lambda session: session.atomic(increment)) == {"update": 1}


def test_of_a_session_that_is_gone_it_says_so(site):
    def late(session):
        look(session)
        site.visit(lambda session: session.destroy(), by=twin(site))
        with pytest.raises(SessionGone):
            session.atomic(increment)

    response = site.visit(late)
    assert response.said == ""
    assert site.data == []


def test_a_logout_between_reading_and_storing_sticks(site):
    def unlucky(session):
        site.visit(lambda session: session.destroy(), by=twin(site))
        return increment(session)

    def attempt(session):
        with pytest.raises(SessionGone):
            session.atomic(unlucky)

    site.visit(attempt)
    assert site.data == []


def test_the_function_may_destroy_the_session(site):
    response = site.visit(lambda session: session.atomic(lambda session: session.destroy()))
    assert response.said == "expired"
    assert site.data == []


@pytest.mark.parametrize(
    "action",
    [
        lambda session: session.save(),
        lambda session: session.reload(),
        lambda session: session.rotate(),
        lambda session: session.regenerate(),
        lambda session: session.atomic(increment),
        lambda session: setattr(session, "owner", "7"),
    ],
)
def test_inside_it_what_would_store_or_move_the_session_is_refused(site, action):
    def attempt(session):
        with pytest.raises(RuntimeError, match="inside atomic"):
            session.atomic(action)
        session.rotate()  # afterwards it is allowed again

    site.visit(attempt)
    assert site.visit(look).value == {"count": 0}


def test_threads_that_count_one_session_up_lose_nothing(site):
    threads_count, each = 8, 25
    start = threading.Barrier(threads_count)

    def work(browser) -> None:
        start.wait()
        for _ in range(each):
            site.visit(lambda session: session.atomic(increment), by=browser)

    threads = [threading.Thread(target=work, args=(twin(site),)) for _ in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.visit(look).value == {"count": threads_count * each}
