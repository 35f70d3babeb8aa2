"""Lists that requests append to at once, and the first CSRF token of each."""

from __future__ import annotations

from itertools import product

import flask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litesess import codec
from litesess.integrations.flask import Litesess
from litesess.web.lists import merged
from tests.tools.apps import SECRET, Site, write

searched = settings(derandomize=True, deadline=None, max_examples=300, database=None)
items = st.lists(st.sampled_from(["a", "b", {"n": 1}, ("c", 2)]), max_size=4)


def encoded(value):
    return codec.encode(value, "_f_") if value else None


def merge(base, own, stored):
    frame = merged("_f_", encoded(base), encoded(own), encoded(stored))
    return [] if frame is None else codec.decode(frame)


@pytest.mark.parametrize(
    ("base", "own", "stored", "expected"),
    [
        ([], ["a"], ["b"], ["a", "b"]),
        (["x"], ["x", "a"], ["x", "b"], ["x", "a", "b"]),
        (["x"], [], ["x", "b"], ["b"]),  # shown, while another was added
        (["x"], ["x", "a"], [], ["a"]),  # added, while the other was shown
        (["x"], [], [], []),  # shown by two
        (["x", "x"], ["x"], ["x", "x", "x"], ["x", "x"]),  # one of two equal ones taken
        (["x"], ["a"], ["x"], ["a"]),
    ],
)
def test_what_each_has_added_and_taken_is_added_and_taken(base, own, stored, expected):
    assert merge(base, own, stored) == expected


@pytest.mark.parametrize("other", ["text", {"a": 1}, 5])
def test_what_is_no_list_is_replaced(other):
    assert merge(["x"], ["a"], other) == ["a"]
    assert merge(["x"], other, ["b"]) == other


@given(items, items, items)
@searched
def test_nothing_that_was_added_is_lost_whoever_comes_first(base, mine, theirs):
    own, stored = base + mine, base + theirs
    first, second = merge(base, own, stored), merge(base, stored, own)
    key = repr
    assert (
        sorted(first, key=key) == sorted(second, key=key) == sorted(base + mine + theirs, key=key)
    )
    assert first[: len(base)] == base


# In a session.


@pytest.fixture
def site(each_store, clock):
    site = Site(each_store, clock=clock)
    site.visit(write(user="ada"))
    return site


def overlapping(site, act, meanwhile):
    """Let *meanwhile* be done in another tab while *act* is under way."""

    def both(session):
        session.get("user")
        site.visit(meanwhile, by=site.new_tab())
        return act(session)

    return site.visit(both).value


def flash(message):
    return lambda session: session.flash(message)


def test_messages_of_overlapping_requests_are_all_kept(site):
    overlapping(site, flash("mine"), flash("theirs"))
    assert site.visit(lambda s: s.pop_flash()).value == ["mine", "theirs"]


def test_a_message_that_comes_while_others_are_shown_is_kept(site):
    site.visit(flash("old"))
    assert overlapping(site, lambda s: s.pop_flash(), flash("new")) == ["old"]
    assert site.visit(lambda s: s.pop_flash()).value == ["new"]


def test_a_message_that_was_shown_meanwhile_is_not_shown_again(site):
    site.visit(flash("old"))
    overlapping(site, flash("new"), lambda s: s.pop_flash())
    assert site.visit(lambda s: s.pop_flash()).value == ["new"]


@pytest.mark.parametrize("move", ["rotate", "login"])
def test_a_message_beside_another_id_is_kept_and_so_is_that_of_the_other(site, move):
    def act(session):
        session["mine"] = 1
        session.flash("welcome")
        session.rotate() if move == "rotate" else session.login("ada")

    overlapping(site, act, lambda s: s.flash("theirs") or s.update(other=2))
    found = site.visit(lambda s: (s.pop_flash(), dict(s))).value
    assert found == (["welcome", "theirs"], {"user": "ada", "mine": 1, "other": 2})


def test_a_message_of_a_request_whose_session_was_rotated_meanwhile_is_kept(site):
    overlapping(site, flash("late"), lambda s: s.rotate())
    assert [record.data["_f_"] for _, record in site.store.records()] == [["late"]]


@pytest.mark.parametrize("act", ["flash", "pop"])
def test_messages_beside_a_rotation_that_brings_one_are_all_kept(site, act):
    if act == "pop":
        site.visit(flash("old"))
    mine = flash("mine") if act == "flash" else (lambda s: s.pop_flash())
    overlapping(site, mine, lambda s: s.flash("Password changed") or s.rotate())
    ((_, record),) = site.store.records()
    expected = {"flash": ["mine", "Password changed"], "pop": ["Password changed"]}
    assert record.data["_f_"] == expected[act]


def test_a_login_that_begins_its_own_session_takes_only_its_own_messages(site):
    site.visit(flash("old"))

    def log_in(session):
        session.flash("welcome")
        session.login("ada")

    overlapping(site, log_in, lambda s: s.rotate())
    assert [r.data["_f_"] for _, r in site.store.find("ada")] == [["welcome"]]


def test_a_message_to_a_session_that_was_logged_out_meanwhile_is_dropped(site):
    overlapping(site, flash("late"), lambda s: s.destroy())
    assert [*site.store.records()] == []


def test_overlapping_requests_make_the_same_csrf_token(site):
    token = lambda session: session.get_csrf_token()  # noqa: E731
    seen = []
    mine = overlapping(site, token, lambda s: seen.append(token(s)))
    assert [mine] == seen
    assert site.visit(lambda s: s.check_csrf_token(mine)).value is True


def test_the_token_outlives_a_rotation_and_no_login(site):
    token = site.visit(lambda s: s.get_csrf_token()).value
    assert site.visit(lambda s: s.rotate() or s.get_csrf_token()).value == token
    changed = site.visit(lambda s: s.login("ada") or s.get_csrf_token()).value
    assert changed != token
    assert site.visit(lambda s: s.new_csrf_token()).value not in (token, changed)


def test_a_token_that_was_taken_out_is_followed_by_another(site):
    token = site.visit(lambda s: s.get_csrf_token()).value
    assert site.visit(lambda s: s.pop("_csrft_") and s.get_csrf_token()).value != token


def test_the_first_tokens_of_different_sessions_and_secrets_differ():
    tokens = set()
    for secret, _ in product([SECRET, SECRET[::-1]], range(2)):
        site = Site(secret=secret, genid=lambda environ: "same-id-for-all-of-them")
        tokens.add(site.visit(lambda s: s.get_csrf_token()).value)
        tokens.add(Site(secret=secret).visit(lambda s: s.get_csrf_token()).value)
    assert len(tokens) == 2 + 4


def test_flasks_own_messages_of_overlapping_requests_are_all_kept():
    app = flask.Flask("messages")
    app.config.update(SECRET_KEY=SECRET, LITESESS_STORE=Site().store)
    Litesess(app)

    @app.get("/flash/<message>")
    def say(message):
        flask.session.get("user")
        if message == "mine":
            client.get("/flash/theirs")
        flask.flash(message)
        return "said"

    @app.get("/show")
    def show():
        return {"messages": flask.get_flashed_messages()}

    client = app.test_client()
    client.get("/flash/first")
    client.get("/flash/mine")
    assert client.get("/show").json == {"messages": ["first", "mine", "theirs"]}
    assert client.get("/show").json == {"messages": []}
