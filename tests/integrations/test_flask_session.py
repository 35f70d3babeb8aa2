"""Coming from Flask-Session: users that are logged in there stay logged in."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from threading import Barrier, Thread

import flask
import pytest
from itsdangerous import Signer

from litesess import ConfigError, MemoryStore
from litesess.flask_session import FlaskSessionTransition
from litesess.flask_session.names import key_of_name, names_of
from litesess.ids import key_of
from litesess.integrations.flask import Litesess
from litesess.moving.cookies import OldSession
from litesess.testing import FakeClock
from tests.tools.apps import OLD_SECRET, SECRET
from tests.tools.flask_apps import said
from tests.tools.flask_sessions import FlaskSessionSite, browser, cookie_of, shop


class NewSite:
    """The app after the switch."""

    def __init__(self, path, kind=FlaskSessionTransition, **config):
        self.clock = FakeClock(time.time())
        config = {"LITESESS_PATH": str(path), "LITESESS_CLOCK": self.clock, **config}
        self.app = shop(**config)
        self.extension = kind(self.app)
        self.store = self.extension.store

    def me(self, cookie, header="session={}"):
        """Return the user that a request with a cookie is logged in as."""
        client = self.app.test_client(use_cookies=False)
        return client.get("/me", headers={"Cookie": header.format(cookie)}).text


@pytest.fixture
def switch(cli, tmp_path):
    """Return a function that imports the sessions, and returns the app after the switch."""
    sites = []

    def switch(old, **options):
        arguments = ["--create", tmp_path / "data", old.directory]
        assert cli("import-flask-session", *arguments).code == 0
        sites.append(NewSite(tmp_path / "data", **options))
        return sites[-1]

    yield switch
    for site in sites:
        site.extension.close()


@pytest.fixture
def old(tmp_path):
    return FlaskSessionSite(tmp_path / "old")


class TestTransition:
    @pytest.mark.parametrize("method", [hashlib.sha256, hashlib.md5])
    @pytest.mark.parametrize(
        "config",
        [{}, {"SESSION_USE_SIGNER": True}, {"SESSION_KEY_PREFIX": "é:"}, {"SESSION_ID_LENGTH": 16}],
        ids=str,
    )
    def test_nobody_is_logged_out(self, config, method, tmp_path, switch):
        old = FlaskSessionSite(tmp_path / "old", method, **config)
        cookies = {name: cookie_of(old.log_in(name)) for name in ("ada", "eve")}
        site = switch(old, **config)
        clients = {name: browser(site.app, cookie) for name, cookie in cookies.items()}
        for _ in range(3):
            for name, client in clients.items():
                assert client.get("/me").text == name
        assert len(site.store) == 2
        assert [len([*site.store.find(name)]) for name in clients] == [1, 1]

    def test_one_cookie_takes_the_place_of_the_other(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        client = browser(site.app, before)
        cookie = said(client.get("/me"))
        assert cookie["path"] == "/"
        assert cookie["max-age"] == str(31 * 86_400)  # permanent, as Flask-Session had it
        assert before not in cookie["value"]
        assert cookie_of(client) == cookie["value"]
        assert client.get("/set/a/1").text == "set"
        assert client.get("/look").json["a"] == "1"
        assert site.store.load(key_of_name(names_of(f"session:{before}")[0])) is None

    def test_a_logout_ends_the_old_cookie_too(self, old, switch, cli, tmp_path):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        client = browser(site.app, before)
        assert client.get("/me").text == "ada"
        assert client.get("/logout").text == "True"
        arguments = [tmp_path / "data", old.directory]
        assert cli("import-flask-session", *arguments, "--json").json["created"] == 0
        assert client.get("/me").text == site.me(before) == "nobody"

    def test_another_login_gives_an_id_that_the_old_cookie_does_not_find(self, old, switch):
        before = cookie_of(old.keep(cart="full"))
        site = switch(old)
        client = browser(site.app, before)
        client.get("/login/ada")
        assert client.get("/look").json["cart"] == "full"
        assert site.me(before) == "nobody"

    def test_requests_that_come_at_once_find_one_session(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        together, answers = Barrier(6), []

        def ask(number):
            client = browser(site.app, before)
            together.wait()
            client.get(f"/set/{number}/x")
            answers.append(client.get("/look").json)

        threads = [Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer["_user_id"] for answer in answers] == ["ada"] * 6
        ((_, record),) = site.store.records()
        assert {*"012345"} <= {*record.data}

    def test_a_request_that_another_one_overtakes_finds_it_too(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        load, answers = site.store.load, []

        def be_slow(key):
            found = load(key)
            site.store.load = load
            answers.append(site.me(before))
            return found

        site.store.load = be_slow
        answers.append(site.me(before))
        assert answers == ["ada", "ada"]

    def test_a_request_that_a_login_overtakes_can_t_log_the_user_out(self, old, switch):
        """Its cookie took the place of the login's."""
        before = cookie_of(old.keep(cart="full"))
        site = switch(old)
        client = browser(site.app, before)
        client.get("/login/ada")
        late = browser(site.app, before).get("/set/a/1")
        assert (late.text, said(late)) == ("set", None)
        assert client.get("/me").text == "ada"
        assert len(site.store) == 1
        site.clock.advance(61)
        assert said(browser(site.app, before).get("/set/a/1")) is not None

    @pytest.mark.parametrize("end", ["/logout", "/login/eve"])
    def test_a_second_session_of_the_same_cookie_stays_ended(self, end, tmp_path, old, switch):
        """Files by both hashes of cachelib were two sessions, and the second came back."""
        before = cookie_of(old.log_in("ada"))
        (path,) = old.files
        (tmp_path / "other").mkdir()
        other = tmp_path / "other" / names_of(f"session:{before}")[1]
        other.write_bytes(path.read_bytes())
        site = switch(old)
        switch(FlaskSessionSite(tmp_path / "other", hashlib.md5))
        assert len(site.store) == 2
        client = browser(site.app, before)
        assert client.get("/me").text == "ada"
        assert len(site.store) == 1
        client.get(end)
        assert site.me(before) == "nobody"
        site.clock.advance(7200)
        assert site.me(before) == "nobody"

    def test_an_import_after_a_login_is_no_error(self, old, switch):
        """The id that leads there was taken: each request with the old cookie was an error 500."""
        before = cookie_of(old.log_in("ada"))
        key = key_of_name(names_of(f"session:{before}")[0])
        site = switch(old)
        record = site.store.load(key)
        client = browser(site.app, before)
        client.get("/me")
        site.clock.advance(1800)
        client.get("/login/eve")
        site.clock.advance(1900)
        assert site.store.create(key, record)
        assert site.me(before) == "nobody"
        assert client.get("/me").text == "eve"

    def test_a_response_that_never_came_costs_nothing(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        for _ in range(3):
            assert site.me(before) == "ada"
            site.clock.advance(600)

    def test_a_cookie_of_litesess_goes_before(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        client = site.app.test_client()
        client.get("/login/eve")
        ours = cookie_of(client)
        assert site.me(f"{before}; session={ours}") == "eve"
        assert site.me(f"{ours}; session={before}") == "eve"

    def test_two_old_cookies_of_two_users_are_none(self, old, switch):
        one, two = (cookie_of(old.log_in(name)) for name in ("ada", "mallory"))
        site = switch(old)
        assert site.me(f"{one}; session={two}") == "nobody"
        assert site.me(f"{one}; session={one}") == "ada"

    def test_many_cookies_cost_four_look_ups_and_no_more(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        asked, load = [], site.store.load
        site.store.load = lambda key: (asked.append(key), load(key))[1]
        junk = "; ".join(f"session={number:043}" for number in range(200))
        assert site.me(f"{junk}; session={before}", "{}") == "nobody"
        assert len(asked) <= 4 * 4

    def test_the_end_of_a_session_holds(self, tmp_path, switch):
        old = FlaskSessionSite(tmp_path / "old", PERMANENT_SESSION_LIFETIME=600)
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        site.clock.advance(601)
        assert site.me(before) == "nobody"

    def test_a_session_that_is_not_permanent_ends_with_the_browser(self, tmp_path, switch):
        old = FlaskSessionSite(tmp_path / "old", SESSION_PERMANENT=False)
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        cookie = said(browser(site.app, before).get("/me"))
        assert "max-age" not in cookie
        site.clock.advance(site.store.ttl + 1)
        assert site.me(before) == "nobody"

    def test_without_it_everybody_is_a_stranger(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        assert switch(old, kind=Litesess).me(before) == "nobody"

    def test_when_it_is_taken_out_those_who_came_stay(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        client = browser(switch(old).app, before)
        assert client.get("/me").text == "ada"
        site = switch(old, kind=Litesess)
        assert site.me(cookie_of(client)) == "ada"

    def test_a_new_user_gets_a_session_as_with_litesess(self, old, switch):
        old.log_in("ada")
        site = switch(old)
        client = site.app.test_client()
        assert said(client.get("/me")) is None
        client.get("/login/eve")
        assert client.get("/me").text == "eve"


class TestCookies:
    def test_that_are_forged_are_nobody_s(self, old, switch):
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        for forged in (
            before[:-1], f"{before}A", before.swapcase(), f"{before}.", f" {before} x", "",
            f"session:{before}", names_of(f"session:{before}")[0], f"../{before}", "é" * 43,
            f"{before}.{before}", key_of_name(names_of(f"session:{before}")[0]), "A" * 5000,
        ):  # fmt: skip
            assert site.me(forged) == "nobody", forged
        assert site.me(f"{before}; padding={'x' * 20_000}") == "nobody"
        assert site.me(before) == "ada"

    def test_that_are_signed_need_the_right_signature(self, tmp_path, switch):
        config = {"SESSION_USE_SIGNER": True}
        old = FlaskSessionSite(tmp_path / "old", **config)
        before = cookie_of(old.log_in("ada"))
        old_id, _, signature = before.partition(".")
        site = switch(old, **config)
        other = Signer(OLD_SECRET, salt="flask-session", key_derivation="hmac")
        elsewhere = Signer(SECRET, salt="another", key_derivation="hmac")
        for forged in (
            old_id, f"{old_id}.", f"{old_id}.{signature[:-1]}", f"{old_id}.{signature[::-1]}",
            other.sign(old_id).decode(), elsewhere.sign(old_id).decode(), f"{old_id}.A",
            f"{before}.{signature}",
        ):  # fmt: skip
            assert site.me(forged) == "nobody", forged
        assert site.me(before) == "ada"

    def test_that_are_signed_with_an_older_secret_count(self, tmp_path, switch):
        old = FlaskSessionSite(tmp_path / "old", SESSION_USE_SIGNER=True)
        before = cookie_of(old.log_in("ada"))
        config = {"SECRET_KEY": OLD_SECRET, "SECRET_KEY_FALLBACKS": [SECRET]}
        assert switch(old, SESSION_USE_SIGNER=True, **config).me(before) == "ada"

    def test_that_one_older_secret_has_signed_count_and_no_part_of_it_signs(self, tmp_path, switch):
        """Each character of it was a secret."""
        old = FlaskSessionSite(tmp_path / "old", SESSION_USE_SIGNER=True)
        before = cookie_of(old.log_in("ada"))
        config = {"SECRET_KEY": OLD_SECRET, "SECRET_KEY_FALLBACKS": SECRET}
        site = switch(old, SESSION_USE_SIGNER=True, **config)
        part = Signer(SECRET[0], salt="flask-session", key_derivation="hmac")
        assert site.me(part.sign(before.partition(".")[0]).decode()) == "nobody"
        assert site.me(before) == "ada"

    def test_that_are_too_short_are_nobody_s(self, tmp_path, switch):
        old = FlaskSessionSite(tmp_path / "old", SESSION_ID_LENGTH=8)
        before = cookie_of(old.log_in("ada"))
        assert switch(old).me(before) == "nobody"

    def test_have_the_name_that_flask_session_gave_them(self, tmp_path, switch):
        old = FlaskSessionSite(tmp_path / "old", SESSION_COOKIE_NAME="sid")
        client = old.log_in("ada")
        before = client.get_cookie("sid").value
        site = switch(old, SESSION_COOKIE_NAME="sid")
        assert site.me(before) == "nobody"
        assert site.me(before, "sid={}") == "ada"
        site = switch(old, SESSION_COOKIE_NAME="sid", LITESESS_COOKIE_NAME="ours")
        client = site.app.test_client()
        client.set_cookie("sid", before)
        assert said(client.get("/me"), "ours") is not None

    def test_appear_in_no_log_and_no_repr(self, old, switch, caplog):
        caplog.set_level(logging.DEBUG)
        before = cookie_of(old.log_in("ada"))
        site = switch(old)
        assert site.me(before) == "ada"
        hidden = [before, *names_of(f"session:{before}")]
        assert not [text for text in hidden if text in caplog.text]
        assert repr(OldSession(("k",), "secret")) == "<OldSession>"
        cookies = site.app.extensions["litesess"].old_cookies
        assert not re.search(f"{before}|{SECRET}", repr(cookies))

    def test_of_an_id_that_litesess_has_made_lead_nowhere(self, old, switch):
        old.log_in("ada")
        site = switch(old)
        client = site.app.test_client()
        client.get("/login/eve")
        with client.session_transaction() as session:
            ours = session.id
        assert site.store.load(key_of(ours)) is not None
        assert site.me(ours) == "nobody"


class TestConfig:
    @pytest.mark.parametrize(
        ("config", "cure"),
        [
            ({"SESSION_KEY_PREFIX": b"x"}, "SESSION_KEY_PREFIX is of type bytes, not str"),
            ({"SESSION_KEY_PREFIX": None}, "SESSION_KEY_PREFIX is of type NoneType, not str"),
            ({"SESSION_ID_LENGTH": 8}, "SESSION_ID_LENGTH 8 bytes: .*use Litesess"),
            ({"SESSION_ID_LENGTH": "32"}, "SESSION_ID_LENGTH '32'"),
            ({"SECRET_KEY": None, "LITESESS_SECRET": SECRET, "SESSION_USE_SIGNER": True},
             "SESSION_USE_SIGNER is set, but not SECRET_KEY"),
            ({"SECRET_KEY": None}, "SECRET_KEY is not set"),
            ({"LITESESS_PTAH": "x"}, "LITESESS_PTAH"),
        ],
        ids=str,
    )  # fmt: skip
    def test_that_is_wrong_is_refused_by_its_name(self, config, cure):
        app = shop(**{"LITESESS_STORE": MemoryStore(), **config})
        with pytest.raises(ConfigError, match=cure):
            FlaskSessionTransition(app)

    def test_that_has_an_effect_is_not_warned_of(self, caplog):
        config = {"SESSION_KEY_PREFIX": "x", "SESSION_USE_SIGNER": True, "SESSION_ID_LENGTH": 32}
        app = shop(LITESESS_STORE=MemoryStore(), SESSION_TYPE="filesystem", **config)
        FlaskSessionTransition(app)
        (record,) = caplog.records
        assert record.getMessage().startswith("SESSION_TYPE is a key of Flask-Session's")
        caplog.clear()
        Litesess(shop(LITESESS_STORE=MemoryStore(), **config))
        assert len(caplog.records) == 3

    def test_is_each_app_s_own(self):
        extension = FlaskSessionTransition()
        for prefix in "a", "b":
            app = shop(LITESESS_STORE=MemoryStore(), SESSION_KEY_PREFIX=prefix)
            extension.init_app(app)
            with app.test_request_context():
                assert flask.session == {}
