"""Two requests of one browser at once, each in its thread, in the order that hurts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.tools.apps import COOKIE, Response, Site, look, write

PATIENCE = 10.0


@pytest.fixture
def site(each_store, clock):
    site = Site(each_store, clock=clock)
    site.visit(write(user="ada", count=1))
    site.store.calls.clear()
    yield site
    site.middleware.close()


def overlap(
    site: Site, slow: Callable[[Any], Any], fast: Callable[[Any], Any] | None
) -> tuple[Response, Response]:
    """Let *slow* load its session, then *fast* begin and end, then *slow* end; by one browser."""
    loaded, ended = threading.Event(), threading.Event()
    tab = site.new_browser()
    tab.cookies.update(site.browser.cookies)
    responses: list[Response] = []

    def load_and_wait(session: Any) -> Any:
        look(session)
        loaded.set()
        assert ended.wait(PATIENCE)
        return slow(session)

    thread = threading.Thread(target=lambda: responses.append(site.visit(load_and_wait)))
    thread.start()
    assert loaded.wait(PATIENCE)
    try:
        quick = site.visit(fast, by=tab)
    finally:
        ended.set()
        thread.join(PATIENCE)
    (late,) = responses
    # As a browser does that shares its cookies between tabs: the last word counts.
    site.browser.cookies = dict(tab.cookies) if not late.set_cookies else site.browser.cookies
    return late, quick


def test_a_slow_and_a_fast_writer_of_different_keys_are_both_kept(site):
    overlap(site, write(slow=1), write(fast=2))
    assert site.data == [{"user": "ada", "count": 1, "slow": 1, "fast": 2}]


def test_of_two_writers_of_one_key_the_last_to_end_wins(site):
    overlap(site, write(count="slow"), write(count="fast"))
    assert site.data == [{"user": "ada", "count": "slow"}]


def test_a_slow_reader_writes_nothing_and_the_fast_writer_is_kept(site):
    overlap(site, look, write(count=2))
    assert site.store.writes == {"update": 1}
    assert site.data == [{"user": "ada", "count": 2}]


@pytest.mark.parametrize("late", [look, write(count=2), lambda session: session.touch()])
def test_a_logout_meanwhile_stays_one_and_the_page_is_served_without_a_cookie(site, late):
    response, _ = overlap(site, late, lambda session: session.destroy())
    assert response.status.startswith("200")
    assert response.body == b"hello"
    assert response.set_cookies == []
    assert site.data == []
    assert COOKIE not in site.browser.cookies


def test_a_login_meanwhile_keeps_its_cookie(site):
    def log_in_again(session):
        session.regenerate()
        session["user"] = "grace"

    response, login = overlap(site, write(count=2), log_in_again)
    assert response.set_cookies == []
    assert login.said == "set"
    assert site.visit(look).value == {"user": "grace"}


LOGINS = {
    "login": lambda session, user: session.login(user),
    "owner": lambda session, user: setattr(session, "owner", user),
    "owner, then data": lambda session, user: session.update(seen=setattr(session, "owner", user)),
    "clear, then login": lambda session, user: (session.clear(), session.login(user)),
}


@pytest.mark.parametrize("users", [["ada"] * 6, ["ada", "bob", "cleo", "ada", "bob", "dan"]])
@pytest.mark.parametrize("name", ["login", "owner", "owner, then data"])
def test_of_logins_that_overlap_the_last_answers_user_is_who_the_browser_is(
    each_store, clock, name, users
):
    """hestiacp PR#5570, statamic/cms PR#10465, keycloak PR#4614: the button is pressed twice."""
    site = Site(each_store, clock=clock)
    site.visit(write(form=1))
    loaded, answers = threading.Barrier(len(users)), []

    def log_in(user: str) -> None:
        def act(session: Any) -> None:
            look(session)
            loaded.wait(PATIENCE)  # all have loaded it before one of them logs in
            LOGINS[name](session, user)

        tab = site.new_tab()
        assert site.visit(act, by=tab).said == "set"
        answers.append((user, tab.cookies))

    threads = [threading.Thread(target=log_in, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(answers) == len(users)
    for user, cookies in answers:  # whichever answer the browser takes for the last one
        site.browser.cookies = cookies
        assert site.visit(lambda session: session.owner).value == user
    site.middleware.close()


@pytest.mark.parametrize("first", LOGINS)
@pytest.mark.parametrize("second", LOGINS)
def test_a_login_by_the_id_from_before_another_login_is_one(each_store, clock, first, second):
    site = Site(each_store, clock=clock)
    site.visit(write(cart=1))
    late = site.new_tab()
    site.visit(lambda session: LOGINS[first](session, "ada"))
    response = site.visit(
        lambda session: (LOGINS[second](session, "bob"), look(session))[1], by=late
    )
    assert response.said == "set"
    assert "cart" not in response.value  # nothing of the session that it came with
    assert site.visit(lambda session: session.owner, by=late).value == "bob"
    assert site.visit(lambda session: session.owner).value == "ada"
    site.middleware.close()


def test_an_invented_id_is_refused(site):
    stranger = site.new_browser()
    signer = site.manager.signer
    stranger.cookies[COOKIE] = signer.sign("A" * 43)
    assert site.visit(look, by=stranger).value == {}
    response = site.visit(write(a=1), by=stranger)
    assert response.said == "set"
    assert stranger.cookies[COOKIE] != signer.sign("A" * 43)


def test_the_old_id_is_refused_after_a_rotation(site):
    old = dict(site.browser.cookies)
    site.visit(lambda session: session.rotate())
    stranger = site.new_browser()
    stranger.cookies.update(old)
    assert site.visit(look, by=stranger).value == {}
    assert site.visit(look).value == {"user": "ada", "count": 1}


def test_what_is_appended_to_a_list_is_kept(site):
    site.visit(write(items=[0]))

    def append(item):
        return lambda session: session["items"].append(item)

    site.visit(append(1))
    assert site.visit(look).value["items"] == [0, 1]


def test_many_requests_that_begin_at_once_all_win(site):
    count = 12
    start = threading.Barrier(count)
    wrong = []

    def work(number: int) -> None:
        tab = site.new_browser()
        tab.cookies.update(site.browser.cookies)

        def act(session):
            look(session)
            start.wait(PATIENCE)  # all have loaded it before one of them writes
            session[f"key{number}"] = number

        if site.visit(act, by=tab).set_cookies:
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    expected = {f"key{number}": number for number in range(count)}
    assert site.data == [{"user": "ada", "count": 1, **expected}]
