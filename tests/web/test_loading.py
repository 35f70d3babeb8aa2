"""How a session begins, is found again, and what becomes of what can't be loaded."""

from __future__ import annotations

import logging

import pytest

import litesess
from litesess import ConfigError, MemoryStore, Record, SessionMiddleware, Store, StoreFailed
from litesess.engine import Put
from litesess.ids import key_of
from litesess.testing import FakeClock
from tests.tools.apps import (
    COOKIE,
    SECRET,
    Site,
    WatchedMemoryStore,
    environ_of,
    hello,
    look,
    serve,
    write,
)


class Plain(Store):
    """Keeps records in a dict, and knows nothing of ours."""

    def __init__(self) -> None:
        self.all: dict[str, Record] = {}

    def load(self, key):
        return self.all.get(key)

    def create(self, key, record):
        return self.all.setdefault(key, record) is record

    def update(self, key, changes, removed, **how):
        old = self.all.get(key)
        if old is None:
            return None
        data = {name: old.data[name] for name in old.data if name not in removed} | dict(changes)
        self.all[key] = Record(data, old.created_at, how["expires_at"] or old.expires_at)
        return self.all[key]

    def touch(self, key, expires_at, *, version=None):
        return key in self.all

    def rotate(self, old, new, changes, removed, **how):
        moved = self.update(old, changes, removed, **how)
        if moved is not None:
            self.all[new] = self.all.pop(old)
        return moved

    def replace(self, old, new, record):
        self.all.pop(old, None)
        self.all[new] = record

    def delete(self, key):
        return self.all.pop(key, None) is not None

    def records(self):
        return iter(self.all.items())

    def clear(self):
        self.all.clear()

    def collect(self):
        return 0

    def close(self):
        self.clear()


def count(session):
    session["n"] = session.get("n", 0) + 1
    return session["n"]


def test_the_building_blocks_are_public():
    assert {"Session", "Store", "Record", "CookieSettings", "MemoryStore", "WALStore"} < set(
        litesess.__all__
    )
    assert all(hasattr(litesess, name) for name in litesess.__all__)


def test_a_written_session_is_stored_and_announced():
    site = Site()
    response = site.visit(write(user="ada"))
    assert (response.said, len(site.store)) == ("set", 1)


def test_two_clients_have_two_sessions():
    site = Site()
    assert site.visit(count).value == site.visit(count, by=site.new_browser()).value == 1
    assert site.data == [{"n": 1}, {"n": 1}]


def test_data_persists_and_can_be_loaded_outside_a_request():
    site = Site()
    assert [site.visit(count).value for _ in range(3)] == [1, 2, 3]
    session_id = site.visit(lambda session: session.id).value
    record = site.store.load(key_of(session_id))
    assert record.data == {"n": 3}


def test_a_cookie_that_is_well_signed_and_unknown_begins_a_new_session_with_another_id():
    site = Site()
    site.visit(write(user="ada"))
    old = site.visit(lambda session: session.id).value
    site.store.clear()
    response = site.visit(lambda session: (dict(session), session.is_new, count(session)))
    assert response.value == ({}, True, 1)
    assert response.said == "set"
    assert site.visit(lambda session: session.id).value != old


def test_a_bare_id_selects_nothing():
    site = Site()
    session_id = site.visit(lambda session: (count(session), session.id)[1]).value
    response = site.visit(count, cookie=f"{COOKIE}={session_id}")
    assert (response.value, response.said) == (1, "set")


def test_a_bad_signature_does_not_reach_the_store():
    site = Site()
    site.visit(write(user="ada"))
    site.store.calls.clear()
    damaged = site.cookie[:-1] + ("A" if site.cookie[-1] != "A" else "B")
    assert site.visit(look, cookie=f"{COOKIE}={damaged}").value == {}
    assert site.store.calls == {}


@pytest.mark.parametrize("others", ['x="\\377"', 'j={"a":1}', "x[0]=1", "=nameless", "a,b=c"])
def test_a_foreign_cookie_disturbs_nothing(others):
    site = Site()
    site.visit(write(user="ada"))
    for header in f"{others}; {site.header}", f"{site.header}; {others}":
        assert site.visit(look, cookie=header).value == {"user": "ada"}


def test_two_live_sessions_at_once_are_none_and_the_client_forgets_them(caplog):
    site = Site(cookie={"domain": "example.com"})
    site.visit(write(user="ada"))
    thief = site.new_browser()
    site.visit(write(user="eve"), by=thief)
    both = f"{COOKIE}={thief.cookies[COOKIE]}; {site.header}"
    response = site.visit(write(a=1), cookie=both)
    (expired,) = response.set_cookies  # in the scope that ours is not in
    assert "Domain" not in expired
    assert "Max-Age=0" in expired
    assert "cookies of 2 sessions" in caplog.text
    assert site.visit(look, cookie=f"{COOKIE}={thief.cookies[COOKIE]}").value == {"user": "eve"}


def test_one_live_session_among_dead_and_forged_ones_wins():
    site = Site()
    site.visit(write(user="ada"))
    dead = site.manager.signer.sign("a" * 43)
    header = f"{COOKIE}=forged; {COOKIE}={dead}; {site.header}; {COOKIE}={dead}"
    assert site.visit(look, cookie=header).value == {"user": "ada"}


def test_an_empty_url_is_the_root():
    site = Site()
    response = serve(
        site.middleware,
        environ_of("", SCRIPT_NAME="")
        | {"test.action": write(a=1), "test.shape": None, "test.result": []},
    )
    assert "; Path=/" in response.set_cookies[0]


def test_the_id_can_be_read_and_not_set():
    site = Site()

    def act(session):
        first = session.id
        with pytest.raises(AttributeError):
            session.id = "mine"
        with pytest.raises(AttributeError):
            session.save = "x"
        with pytest.raises(AttributeError):
            session.colour = "red"
        return first == session.id

    assert site.visit(act).value is True
    assert site.data == []


def test_no_key_is_reserved():
    site = Site()
    data = {"save": "nope", "cookie": {"a": 1}, "id": 5, "_data": 1}
    site.visit(lambda session: session.update(data))
    assert site.visit(look).value == data
    assert site.visit(lambda session: session.save()).said == ""


# Ids of the app's own.


def test_an_id_of_the_apps_own_is_used_and_gets_the_environ():
    site = Site(genid=lambda environ: "own-" + environ["PATH_INFO"].strip("/"))
    assert site.visit(lambda s: (count(s), s.id)[1], path="/apple").value == "own-apple"
    assert site.visit(look).value == {"n": 1}


@pytest.mark.parametrize("made", ["", None, 5, b"bytes", "with space", "semi;colon", "x" * 129])
def test_an_id_that_cant_pass_through_a_header_is_refused(made):
    with pytest.raises(ConfigError, match="genid"):
        Site(genid=lambda _environ: made).visit(write(a=1))


def test_an_id_that_is_taken_is_asked_for_again():
    made = iter(["same", "same", "same", "other"])
    site = Site(genid=lambda _environ: next(made))
    site.visit(write(user="ada"))
    assert site.visit(lambda s: (count(s), s.id)[1], by=site.new_browser()).value == "other"
    assert site.data == [{"user": "ada"}, {"n": 1}]


def test_ids_that_are_always_taken_are_an_error_and_nobody_is_overwritten():
    site = Site(genid=lambda _environ: "same")
    site.visit(write(user="ada"))
    with pytest.raises(ConfigError, match="taken"):
        site.visit(write(user="eve"), by=site.new_browser())
    assert site.data == [{"user": "ada"}]


def test_no_id_is_made_for_a_session_that_is_not_written():
    made = []
    site = Site(genid=lambda _environ: made.append(1) or "x")
    site.visit(look)
    site.visit(None)
    assert made == []


# What can't be loaded.


def test_a_store_that_fails_surfaces_where_the_app_first_looks():
    site = Site()
    site.visit(write(a=1))
    site.store.failing["load"] = StoreFailed("boom!")
    with pytest.raises(StoreFailed, match="boom!"):
        site.visit(look)
    assert site.visit(None).body == b"hello"


def test_a_record_that_a_store_hands_back_after_its_end_is_not_believed():
    class Forgetful(WatchedMemoryStore):
        def load(self, key):
            return Record({"user": "ada"}, 0.0, site.clock() - 1)

    site = Site(Forgetful())
    site.visit(write(a=1))
    assert site.visit(look).value == {}


def test_a_record_that_makes_no_sense_is_absent_and_logged(caplog):
    site = Site()
    session_id = site.visit(lambda s: (count(s), s.id)[1]).value
    key = bytes.fromhex(key_of(session_id))
    site.store._engine.transact(lambda _s: ([Put(key, b"garbage", 1e12)], None), sync=False)
    assert site.visit(count).value == 1
    assert "can't be decoded" in caplog.text
    assert site.visit(count).value == 2


def test_a_store_of_somebody_elses_is_enough():
    site = Site(Plain())
    site.visit(write(cart=[1]))
    site.visit(lambda session: session["cart"].append((2, 3)))
    site.visit(lambda session: session.rotate())
    assert site.visit(look).value == {"cart": [1, (2, 3)]}
    assert site.visit(lambda session: session.destroy()).said == "expired"


def test_a_memory_store_under_several_processes_is_warned_of_once(caplog):
    caplog.set_level(logging.WARNING)
    site = Site(MemoryStore(clock=FakeClock()))
    for _ in range(3):
        site.visit(look, **{"wsgi.multiprocess": True})
    assert caplog.text.count("MemoryStore is not shared") == 1


def test_the_default_leaves_an_untouched_visitor_alone():
    site = Site()
    assert (site.visit(look).said, len(site.store)) == ("", 0)
    site.visit(write(a=1))
    assert site.writes_of(look) == {}


def test_rolling_must_be_a_boolean_and_the_environ_key_a_name():
    for wrong in {"rolling": "no"}, {"resave": 1}, {"environ_key": ""}, {"cookie": 5}:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            SessionMiddleware(hello, secret=SECRET, store=MemoryStore(), **wrong)
