"""What users do, through each framework: everywhere the same answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from litesess import Session, StoreUnavailable, WALStore
from tests.tools.apps import SECRET
from tests.tools.frameworks import FRAMEWORKS, Refused, shown

COOKIE = "litesess.sid"


class Boom(Exception):
    """What a page raises that nobody handles."""


class Site:
    """An app of one framework.

    Attributes:
        store: where its sessions are.
        meanwhile: what happens while the page ``slow`` is made.
    """

    def __init__(self, framework: str, data: Path) -> None:
        self.store = WALStore(data)
        pages = {
            name.removeprefix("page_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("page_")
        }
        self.app = FRAMEWORKS[framework](pages, {"secret": SECRET, "store": self.store})
        self.meanwhile: Callable[[], object] = lambda: None

    # What each page does.

    def page_plain(self, _session: Session, _query: Mapping[str, str]) -> str:
        return "plain"

    def page_show(self, session: Session, _query: Mapping[str, str]) -> str:
        return shown(session)

    def page_truth(self, session: Session, _query: Mapping[str, str]) -> str:
        return str(bool(session))

    def page_login(self, session: Session, query: Mapping[str, str]) -> str:
        session.login(query["name"])
        return "welcome"

    def page_clear(self, session: Session, query: Mapping[str, str]) -> str:
        session.clear()
        session.update(query)
        return "cleared"

    def page_logout(self, session: Session, _query: Mapping[str, str]) -> str:
        session.destroy()
        return "bye"

    def page_set(self, session: Session, query: Mapping[str, str]) -> str:
        session.update(query)
        return "set"

    def page_add(self, session: Session, query: Mapping[str, str]) -> str:
        session.setdefault("cart", {"items": []})["items"].append(query["item"])
        return "added"

    def page_slow(self, session: Session, query: Mapping[str, str]) -> str:
        before = shown(session)
        other = threading.Thread(target=self.meanwhile)  # as a server would serve it
        other.start()
        other.join()
        session.update(query)
        return before

    def page_rotate(self, session: Session, _query: Mapping[str, str]) -> str:
        session.rotate()
        return "rotated"

    def page_count(self, session: Session, _query: Mapping[str, str]) -> str:
        def increment(session: Session) -> int:
            session["count"] = session.get("count", 0) + 1
            return session["count"]

        return str(session.atomic(increment))

    def page_flash(self, session: Session, query: Mapping[str, str]) -> str:
        session.flash(query["message"])
        return "flashed"

    def page_messages(self, session: Session, _query: Mapping[str, str]) -> str:
        return json.dumps(session.pop_flash())

    def page_form(self, session: Session, _query: Mapping[str, str]) -> str:
        return session.get_csrf_token()

    def page_send(self, session: Session, query: Mapping[str, str]) -> str:
        if query.get("token") != session.get_csrf_token():
            session["refused"] = session.get("refused", 0) + 1
            raise Refused("not our form")
        return "sent"

    def page_stream(self, session: Session, _query: Mapping[str, str]) -> Iterator[str]:
        session["stage"] = "begun"

        def body() -> Iterator[str]:
            yield "one "
            session["stage"] = "streamed"
            yield "two"

        return body()

    def page_fail(self, session: Session, _query: Mapping[str, str]) -> str:
        session["half"] = "done"
        raise Boom

    # Who visits it.

    def browser(self) -> TestApp:
        return TestApp(self.app)

    def twin(self, browser: TestApp) -> TestApp:
        """Return another tab of a browser, or a thief with its cookie."""
        other = self.browser()
        other.set_cookie(COOKIE, browser.cookies[COOKIE])
        return other

    def records(self) -> list[dict[str, Any]]:
        return [record.data for _, record in self.store.records()]


@pytest.fixture(params=FRAMEWORKS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(request.param, tmp_path / "data")
    with site.store:
        yield site


def see(browser: TestApp, name: str = "show", **query: str) -> Any:
    """Return what the page shows that shows the session."""
    return json.loads(browser.get(f"/{name}", query).text)


def said(response: Any) -> list[str]:
    """Return the attributes of the session cookie that a response sets, without its value."""
    (cookie,) = [it for it in response.headers.getall("Set-Cookie") if it.startswith(COOKIE)]
    return sorted(cookie.split("; ")[1:])


def test_a_visitor_costs_nothing(site):
    response = site.browser().get("/plain")
    assert response.text == "plain"
    assert "Set-Cookie" not in response.headers
    assert "Cookie" not in response.headers.get("Vary", "")
    assert site.records() == []


def test_a_look_stores_nothing_and_is_told_to_caches(site):
    response = site.browser().get("/show")
    assert json.loads(response.text) == {"owner": None}
    assert "Set-Cookie" not in response.headers
    assert response.headers["Vary"] == "Cookie"
    assert site.records() == []


def test_a_session_is_true_if_there_is_something_in_it(site):
    browser = site.browser()
    assert browser.get("/truth").text == "False"
    browser.get("/set", {"a": "1"})
    assert browser.get("/truth").text == "True"


def test_a_login_gives_another_id_and_a_cookie_that_scripts_cant_read(site):
    browser = site.browser()
    browser.get("/set?seen=shoes")
    thief = site.twin(browser)
    response = browser.get("/login?name=ada")
    assert said(response) == ["HttpOnly", "Path=/", "SameSite=Lax"]
    assert "private" in response.headers["Cache-Control"]
    assert see(browser) == {"owner": "ada", "seen": "shoes"}
    assert see(thief) == {"owner": None}
    assert [record.owner for _, record in site.store.find("ada")] == ["ada"]


def test_overlapping_requests_that_change_different_keys_both_win(site):
    browser = site.browser()
    browser.get("/set?a=1")
    tab = site.twin(browser)
    site.meanwhile = lambda: tab.get("/set?b=2")
    assert see(browser, "slow", c="3") == {"owner": None, "a": "1"}
    assert see(browser) == {"owner": None, "a": "1", "b": "2", "c": "3"}


def test_a_request_that_outlasts_a_logout_brings_nothing_back(site):
    browser = site.browser()
    browser.get("/login?name=ada")
    tab = site.twin(browser)
    site.meanwhile = lambda: tab.get("/logout")
    response = browser.get("/slow?a=1")
    assert json.loads(response.text) == {"owner": "ada"}
    assert "Set-Cookie" not in response.headers
    assert site.records() == []
    assert see(browser) == {"owner": None}


def test_a_logout_ends_the_session_and_its_cookie(site):
    browser = site.browser()
    browser.get("/login?name=ada")
    thief = site.twin(browser)
    response = browser.get("/logout")
    assert "Max-Age=0" in said(response)
    assert "no-store" in response.headers["Cache-Control"]
    assert COOKIE not in browser.cookies
    assert see(thief) == see(browser) == {"owner": None}
    assert site.records() == []


def test_clearing_ends_the_session_of_a_user_and_its_cookie(site):
    browser = site.browser()
    browser.get("/login?name=ada")
    browser.get("/set?a=1")
    thief = site.twin(browser)
    response = browser.get("/clear")
    assert "Max-Age=0" in said(response)
    assert see(thief) == see(browser) == {"owner": None}
    assert site.records() == []


def test_what_is_set_after_clearing_belongs_to_nobody_and_has_another_id(site):
    browser = site.browser()
    browser.get("/login?name=ada")
    browser.get("/set?a=1")
    thief = site.twin(browser)
    browser.get("/clear?said=bye")
    assert see(browser) == {"owner": None, "said": "bye"}
    assert see(thief) == {"owner": None}
    assert site.records() == [{"said": "bye"}]


def test_who_logs_in_again_gets_another_id_and_the_next_user_none_of_the_data(site):
    browser = site.browser()
    browser.get("/login?name=ada")
    browser.get("/set?a=1")
    thief = site.twin(browser)
    browser.get("/login?name=ada")
    assert see(browser) == {"owner": "ada", "a": "1"}
    assert see(thief) == {"owner": None}
    browser.get("/login?name=bob")
    assert see(browser) == {"owner": "bob"}
    assert site.store.find("ada") == []


def test_a_logout_with_two_live_cookies_ends_both(site):
    first, second = site.browser(), site.browser()
    first.get("/login?name=ada")
    second.get("/login?name=mallory")
    both = "; ".join(f"{COOKIE}={each.cookies[COOKIE]}" for each in (second, first))
    response = site.browser().get("/show", headers={"Cookie": both})
    assert json.loads(response.text) == {"owner": None}
    assert len(site.records()) == 2
    response = site.browser().get("/logout", headers={"Cookie": both})
    assert all("Max-Age=0" in cookie for cookie in response.headers.getall("Set-Cookie"))
    assert site.records() == []


def test_a_rotation_takes_along_what_an_overlapping_request_changes(site):
    browser = site.browser()
    browser.get("/set?a=1")
    old = site.twin(browser)
    site.meanwhile = lambda: browser.get("/rotate")
    response = old.get("/slow?b=2")
    assert "Set-Cookie" not in response.headers
    assert see(browser) == {"owner": None, "a": "1", "b": "2"}
    assert see(old) == {"owner": None}


def test_a_change_in_place_is_kept(site):
    browser = site.browser()
    for item in "shoes", "hat":
        browser.get("/add", {"item": item})
    assert see(browser) == {"owner": None, "cart": {"items": ["shoes", "hat"]}}


def test_what_is_counted_by_several_at_once_is_counted_right(site):
    browser = site.browser()
    browser.get("/set?a=1")

    def count() -> None:
        tab = site.twin(browser)
        for _ in range(5):
            tab.get("/count")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert see(browser)["count"] == 20


def test_a_message_is_shown_once(site):
    browser = site.browser()
    browser.get("/flash?message=saved")
    browser.get("/flash?message=sent")
    assert see(browser, "messages") == ["saved", "sent"]
    assert see(browser, "messages") == []


def test_a_form_of_ours_is_known_by_its_token_until_the_next_login(site):
    browser = site.browser()
    token = browser.get("/form").text
    assert browser.get("/form").text == token
    assert browser.get("/send", {"token": token}).text == "sent"
    browser.get("/login?name=ada")
    assert browser.get("/send", {"token": token}, status=403).text == "not our form"


def test_what_an_error_page_follows_is_kept(site):
    browser = site.browser()
    for _ in range(2):
        browser.get("/send?token=guess", status=403)
    assert see(browser)["refused"] == 2


def test_the_page_for_what_is_not_there_knows_the_session(site):
    browser = site.browser()
    browser.get("/login?name=ada")
    assert browser.get("/nowhere", status=404).text == "nothing here, ada"


def test_what_failed_keeps_nothing(site):
    browser = site.browser()
    browser.get("/set?a=1")
    try:
        response = browser.get("/fail", expect_errors=True)
    except Boom:  # the framework leaves it to the server
        pass
    else:
        assert response.status_code == 500
        assert "Set-Cookie" not in response.headers
    assert see(browser) == {"owner": None, "a": "1"}


@pytest.mark.parametrize("operation", ["load", "update"])
def test_while_the_store_is_away_it_is_not_the_app_that_failed(site, operation, monkeypatch):
    browser = site.browser()
    browser.get("/set?a=1")

    def away(*_arguments, **_options):
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as outage:
        outage.setattr(WALStore, operation, away)
        response = browser.get("/set?a=2", expect_errors=True)
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.headers.getall("Cache-Control") == ["no-store"]
        assert "Set-Cookie" not in response.headers
        assert response.text != "set"
        assert browser.get("/plain").text == "plain"
    assert see(browser) == {"owner": None, "a": "1"}


def test_what_is_changed_while_the_page_is_sent_is_kept(site):
    browser = site.browser()
    response = browser.get("/stream")
    assert response.text == "one two"
    assert said(response) == ["HttpOnly", "Path=/", "SameSite=Lax"]
    assert see(browser) == {"owner": None, "stage": "streamed"}
