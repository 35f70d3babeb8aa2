"""The session as an app sees it."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litesess import EncodeError, HeadersSent, Session, SessionGone, codec
from litesess.ids import handle_of, key_of
from litesess.testing import FakeClock
from tests.tools.apps import KEY, Site, WatchedWALStore, environ_of, look, write


@pytest.fixture
def site(clock):
    """A site whose visitor has a session."""
    site = Site(clock=clock)
    site.visit(write(user="ada", cart=[1, {"n": [2]}]))
    site.store.calls.clear()
    return site


# The mapping.


def test_it_is_a_mutable_mapping_of_the_data_alone(site):
    def check(session):
        assert isinstance(session, MutableMapping)
        assert isinstance(session, Session)
        return dict(session), sorted(session), len(session), bool(session)

    data = {"user": "ada", "cart": [1, {"n": [2]}]}
    assert site.visit(check).value == (data, ["cart", "user"], 2, True)


def test_an_empty_one_is_false_and_equal_to_an_empty_dict():
    assert Site().visit(lambda session: (bool(session), session == {})).value == (False, True)


@pytest.mark.parametrize("key", ["save", "id", "cookie", "~set", "", "_data", "\u00e9"])
def test_no_key_is_reserved(site, key):
    def use(session):
        session[key] = "nope"
        session.save()

    site.visit(use)
    assert site.visit(lambda session: session[key]).value == "nope"


@pytest.mark.parametrize("make", [lambda n: {"cookie": n}, lambda n: {"user": {"cookie": n}}])
def test_a_key_named_cookie_is_data_like_any_other(make):
    site = Site()
    site.visit(write(**make(1)))
    assert site.writes_of(write(**make(1))) == {}
    assert site.writes_of(write(**make(2))) == {"update": 1}
    assert site.visit(look).value == make(2)


@pytest.mark.parametrize("name", ["save", "id", "handle", "created_at", "modified", "bogus"])
def test_what_is_no_setting_cant_be_assigned(site, name):
    def assign(session):
        with pytest.raises(AttributeError):
            setattr(session, name, "x")

    site.visit(assign)


@pytest.mark.parametrize("key", [5, None, b"x", ("a",)])
def test_a_key_that_is_no_text_is_refused_where_it_is_set(site, key):
    def assign(session):
        with pytest.raises(EncodeError):
            session[key] = 1

    assert site.writes_of(assign) == {}


@pytest.mark.parametrize("key", ["missing", 5, None])
def test_a_missing_key_is_a_key_error(site, key):
    def ask(session):
        assert key not in session
        assert session.get(key) is None
        with pytest.raises(KeyError):
            session[key]
        with pytest.raises(KeyError):
            del session[key]

    site.visit(ask)


def test_what_setdefault_returns_can_be_changed_in_place(site):
    site.visit(lambda session: session.setdefault("list", []).append(5))
    assert site.visit(look).value["list"] == [5]


def test_an_update_by_operator_changes_the_session_itself(site):
    def update(session):
        same = session
        same |= {"a": 1}
        same |= [("b", 2)]
        assert same is session

    site.visit(update)
    assert site.visit(lambda session: (session["a"], session["b"])).value == (1, 2)


def test_clear_ends_it_and_the_client_forgets_it(site):
    response = site.visit(lambda session: session.clear())
    assert "Max-Age=0" in response.set_cookies[0]
    assert site.data == []


def test_clear_leaves_what_is_set_after_it_under_another_id(site):
    before = site.cookie
    site.visit(lambda session: (session.clear(), session.update(b=2)))
    assert site.cookie != before
    assert site.data == [{"b": 2}]


def test_keys_may_be_read_while_iterating(site):
    assert site.visit(lambda session: [session[key] for key in session]).value[0] == "ada"


def test_a_value_is_the_same_object_each_time(site):
    assert site.visit(lambda session: session["cart"] is session["cart"]).value


def test_a_value_is_still_the_same_object_after_saving(site):
    def change(session):
        cart = session["cart"]
        session["a"] = 1
        session.save()
        cart.append(3)
        return session["cart"] is cart

    assert site.visit(change).value
    assert site.visit(look).value["cart"] == [1, {"n": [2]}, 3]


def test_the_repr_shows_neither_id_nor_data(site):
    shown = site.visit(lambda session: (session.id, repr(session), str(session))).value
    assert shown[1:] == ("<Session stored>", "<Session stored>")


# Attributes.


def test_id_and_handle_name_what_is_stored(site):
    session_id, handle = site.visit(lambda session: (session.id, session.handle)).value
    ((key, _),) = site.store.records()
    assert key == key_of(session_id)
    assert handle == handle_of(key)


def test_a_new_id_is_the_one_that_is_announced():
    site = Site()
    session_id = site.visit(lambda session: session.update(a=1) or session.id).value
    assert site.visit(lambda session: session.id).value == session_id


def test_is_new_until_it_is_stored(site):
    stranger = site.new_browser()
    assert site.visit(lambda session: session.is_new).value is False
    assert site.visit(lambda session: session.is_new, by=stranger).value is True
    assert site.visit(lambda s: s.save() or s.is_new, by=stranger).value is False


def test_times_are_none_until_it_is_stored():
    times = Site().visit(lambda session: (session.created_at, session.expires_at)).value
    assert times == (None, None)


def test_times_are_those_of_the_record(site):
    now = site.clock()
    times = site.visit(lambda session: (session.created_at, session.expires_at)).value
    assert times == (now, now + 86_400)


CHANGES = {
    "assign": lambda s: s.update(user="bob"),
    "add": lambda s: s.update(more=1),
    "delete": lambda s: s.pop("user"),
    "clear": lambda s: s.clear(),
    "append": lambda s: s["cart"].append(1),
    "deep": lambda s: s["cart"][1]["n"].append(1),
    "deep delete": lambda s: s["cart"][1].pop("n"),
    "sort": lambda s: s["cart"].reverse(),
    "another type": lambda s: s.update(user=True) or s.update(user=1),
    "rotate": lambda s: s.rotate(),
    "regenerate": lambda s: s.regenerate(),
}
NO_CHANGES = {
    "read": look,
    "same value": lambda s: s.update(user="ada"),
    "equal list": lambda s: s.update(cart=[1, {"n": [2]}]),
    "there and back": lambda s: s["cart"].append(1) or s["cart"].pop(),
    "delete and add": lambda s: s.update(user=s.pop("user")),
    "popitem and add": lambda s: s.update([s.popitem()]),
    "touch": lambda s: s.touch(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_modified_says_that_it_changed(site, change):
    assert site.visit(lambda s: (s.modified, change(s), s.modified)).value[::2] == (False, True)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_is_written_once(site, change):
    assert sum(site.writes_of(change).values()) == 1
    assert site.writes_of(look) == {}


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ([1], lambda x: x.append(2), [1, 2]),
        ([[3, 1, 2]], lambda x: x[0].sort(), [[1, 2, 3]]),
        ({"a": 1}, lambda x: x.update(b=2), {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, lambda x: x.pop("b"), {"a": 1}),
        ([{1}], lambda x: x[0].add(2), [{1, 2}]),
        ([{1, 2}], lambda x: x[0].discard(2), [{1}]),
        (([1],), lambda x: x[0].append(2), ([1, 2],)),
        ({"a": [{"b": {1: "x"}}]}, lambda x: x["a"][0]["b"].clear(), {"a": [{"b": {}}]}),
    ],
)
def test_a_change_in_any_container_is_written(before, change, after):
    site = Site()
    site.visit(write(x=before))
    assert site.writes_of(lambda session: change(session["x"])) == {"update": 1}
    assert site.visit(look).value == {"x": after}


def test_only_values_that_may_have_changed_are_encoded_again_and_once(site, monkeypatch):
    encoded = []
    encode = codec.encode

    def counting(value, key_path, limit):
        encoded.append(key_path)
        return encode(value, key_path, limit)

    monkeypatch.setattr(codec, "encode", counting)
    site.visit()
    site.visit(lambda session: session["user"])
    assert encoded == []
    site.visit(lambda session: session["cart"])
    assert encoded == ["cart"]


@pytest.mark.parametrize("no_change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_modified_is_false_if_it_did_not(site, no_change):
    assert site.visit(lambda s: (no_change(s) and None) or s.modified).value is False


@pytest.mark.parametrize("no_change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_did_not_change_is_not_written(site, no_change):
    assert {*site.writes_of(no_change)} <= {"touch"}


def test_modified_is_false_again_after_saving(site):
    assert site.visit(lambda s: s.update(a=1) or s.save() or s.modified).value is False


def test_an_owner_is_kept_as_text(site):
    site.visit(lambda session: setattr(session, "owner", 7))
    assert site.visit(lambda session: session.owner).value == "7"
    assert len(site.store.find("7")) == 1


def test_another_owner_gets_another_id_and_keeps_the_data(site):
    before = site.cookie
    site.visit(lambda session: setattr(session, "owner", "7"))
    assert site.cookie != before
    assert site.visit(look).value["user"] == "ada"
    assert len(site.store) == 1


def test_the_same_owner_again_changes_nothing(site):
    site.visit(lambda session: setattr(session, "owner", 7))
    assert site.writes_of(lambda session: setattr(session, "owner", "7")) == {}


def test_an_owner_can_be_taken_off(site):
    site.visit(lambda session: setattr(session, "owner", 7))
    site.visit(lambda session: setattr(session, "owner", None))
    assert site.visit(lambda session: session.owner).value is None
    assert site.store.find("7") == []


def test_an_owner_alone_makes_a_new_session_worth_storing():
    site = Site()
    assert site.visit(lambda session: setattr(session, "owner", 7)).said == "set"
    assert len(site.store.find("7")) == 1


@pytest.mark.parametrize("renew", ["regenerate", "rotate"])
def test_the_same_owner_holds_after_renewing(site, renew):
    site.visit(lambda session: setattr(session, "owner", 7))

    def log_in_again(session):
        getattr(session, renew)()
        session.owner = 7

    site.visit(log_in_again)
    assert len(site.store.find("7")) == 1


def test_a_regenerated_session_has_no_owner(site):
    site.visit(lambda session: setattr(session, "owner", 7))
    assert site.visit(lambda session: session.regenerate() or session.owner).value is None
    assert site.store.find("7") == []


def test_a_regenerated_session_is_not_stored_yet(site):
    ask = site.visit(lambda s: s.regenerate() or (s.is_new, s.created_at, s.expires_at))
    assert ask.value == (True, None, None)


@pytest.mark.parametrize("owner", ["\ud800", "x" * 70_000], ids=["surrogate", "long"])
def test_an_owner_that_cant_be_stored_is_refused(site, owner):
    with pytest.raises(EncodeError, match="owner"):
        site.visit(lambda session: setattr(session, "owner", owner))
    assert site.visit(lambda session: (session.owner, len(session))).value == (None, 2)


# save, reload, touch.


def test_what_is_saved_can_be_read_at_once(site):
    def save(session):
        session["a"] = 1
        session.save()
        return site.store.load(key_of(session.id)).data["a"]

    assert site.visit(save).value == 1


SAVES = {
    "changed": (write(a=1), {"update": 1}),
    "unchanged": (look, {"update": 1}),
    "regenerated": (lambda s: s.regenerate(), {"replace": 1}),
    "rotated": (lambda s: s.rotate(), {"rotate": 1}),
    "reloaded": (lambda s: s.update(a=1) or s.reload(), {"update": 1}),
}


@pytest.mark.parametrize(("before", "writes"), SAVES.values(), ids=SAVES)
def test_saving_is_one_write_with_nothing_behind_it(site, before, writes):
    site.clock.advance(3600)
    assert site.writes_of(lambda session: (before(session), session.save())) == writes


def test_saving_a_new_session_stores_and_announces_it():
    site = Site()
    assert site.visit(lambda session: session.save()).said == "set"
    assert site.store.writes == {"create": 1}


def test_a_change_after_saving_is_written_again(site):
    save = site.writes_of(lambda s: (s.update(a=1), s.save(), s.update(a=2)))
    assert save == {"update": 2}
    assert site.visit(look).value["a"] == 2


def test_a_change_in_place_after_saving_is_written_again(site):
    assert site.writes_of(lambda s: (s.save(), s["cart"].append(9))) == {"update": 2}
    assert site.visit(look).value["cart"][-1] == 9


def test_saving_shows_what_another_request_changed(site):
    def save(session):
        tab = site.new_browser()
        tab.cookies = dict(site.browser.cookies)
        site.visit(write(other=1, user="bob"), by=tab)
        session["mine"] = 1
        session.save()
        return dict(session)

    assert site.visit(save).value == {**site.data[0], "other": 1, "user": "bob", "mine": 1}


def nested(site, action):
    """Run *action* in a request of the same client, within the current one."""
    tab = site.new_browser()
    tab.cookies = dict(site.browser.cookies)
    return site.visit(action, by=tab)


def test_reload_shows_what_is_stored_and_drops_what_is_not(site):
    def reload(session):
        session["url"] = "/foo"
        session["cart"].append(5)
        nested(site, write(url="/bar"))
        session.reload()
        return dict(session)

    assert site.visit(reload).value == {"user": "ada", "cart": [1, {"n": [2]}], "url": "/bar"}
    assert site.data[0]["url"] == "/bar"


def test_reload_changes_the_session_in_place_and_keeps_its_end(site):
    before = site.visit(lambda session: session.expires_at).value
    site.clock.advance(10)

    def reload(session):
        end = session.expires_at
        session.reload()
        return end, session.expires_at

    assert site.visit(reload).value == (before, before)


def test_reload_of_a_session_that_is_gone_says_so_and_stores_nothing(site):
    def reload(session):
        nested(site, lambda other: other.destroy())
        session["a"] = 1
        for _ in range(20):
            with pytest.raises(SessionGone):
                session.reload()

    assert site.visit(reload).said == ""
    assert len(site.store) == 0


def test_reload_of_a_session_that_was_never_stored_says_so():
    def reload(session):
        with pytest.raises(SessionGone):
            session.reload()
        session["a"] = 1

    site = Site()
    assert site.visit(reload).said == "set"
    assert site.data == [{"a": 1}]


def test_a_session_that_is_gone_can_be_begun_anew(site):
    def begin(session):
        nested(site, lambda other: other.destroy())
        with pytest.raises(SessionGone):
            session.reload()
        with pytest.raises(SessionGone):
            session["a"] = 1
        session.regenerate()
        session["a"] = 2

    assert site.visit(begin).said == "set"
    assert site.visit(look).value == {"a": 2}


def test_what_was_saved_is_announced_though_reloaded_after(clock):
    site = Site(clock=clock, cookie={"max_age": 100})
    site.visit(write(a=1))
    assert site.visit(lambda s: (s.update(a=2), s.save(), s.reload())).said == "set"
    new_life = site.visit(lambda s: (setattr(s.cookie, "max_age", 50), s.save(), s.reload()))
    assert new_life.attributes["max-age"] == "50"


def test_saving_and_reloading_is_one_write(clock):
    site = Site(clock=clock)
    site.visit(write(a=1))
    assert site.writes_of(lambda s: (s.update(a=2), s.save(), s.reload())) == {"update": 1}


def test_touch_moves_the_end_though_it_is_throttled(site):
    site.clock.advance(1)
    assert site.writes_of(lambda session: session.touch()) == {"touch": 1}
    ((_, record),) = site.store.records()
    assert record.expires_at == site.clock() + 86_400


def test_touch_sends_the_cookie_if_it_has_an_end(clock):
    site = Site(clock=clock, cookie={"max_age": 100})
    site.visit(write(a=1))
    clock.advance(1)
    assert site.visit(lambda session: session.touch()).attributes["max-age"] == "100"


def test_touch_sends_no_cookie_that_ends_with_the_browser(site):
    assert site.visit(lambda session: session.touch()).said == ""


@pytest.mark.parametrize("method", ["touch", "save", "reload", "rotate", "regenerate", "destroy"])
def test_methods_return_none(site, method):
    assert site.visit(lambda session: getattr(session, method)()).value is None


# destroy, regenerate, rotate.


def test_destroy_acts_at_once(site):
    site.visit(lambda session: (session.destroy(), len(site.store)))
    assert site.visit(lambda session: len(site.store)).value == 0


WRITING = {
    "assign": lambda s: s.update(a=1),
    "delete": lambda s: s.pop("user"),
    "clear": lambda s: s.clear(),
    "owner": lambda s: setattr(s, "owner", 7),
    "save": lambda s: s.save(),
    "reload": lambda s: s.reload(),
    "touch": lambda s: s.touch(),
    "rotate": lambda s: s.rotate(),
    "max_age": lambda s: setattr(s.cookie, "max_age", 5),
}


@pytest.mark.parametrize("action", WRITING.values(), ids=WRITING)
def test_after_destroy_writing_says_that_it_is_gone(site, action):
    def use(session):
        cookie = session.cookie
        session.destroy()
        assert dict(session) == {}
        with pytest.raises((SessionGone, KeyError)):
            action(session)
        return cookie

    response = site.visit(use)
    assert response.said == "expired"
    assert site.store.writes == {"delete": 1}


def test_destroying_twice_is_harmless(site):
    assert site.writes_of(lambda session: (session.destroy(), session.destroy())) == {"delete": 1}


def test_destroying_what_was_never_stored_writes_nothing():
    site = Site()
    response = site.visit(lambda session: (session.update(a=1), session.destroy()))
    assert (response.said, site.store.writes) == ("", {})


def test_regenerate_begins_an_empty_session_under_another_id(site):
    old, new = site.visit(lambda s: (s.id, s.regenerate(), s.id)).value[::2]
    assert old != new
    assert site.data == [{}]
    assert site.store.load(key_of(old)) is None
    assert site.visit(lambda session: session.id).value == new


def test_regenerate_takes_what_is_written_after_it(site):
    site.visit(lambda s: (s.update(before=1), s.regenerate(), s.update(after=1)))
    assert site.data == [{"after": 1}]


def test_regenerate_after_destroy_begins_another_session(site):
    response = site.visit(lambda s: (s.destroy(), s.regenerate(), s.update(a=1)))
    assert response.said == "set"
    assert site.data == [{"a": 1}]


def test_destroy_after_regenerate_leaves_nothing(site):
    response = site.visit(lambda s: (s.regenerate(), s.update(a=1), s.destroy()))
    assert (response.said, site.data) == ("expired", [])


def test_destroy_after_a_saved_rotation_leaves_nothing(site):
    response = site.visit(lambda s: (s.rotate(), s.save(), s.destroy()))
    assert (response.said, site.data) == ("expired", [])


def test_regenerating_what_was_never_stored_is_one_write():
    site = Site()
    assert site.visit(lambda session: session.regenerate()).said == "set"
    assert site.store.writes == {"create": 1}


def test_rotate_keeps_data_creation_and_owner_under_another_id(site):
    site.visit(lambda session: setattr(session, "owner", 7))
    created = site.clock()
    site.clock.advance(50)
    old, new = site.visit(lambda s: (s.id, s.rotate(), s.id)).value[::2]
    ((key, record),) = site.store.records()
    assert (key, record.created_at, record.owner) == (key_of(new), created, "7")
    assert record.data["user"] == "ada"
    assert old != new


def test_rotating_twice_is_rotating_once(site):
    ids = site.visit(lambda s: (s.rotate(), s.id, s.rotate(), s.id)).value[1::2]
    assert ids[0] == ids[1]
    assert site.store.writes == {"rotate": 1}


def test_rotate_then_regenerate_is_empty(site):
    site.visit(lambda s: (s.rotate(), s.regenerate()))
    assert site.data == [{}]


def test_rotate_after_regenerate_changes_nothing_more(site):
    site.visit(lambda s: (s.regenerate(), s.rotate()))
    assert site.data == [{}]


def test_each_saved_rotation_gives_another_id(site):
    ids = site.visit(lambda s: (s.rotate(), s.save(), s.id, s.rotate(), s.save(), s.id)).value
    assert ids[2] != ids[5]
    assert site.visit(lambda session: session.id).value == ids[5]


def test_a_change_after_a_saved_rotation_goes_to_the_new_id(site):
    site.visit(lambda s: (s.rotate(), s.save(), s.update(a=1)))
    assert site.data[0]["a"] == 1


# Its cookie.


@pytest.fixture
def day(clock):
    """A site whose sessions live for a day, and a visitor with one."""
    site = Site(clock=clock, cookie={"max_age": 86_400})
    site.visit(write(a=1))
    return site


def test_after_a_save_the_cookie_is_as_another_request_has_changed_it(site):
    site.visit(write(n=1))
    tab = site.new_browser()
    tab.cookies.update(site.browser.cookies)

    def act(session):
        assert session.cookie.original_max_age is None
        site.visit(lambda other: setattr(other.cookie, "max_age", 60), by=tab)
        session["n"] = 2
        session.save()
        return session.cookie.original_max_age

    assert site.visit(act).value == 60


def test_max_age_counts_down_and_original_max_age_does_not(day):
    day.clock.advance(100)
    ages = day.visit(lambda s: (s.cookie.max_age, s.cookie.original_max_age)).value
    assert ages == (86_300, 86_400)


def test_without_a_life_max_age_and_expires_are_none(site):
    life = site.visit(lambda s: (s.cookie.max_age, s.cookie.expires, s.cookie.original_max_age))
    assert life.value == (None, None, None)


def test_expires_is_when_the_session_ends(day):
    expires = day.visit(lambda session: session.cookie.expires).value
    assert expires == datetime.fromtimestamp(day.clock() + 86_400, timezone.utc)


def test_another_max_age_is_sent_stored_and_stays(day):
    response = day.visit(lambda session: setattr(session.cookie, "max_age", 5))
    assert response.attributes["max-age"] == "5"
    day.clock.advance(3)
    assert day.visit(lambda s: (s.cookie.max_age, s.cookie.original_max_age)).value == (2, 5)
    day.clock.advance(1.5)
    assert day.visit(write(a=2)).attributes["max-age"] == "5"
    day.clock.advance(5)
    assert day.visit(look).value == {}


def end_of(site):
    ((_, record),) = site.store.records()
    return record.expires_at


@pytest.mark.parametrize("seconds", [1.5, 1e300, 3_000_000, 253_402_300_799])
def test_odd_lives_are_kept(day, seconds):
    day.visit(lambda session: setattr(session.cookie, "max_age", seconds))
    assert end_of(day) == day.clock() + seconds
    assert day.visit(lambda s: s.cookie.expires and s.cookie.original_max_age).value == seconds


def test_a_life_of_none_ends_with_the_browser(day):
    attributes = day.visit(lambda session: setattr(session.cookie, "max_age", None)).attributes
    assert "max-age" not in attributes
    assert "expires" not in attributes
    assert end_of(day) == day.clock() + day.store.ttl


def test_an_end_that_is_now_ends_the_session_and_its_cookie(day):
    response = day.visit(lambda session: setattr(session.cookie, "expires", day.clock()))
    assert response.attributes["max-age"] == "0"
    assert len(day.store) == 0


@pytest.mark.parametrize("life", [0, 0.0, timedelta(0)])
def test_a_life_of_zero_ends_the_session_and_its_cookie(day, life):
    response = day.visit(lambda session: setattr(session.cookie, "max_age", life))
    assert response.attributes["max-age"] == "0"
    assert len(day.store) == 0


END = datetime(2023, 11, 15, tzinfo=timezone.utc)  # within a day of the clock


def test_a_fixed_end_reads_as_it_was_set(day):
    def fix(session):
        session.cookie.expires = END
        return session.cookie.expires, session.cookie.max_age

    assert day.visit(fix).value == (END, END.timestamp() - day.clock())


def test_a_fixed_end_is_not_moved_by_later_requests(day):
    response = day.visit(lambda session: setattr(session.cookie, "expires", END))
    assert response.attributes["expires"] == "Wed, 15 Nov 2023 00:00:00 GMT"
    day.clock.advance(1000)
    assert day.visit(write(a=2)).attributes["expires"] == "Wed, 15 Nov 2023 00:00:00 GMT"
    day.visit(lambda session: session.touch())
    assert end_of(day) == END.timestamp()


def test_a_life_takes_the_place_of_a_fixed_end(day):
    day.visit(lambda session: setattr(session.cookie, "expires", END))
    life = END.timestamp() - day.clock()
    day.visit(lambda session: setattr(session.cookie, "max_age", life))
    day.clock.advance(1000)
    day.visit(write(a=2))
    assert end_of(day) == day.clock() + life


def test_no_end_takes_the_place_of_a_fixed_end(day):
    day.visit(lambda session: setattr(session.cookie, "expires", END))
    response = day.visit(lambda session: setattr(session.cookie, "expires", None))
    assert "expires" not in response.attributes


def test_an_end_in_the_past_ends_the_session_and_its_cookie(day):
    past = datetime(1970, 1, 1, tzinfo=timezone.utc)
    attributes = day.visit(lambda session: setattr(session.cookie, "expires", past)).attributes
    assert (attributes["max-age"], attributes["expires"]) == ("0", "Thu, 01 Jan 1970 00:00:00 GMT")
    assert len(day.store) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_age", "42"),
        ("max_age", True),
        ("max_age", -1),
        ("max_age", math.nan),
        ("expires", "soon"),
        ("expires", datetime.fromisoformat("2026-01-01")),  # of no zone
        ("path", "x"),
        ("domain", "a b"),
        ("secure", "yes"),
        ("httponly", 1),
        ("samesite", "bogus"),
        ("priority", "urgent"),
    ],
)
def test_a_wrong_setting_is_refused_where_it_is_made(day, name, value):
    def assign(session):
        with pytest.raises(ValueError, match=name):
            setattr(session.cookie, name, value)

    assert day.writes_of(assign) == {}


def test_an_unknown_setting_is_refused(day):
    def assign(session):
        with pytest.raises(AttributeError):
            session.cookie.bogus = 1

    day.visit(assign)


def test_a_setting_stays_with_the_session_and_goes_with_it(day):
    day.visit(lambda session: setattr(session.cookie, "httponly", False))
    for action in (write(a=2), lambda s: s.rotate(), lambda s: (s.reload(), s.update(a=3))):
        assert "httponly" not in day.visit(action).attributes
    assert "httponly" in day.visit(lambda session: session.regenerate()).attributes


def test_a_setting_that_the_configuration_now_forbids_stops_no_other(day):
    day.visit(lambda session: setattr(session.cookie, "samesite", "none"))
    restarted = Site(day.store, clock=day.clock, cookie={"secure": False})
    restarted.browser.cookies = day.browser.cookies
    response = restarted.visit(lambda session: setattr(session.cookie, "httponly", False))
    assert response.attributes == {"path": "/", "samesite": "Lax"}


def test_the_same_setting_again_is_no_change(day):
    day.visit(lambda session: setattr(session.cookie, "samesite", "strict"))
    assert day.writes_of(lambda session: setattr(session.cookie, "samesite", "Strict")) == {}


def test_a_setting_alone_is_stored_and_sent_for_a_stored_session(day):
    response = day.visit(lambda session: setattr(session.cookie, "priority", "high"))
    assert response.attributes["priority"] == "High"


def test_a_setting_alone_does_not_make_a_new_session():
    site = Site()
    assert site.visit(lambda session: setattr(session.cookie, "max_age", 5)).said == ""
    assert site.store.writes == {}


def test_no_end_set_by_every_request_is_sent_once(clock):
    site = Site(clock=clock)
    site.visit(lambda s: (setattr(s.cookie, "expires", None), s.update(a=1)))
    assert site.visit(lambda session: setattr(session.cookie, "expires", None)).said == ""


# Behind the headers.

LATE = {
    "rotate": lambda s: s.rotate(),
    "regenerate": lambda s: s.regenerate(),
    "owner": lambda s: setattr(s, "owner", 7),
}


@pytest.mark.parametrize("action", LATE.values(), ids=LATE)
def test_another_id_is_refused_when_it_cant_be_told(site, action):
    def shape(environ, start_response):
        session = environ[KEY]
        dict(session)
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        with pytest.raises(HeadersSent):
            action(session)
        yield b"b"

    before = site.cookie
    assert site.visit(shape=shape).body == b"ab"
    assert site.cookie == before
    assert site.visit(look).value["user"] == "ada"


def test_another_id_stays_refused_after_the_session_is_destroyed(site):
    def shape(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        environ[KEY].destroy()
        with pytest.raises(HeadersSent):
            environ[KEY].regenerate()

    site.visit(shape=shape)
    assert len(site.store) == 0


# Any sequence of operations.

searched = settings(derandomize=True, deadline=None, database=None)
keys = st.sampled_from(["a", "b", "c", "\u00e9", ""])
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([1.0, 0.5, "x", "", b"x", Decimal("1.0"), date(2026, 1, 1)])
    | st.sampled_from([("t", 1), frozenset("ab"), timedelta.max.days])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
operations = st.one_of(
    st.tuples(st.just("set"), keys, values),
    st.tuples(st.just("delete"), keys, st.none()),
    st.tuples(st.just("pop"), keys, values),
    st.tuples(st.just("setdefault"), keys, values),
    st.tuples(st.just("update"), st.none(), st.dictionaries(keys, values, max_size=3)),
    st.tuples(st.just("append"), keys, values),
    st.tuples(st.just("put in"), keys, values),
    st.tuples(st.just("popitem"), st.none(), st.none()),
)
requests = st.lists(st.lists(operations, max_size=5), min_size=1, max_size=4)


def apply(mapping, operation):
    """Run one operation on a dict or a session; both are to do the same."""
    name, key, value = operation
    if name == "set":
        mapping[key] = value
    elif name == "delete":
        if key in mapping:
            del mapping[key]
    elif name == "pop":
        return mapping.pop(key, value)
    elif name == "setdefault":
        return mapping.setdefault(key, value)
    elif name == "update":
        mapping |= value
    elif name == "append" and isinstance(mapping.get(key), list):
        mapping[key].append(value)
    elif name == "put in" and isinstance(mapping.get(key), dict):
        mapping[key]["in"] = value
    return None


def exact(value):
    """Return a session or a value so that 1, 1.0 and True differ.

    The order in a dict counts, but not that of the session's own keys.
    """
    if isinstance(value, dict):
        return {key: exact(ordered(item)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [exact(item) for item in value]
    return type(value), repr(sorted(value)) if isinstance(value, frozenset) else repr(value)


def ordered(value):
    if isinstance(value, dict):
        return [(key, ordered(item)) for key, item in value.items()]
    return [ordered(item) for item in value] if isinstance(value, list) else value


def copied(value):
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def play(site, played):
    model = {}
    for operations_of_one in played:
        before = exact(model)

        def action(session, operations_of_one=operations_of_one, before=before):
            for operation in operations_of_one:
                # A copy each: session and model must not share what is changed in place.
                if operation[0] == "popitem":
                    if model:
                        key, value = session.popitem()
                        assert exact(value) == exact(model.pop(key))
                    continue
                got = apply(session, copied_operation(operation))
                assert exact(got) == exact(apply(model, copied_operation(operation)))
                assert exact(dict(session)) == exact(model)
                assert len(session) == len(model)
            assert session.modified == (exact(model) != before)

        site.store.calls.clear()
        site.visit(action)
        wrote = site.store.calls["create"] + site.store.calls["update"]
        assert wrote == (exact(model) != before)
        assert exact(site.visit(look).value) == exact(model)


def copied_operation(operation):
    name, key, value = operation
    return name, key, copied(value)


@settings(searched, max_examples=100)
@given(requests)
def test_it_does_what_a_dict_does_through_a_memory_store(played):
    play(Site(), played)


@pytest.mark.slow
@settings(searched, max_examples=60)
@given(requests)
def test_it_does_what_a_dict_does_through_a_wal_store(tmp_path_factory, played):
    clock = FakeClock()
    path = tmp_path_factory.mktemp("wal")
    with WatchedWALStore(path, durable=False, clock=clock) as store:
        play(Site(store, clock=clock), played)


def test_it_can_be_looked_at_without_the_middleware(site):
    environ = environ_of(HTTP_COOKIE=site.header)
    assert dict(site.manager.open(environ)) == site.data[0]
