"""The owner of a session, as a framework's own login says it by a key of the session's data."""

from __future__ import annotations

import enum
import logging
from uuid import UUID

import pytest

from litesess import ConfigError, HeadersSent, StoreUnavailable
from tests.tools.apps import Boom, Site, look, write

KEY = "user_id"


@pytest.fixture
def site(each_store, clock):
    return Site(each_store, clock=clock, owner_key=KEY, drop_at_login=["form", "state"])


def owner(session):
    return session.owner


def stolen(site):
    tab = site.new_tab()
    return lambda: site.visit(look, by=tab).value


def test_a_login_of_a_frameworks_has_an_owner_and_another_id(site):
    site.visit(write(cart=[1]))
    before = stolen(site)
    response = site.visit(lambda s: s.update(early=1) or s.update({KEY: "ada"}) or s.update(late=2))
    assert response.said == "set"
    assert site.visit(lambda s: (s.owner, dict(s))).value == (
        "ada",
        {"cart": [1], "early": 1, KEY: "ada", "late": 2},
    )
    assert before() == {}
    assert len(site.store.find("ada")) == 1


def test_a_visitor_without_a_session_logs_in(site):
    site.visit(write(**{KEY: "ada"}))
    assert site.visit(owner).value == "ada"


def test_the_same_user_again_is_no_login(site):
    site.visit(write(**{KEY: "ada"}))
    assert site.visit(write(**{KEY: "ada"})).said == ""
    assert site.visit(owner).value == "ada"


def test_another_user_gets_another_id_and_the_framework_the_rest(site):
    site.visit(write(**{KEY: "ada"}, theme="dark"))
    before = stolen(site)
    site.visit(write(**{KEY: "bob"}))
    assert site.visit(lambda s: (s.owner, s["theme"])).value == ("bob", "dark")
    assert before() == {}
    assert site.store.find("ada") == []


def test_a_logout_of_a_frameworks_takes_the_owner_and_keeps_the_rest(site):
    site.visit(write(**{KEY: "ada"}, theme="dark"))
    before = stolen(site)
    site.visit(lambda s: s.pop(KEY))
    assert site.visit(lambda s: (s.owner, dict(s))).value == (None, {"theme": "dark"})
    assert before() == {}
    assert site.store.find("ada") == []


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("ada", "ada"),
        (7, "7"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_an_owner_is_text_a_number_or_a_uuid(site, value, name):
    site.visit(write(**{KEY: value}))
    assert site.visit(owner).value == name


@pytest.mark.parametrize("value", [1.5, True, ["ada"], {"id": 1}, b"ada"])
def test_anything_else_is_no_owner_and_said_once(site, value, caplog):
    for _ in range(2):
        site.visit(write(**{KEY: value}))
        assert site.visit(owner).value is None
    warned = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    assert [type(value).__name__ in it for it in warned] == [True]


def test_tokens_end_with_the_change_and_those_made_after_it_stay(site):
    site.visit(lambda s: s.update(form="old", state="old", kept=1) or s.get_csrf_token())

    def log_in(session):
        session[KEY] = "ada"
        session["form"] = "new"
        return session.get_csrf_token()

    token = site.visit(log_in).value
    assert site.visit(lambda s: (dict(s), s.check_csrf_token(token))).value == (
        {KEY: "ada", "form": "new", "kept": 1, "_csrft_": token},
        True,
    )


def test_what_the_app_says_itself_comes_first(site):
    def log_in(session):
        session.login("ada")
        session[KEY] = "1"
        session["mine"] = 1

    site.visit(log_in)
    assert site.visit(owner).value == "ada"
    site.visit(write(n=1))
    assert site.visit(lambda s: (s.owner, s[KEY])).value == ("ada", "1")


def test_a_save_in_between_hides_no_login(site):
    site.visit(write(cart=[1]))

    def log_in(session):
        session["step"] = 1
        session.save()
        session[KEY] = "ada"
        session.save()
        session["step"] = 2

    before = stolen(site)
    assert site.visit(log_in).said == "set"
    assert site.visit(lambda s: (s.owner, s["step"])).value == ("ada", 2)
    assert before() == {}


def test_in_atomic_the_owner_changes_with_the_data_and_the_id_after_it(site):
    site.visit(write(n=0))
    before = stolen(site)

    def log_in(session):
        session["n"] += 1
        session[KEY] = "ada"

    response = site.visit(lambda s: s.atomic(log_in) or s.id)
    assert response.said == "set"
    assert site.visit(lambda s: (s.owner, s["n"])).value == ("ada", 1)
    assert before() == {}


def test_where_no_cookie_can_be_sent_the_id_changes_at_the_next_request(site, caplog):
    site.visit(write(cart=[1]))
    before = stolen(site)

    def late(environ, start_response):
        session = environ["litesess.session"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"begun"
        session["form"] = "old"
        session[KEY] = "ada"
        yield b"done"

    site.visit(shape=late)
    assert len(site.store.find("ada")) == 1
    assert "keeps its id" in caplog.text
    assert site.visit(lambda s: (s.owner, dict(s))).said == "set"
    assert before() == {}
    assert site.visit(lambda s: (s.owner, dict(s))).value == ("ada", {"cart": [1], KEY: "ada"})
    assert site.visit(look).said == ""


def test_where_no_cookie_can_be_sent_a_logout_ends_the_session(site):
    site.visit(write(**{KEY: "ada"}))

    def late(environ, start_response):
        session = environ["litesess.session"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"begun"
        del session[KEY]
        with pytest.raises(HeadersSent):
            session["more"] = 1
        yield b"done"

    site.visit(shape=late)
    assert len(site.store) == 0


def test_a_login_whose_session_was_ended_meanwhile_begins_its_own(site):
    site.visit(write(cart=[1]))

    def log_in(session):
        dict(session)
        site.visit(lambda s: s.destroy(), by=site.new_tab())
        session[KEY] = "ada"

    site.visit(log_in)
    assert site.visit(lambda s: (s.owner, dict(s))).value == ("ada", {KEY: "ada"})


# A function.


class Role(enum.Enum):
    ADMIN = 1


@pytest.fixture
def asked(each_store, clock):
    return Site(
        each_store, clock=clock, owner_key=lambda session: session.get("user", {}).get("id")
    )


def test_a_function_says_whose_it_is_at_each_write(asked):
    asked.visit(write(user={"id": 7}))
    assert asked.visit(owner).value == "7"
    before = stolen(asked)
    asked.visit(lambda s: s["user"].update(id=8))
    assert asked.visit(owner).value == "8"
    assert before() == {}
    asked.visit(lambda s: s.pop("user") and s.update(theme="dark"))
    assert asked.visit(lambda s: (s.owner, dict(s))).value == (None, {"theme": "dark"})


def test_a_function_is_asked_by_save_and_in_atomic(asked):
    asked.visit(lambda s: s.update(user={"id": 7}) or s.save())
    assert asked.visit(owner).value == "7"
    asked.visit(lambda s: s.atomic(lambda held: held.update(user={"id": 8})))
    assert asked.visit(owner).value == "8"


def test_a_function_is_not_asked_for_a_page_that_only_reads(clock):
    calls = []
    site = Site(clock=clock, owner_key=lambda session: calls.append(1))
    site.visit(write(a=1))
    calls.clear()
    site.visit(look)
    assert calls == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"owner_key": ""}, "owner_key"),
        ({"owner_key": 5}, "owner_key"),
        ({"drop_at_login": "token"}, "drop_at_login"),
        ({"drop_at_login": [5]}, "drop_at_login"),
    ],
)
def test_wrong_options_are_refused_by_name(options, said):
    with pytest.raises(ConfigError, match=said):
        Site(**options)


# Between a login and its new id.


def log_in_late(environ, start_response):
    session = environ["litesess.session"]
    session.get("cart")
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    session[KEY] = "ada"


def test_a_login_in_atomic_is_not_left_under_the_former_id_if_the_request_fails(site):
    site.visit(write(cart=[1]))
    planted = stolen(site)

    def log_in(session):
        session.atomic(write(**{KEY: "ada"}))
        raise Boom

    with pytest.raises(Boom):
        site.visit(log_in)
    assert planted() == {}


def test_a_token_made_in_atomic_after_a_login_stays(site):
    site.visit(write(n=0))

    def log_in(session):
        session[KEY] = "ada"
        return session.get_csrf_token()

    token = site.visit(lambda s: s.atomic(log_in)).value
    assert site.visit(lambda s: s.check_csrf_token(token)).value is True


def test_a_late_login_leaves_no_token_from_before_it(site):
    before = site.visit(lambda s: s.get_csrf_token()).value
    site.visit(shape=log_in_late)
    assert site.visit(lambda s: s.get_csrf_token()).value != before
    assert site.visit(lambda s: s.check_csrf_token(before)).value is False


def test_a_due_change_of_the_id_outlives_anothers_cookie_settings(site):
    site.visit(write(cart=1))
    planted, tab = stolen(site), site.new_tab()

    def change_settings(session):
        session.get("cart")
        site.visit(shape=log_in_late)
        session.cookie.max_age = 3600

    site.visit(change_settings, by=tab)
    site.visit(look)
    assert planted() == {}
    assert site.visit(lambda s: (s.owner, s.cookie.original_max_age)).value == ("ada", 3600)


def test_overlapping_requests_after_a_late_login_both_win(site):
    site.visit(write(cart=1))
    site.visit(shape=log_in_late)
    browser = site.browser

    def act(session):
        session.get("cart")
        site.visit(write(theirs=2), by=browser)
        session["mine"] = 1

    site.visit(act, by=site.new_tab())
    assert site.visit(look).value == {"cart": 1, KEY: "ada", "theirs": 2, "mine": 1}


def test_what_a_framework_has_just_said_is_no_other_user_than_the_app_says(site):
    site.visit(write(cart=[1]))
    site.visit(lambda s: s.update({KEY: "7"}) or s.login("ada"))
    assert site.visit(lambda s: (s.owner, dict(s))).value == ("ada", {"cart": [1], KEY: "7"})


@pytest.mark.parametrize(
    "end",
    [
        lambda s: s.regenerate(),
        lambda s: s.clear(),
        lambda s: s.destroy() or s.regenerate(),
        lambda s: s.reload(),
    ],
    ids=["regenerate", "clear", "destroy", "reload"],
)
def test_what_the_app_said_is_forgotten_with_what_it_was_said_of(site, end):
    site.visit(write(cart=1))
    planted = stolen(site)
    site.visit(lambda s: s.login("ada") or end(s) or s.update({KEY: "bob"}))
    assert site.visit(owner).value == "bob"
    assert len(site.store.find("bob")) == 1
    assert planted() == {}


def test_an_empty_owner_is_none(site):
    site.visit(write(**{KEY: ""}))
    assert site.visit(owner).value is None


def test_while_the_store_is_away_a_login_is_not_passed_over(clock):
    site = Site(clock=clock, owner_key=KEY, if_unavailable="anonymous")
    site.visit(write(cart=1))
    site.store.failing["load"] = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        site.visit(write(**{KEY: "ada"}))
