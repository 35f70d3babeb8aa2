"""Flask apps whose sessions are kept by the extension: what their config says."""

from __future__ import annotations

import datetime
import subprocess
import sys

import flask
import pytest
from flask import Flask
from flask_talisman import Talisman

from litesess import (
    ConfigError,
    CookieSettings,
    MemoryStore,
    SessionMiddleware,
)
from litesess.integrations.flask import Litesess, session
from litesess.options import rows
from litesess.stores.wal import WALOptions
from litesess.testing import FakeClock
from litesess.web import ManagerOptions
from tests.tools.apps import OLD_SECRET, SECRET
from tests.tools.flask_apps import copy_of, data, make_app, only, said


@pytest.fixture
def lasting():
    """An app where a session may be permanent, for an hour."""
    app = make_app(PERMANENT_SESSION_LIFETIME=3600)

    @app.route("/stay/<word>")
    def stay(word):
        flask.session.permanent = word == "yes"
        flask.session["word"] = word
        return "stays"

    return app


def test_a_permanent_session_lives_as_long_as_the_config_says(lasting):
    client = lasting.test_client()
    assert said(client.get("/stay/yes"))["max-age"] == "3600"
    assert only(lasting).expires_at == lasting.clock() + 3600
    lasting.permanent_session_lifetime = datetime.timedelta(days=2)
    lasting.clock.advance(600)
    assert said(client.get("/set/a/1"))["max-age"] == "172800"
    assert only(lasting).expires_at == lasting.clock() + 172_800
    lasting.clock.advance(172_800)
    assert client.get("/look").json == {}


def test_one_that_is_not_ends_with_the_browser(lasting):
    client = lasting.test_client()
    assert "max-age" not in said(client.get("/stay/no"))
    assert only(lasting).expires_at == lasting.clock() + lasting.store.ttl


def test_it_may_become_so_and_cease_to_be(lasting):
    client = lasting.test_client()
    client.get("/stay/no")
    assert said(client.get("/stay/yes"))["max-age"] == "3600"
    assert "max-age" not in said(client.get("/stay/no"))
    assert said(client.get("/look")) is None


def test_a_permanent_session_is_announced_by_each_request_that_looks_at_it(lasting):
    client = lasting.test_client()
    client.get("/stay/yes")
    lasting.clock.advance(600)
    response = client.get("/look")
    assert said(response)["max-age"] == "3600"
    assert response.headers["Cache-Control"] == "private"
    assert only(lasting).expires_at == lasting.clock() + 3600


def test_unless_the_config_says_that_it_is_not(lasting):
    lasting.config["SESSION_REFRESH_EACH_REQUEST"] = False
    client = lasting.test_client()
    client.get("/stay/yes")
    assert said(client.get("/look")) is None
    assert said(client.get("/set/a/1"))["max-age"] == "3600"


def test_an_app_that_makes_every_session_permanent_begins_none_for_that_alone(lasting):
    @lasting.before_request
    def make_permanent():
        flask.session.permanent = True

    client = lasting.test_client()
    assert said(client.get("/")) is None
    assert data(lasting) == []
    assert said(client.get("/set/a/1"))["max-age"] == "3600"
    assert data(lasting) == [{"a": "1", "_permanent": True}]
    assert said(client.get("/clear"))["max-age"] == "0"
    assert data(lasting) == []
    client.get("/set/a/1")
    assert data(lasting) == [{"a": "1", "_permanent": True}]


def test_it_ceases_to_be_also_beside_a_change_that_is_stored_at_once(lasting):
    @lasting.route("/off")
    def off():
        flask.session.permanent = False
        session.atomic(lambda held: held.update(n=1))
        return "off"

    client = lasting.test_client()
    client.get("/stay/yes")
    response = client.get("/off")
    assert "max-age" not in said(response)
    assert client.get("/look").json == {"word": "yes", "n": 1, "_permanent": False}


def test_its_own_life_outweighs_the_configs(lasting):
    @lasting.route("/own")
    def own():
        session["own"] = session.permanent = True
        session.cookie.max_age = 60
        return "own"

    client = lasting.test_client()
    assert said(client.get("/own"))["max-age"] == "60"
    assert said(client.get("/look"))["max-age"] == "60"


def test_an_overlapping_login_keeps_a_permanent_sessions_life(lasting):
    client = lasting.test_client()

    @lasting.route("/slow")
    def slow():
        session["slow"] = 1
        with copy_of(client).session_transaction() as held:
            held.cookie.max_age = 7200
        return "slow"

    client.get("/stay/yes")
    client.get("/slow")
    assert only(lasting).expires_at == lasting.clock() + 7200


# The config.


@pytest.mark.parametrize(
    ("config", "attribute", "value"),
    [
        ({}, "path", "/"),
        ({}, "httponly", ""),
        ({}, "secure", None),
        ({}, "samesite", "Lax"),
        ({"SESSION_COOKIE_SECURE": False, "SESSION_COOKIE_SAMESITE": None}, "samesite", "Lax"),
        ({"LITESESS_COOKIE": {"samesite": None}}, "samesite", None),
        ({}, "domain", None),
        ({"SESSION_COOKIE_DOMAIN": "example.com"}, "domain", "example.com"),
        ({"SESSION_COOKIE_DOMAIN": False}, "domain", None),
        ({"SESSION_COOKIE_DOMAIN": ""}, "domain", None),
        ({"SESSION_COOKIE_DOMAIN": ".example.com"}, "domain", "example.com"),
        ({"SESSION_COOKIE_DOMAIN": "example.com:8080"}, "domain", "example.com"),
        ({"SESSION_COOKIE_DOMAIN": "localhost"}, "domain", "localhost"),
        ({"SESSION_COOKIE_DOMAIN": "b\u00fccher.example"}, "domain", "xn--bcher-kva.example"),
        ({"SESSION_COOKIE_PATH": "/shop"}, "path", "/shop"),
        ({"APPLICATION_ROOT": "/root"}, "path", "/root"),
        ({"SESSION_COOKIE_HTTPONLY": False}, "httponly", None),
        ({"SESSION_COOKIE_SECURE": True}, "secure", ""),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, "samesite", "Strict"),
        ({"SESSION_COOKIE_SAMESITE": "Lax"}, "samesite", "Lax"),
        (
            {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True},
            "samesite",
            "None",
        ),
        (
            {"SESSION_COOKIE_PARTITIONED": True, "SESSION_COOKIE_SECURE": True},
            "partitioned",
            "",
        ),
        ({"LITESESS_COOKIE": {"max_age": "60"}}, "max-age", "60"),
        ({"LITESESS_COOKIE": {"priority": "high"}}, "priority", "High"),
        ({"LITESESS_COOKIE": {"samesite": "strict"}}, "httponly", ""),
        ({"LITESESS_COOKIE": CookieSettings(path="/own")}, "path", "/own"),
        ({"LITESESS_COOKIE": lambda _environ: {"path": "/made"}}, "path", "/made"),
    ],
)
def test_the_cookies_attributes_are_those_of_the_config(config, attribute, value):
    client = make_app(**config).test_client()
    assert said(client.get("/set/a/1", base_url="http://example.com/")).get(attribute) == value


def test_a_secure_cookie_is_sent_though_a_proxy_says_nothing_of_https():
    app = make_app(SESSION_COOKIE_SECURE=True)
    client = app.test_client()
    client.get("/set/a/1")
    assert client.get("/look").json == {"a": "1"}


@pytest.mark.parametrize("key", ["SESSION_COOKIE_NAME", "LITESESS_COOKIE_NAME"])
def test_the_cookies_name_is_that_of_the_config(key):
    client = make_app(**{key: "sid"}).test_client()
    assert said(client.get("/set/a/1"), "sid") is not None
    assert client.get("/look").json == {"a": "1"}


def test_the_cookie_has_the_names_of_litesess_if_the_config_wants_it():
    client = make_app(LITESESS_COOKIE_NAME=None).test_client()
    assert said(client.get("/set/a/1"), "litesess.sid") is not None
    secure = client.get("/set/a/1", base_url="https://localhost")
    assert "secure" in said(secure, "__Host-litesess.sid")


def test_a_cookie_is_secure_over_https_as_by_default():
    client = make_app().test_client()
    cookie = said(client.get("/set/a/1", base_url="https://localhost"))
    assert {"secure", "httponly"} <= cookie.keys()


def test_what_the_config_says_of_the_cookie_later_counts():
    app = make_app()
    client = app.test_client()
    client.get("/set/a/1")
    app.config.update(
        SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_NAME="sid"
    )
    cookie = said(client.get("/set/b/2"), "sid")
    assert "secure" in cookie
    assert cookie["samesite"] == "Strict"
    assert client.get("/look").json == {"b": "2"}
    app.config["SESSION_COOKIE_NAME"] = "session"
    assert client.get("/look").json == {"a": "1"}


def test_a_cookie_from_before_https_is_set_anew():
    app = make_app(PERMANENT_SESSION_LIFETIME=600)
    client = app.test_client()
    client.get("/set/a/1")
    response = client.get("/look", base_url="https://localhost")
    assert response.json == {"a": "1"}
    assert "secure" in said(response)


def test_flask_talisman_makes_the_cookie_secure():
    app = make_app()
    Talisman(app, force_https=False)
    assert "secure" in said(app.test_client().get("/set/a/1"))


def test_what_the_config_says_wrongly_later_is_an_error_under_the_keys_name():
    app = make_app()
    app.testing = True
    app.config["SESSION_COOKIE_SAMESITE"] = "never"
    with pytest.raises(ConfigError, match="SESSION_COOKIE_SAMESITE 'never'"):
        app.test_client().get("/set/a/1")
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_NAME="a b")
    with pytest.raises(ConfigError, match="SESSION_COOKIE_NAME: cookie_name 'a b'"):
        app.test_client().get("/set/a/1")


def test_keys_of_flask_session_are_each_warned_of_with_what_to_do(caplog):
    keys = {
        "SESSION_TYPE": "LITESESS_PATH",
        "SESSION_PERMANENT": "session.permanent = True",
        "SESSION_FILE_DIR": "LITESESS_PATH",
        "SESSION_REDIS": "LITESESS_STORE = RedisStore",
        "SESSION_SQLALCHEMY_TABLE": "LITESESS_STORE",
        "SESSION_KEY_PREFIX": "LITESESS_COLLECTION",
    }
    app = make_app(**dict.fromkeys(keys, "x"), SESSION_OF_OUR_OWN=1)
    for _ in range(2):
        app.test_client().get("/set/a/1")
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(keys)
    for (key, advice), message in zip(keys.items(), messages, strict=True):
        assert message.startswith(f"{key} is a key of Flask-Session's")
        assert advice in message


def test_a_session_is_there_outside_the_cookies_path_too():
    app = make_app(SESSION_COOKIE_PATH="/shop")
    response = app.test_client().get("/set/a/1")
    assert said(response)["path"] == "/shop"


def test_a_former_secret_verifies_and_the_present_one_signs():
    store = MemoryStore()
    before = make_app(store, SECRET_KEY=OLD_SECRET, LITESESS_CLOCK=store.clock).test_client()
    old = said(before.get("/set/a/1"))["value"]
    after = make_app(store, SECRET_KEY_FALLBACKS=[OLD_SECRET], LITESESS_CLOCK=store.clock)
    client = after.test_client()
    client.set_cookie("session", old)
    response = client.get("/look")
    assert response.json == {"a": "1"}
    new = said(response)["value"]
    assert new != old
    alone = make_app(store, LITESESS_CLOCK=store.clock).test_client()
    alone.set_cookie("session", new)
    assert alone.get("/look").json == {"a": "1"}
    alone.set_cookie("session", old)
    assert alone.get("/look").json == {}


def test_a_secret_of_its_own_takes_the_place_of_flasks():
    store = MemoryStore()
    first = make_app(store, LITESESS_SECRET=OLD_SECRET, LITESESS_CLOCK=store.clock).test_client()
    value = said(first.get("/set/a/1"))["value"]
    second = make_app(store, SECRET_KEY=OLD_SECRET, LITESESS_CLOCK=store.clock).test_client()
    second.set_cookie("session", value)
    assert second.get("/look").json == {"a": "1"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "dev"}, "SECRET_KEY has 3 bytes, needs 16"),
        ({"SECRET_KEY": "changeme-changeme-1"}, "SECRET_KEY is a placeholder"),
        ({"SECRET_KEY_FALLBACKS": ["short"]}, "SECRET_KEY_FALLBACKS has 5 bytes"),
        ({"LITESESS_SECRET": "short"}, "LITESESS_SECRET has 5 bytes"),
        (
            {"LITESESS_ABSOLUT_TIMEOUT": 5},
            r"'LITESESS_ABSOLUT_TIMEOUT'; did you mean 'LITESESS_ABSOLUTE_TIMEOUT'",
        ),
        (
            {"LITESESS_PTAH": "x"},
            "unknown config key 'LITESESS_PTAH'; did you mean 'LITESESS_PATH'",
        ),
        ({"LITESESS_STORE": None}, "LITESESS_PATH is not set"),
        ({"LITESESS_STORE": 5}, "LITESESS_STORE is of type int, neither a S"),
        ({"LITESESS_STORE": "memory"}, "LITESESS_STORE: 'memory' is no address: write a Mem"),
        ({"LITESESS_STORE": "redis://h", "LITESESS_PATH": "x"}, "are both set"),
        ({"LITESESS_STORE": "redis://h", "LITESESS_DURABLE": True}, "DURABLE is no setting of a R"),
        ({"LITESESS_STORE": "redis://h?a=1"}, "LITESESS_STORE: unknown option 'a' in the URL"),
        ({"LITESESS_STORE": "redis://h", "LITESESS_TIMEOUT": 0}, "LITESESS_TIMEOUT 0 s is not"),
        ({"LITESESS_TTL": 60}, "LITESESS_STORE is a store; LITESESS_TTL is for"),
        ({"LITESESS_STORE": None, "LITESESS_PATH": 1}, "LITESESS_PATH: path is of type int"),
        ({"LITESESS_STORE": None, "LITESESS_PATH": "x", "LITESESS_TTL": 0}, "LITESESS_TTL 0 s"),
        ({"LITESESS_ROLLING": "maybe"}, "LITESESS_ROLLING 'maybe' is not True or False"),
        ({"LITESESS_COOKIE": {"max_ag": 5}}, "LITESESS_COOKIE: unknown cookie option 'max_ag'"),
        ({"LITESESS_COOKIE": 5}, "LITESESS_COOKIE: cookie is of type int"),
        ({"SESSION_COOKIE_SAMESITE": "never"}, "SESSION_COOKIE_SAMESITE 'never' is not"),
        ({"SESSION_COOKIE_DOMAIN": "a..b"}, "SESSION_COOKIE_DOMAIN: 'a..b' is not a host name"),
        ({"SESSION_COOKIE_DOMAIN": 5}, "cookie SESSION_COOKIE_DOMAIN is of type int"),
        (
            {"LITESESS_COOKIE": {"samesite": "none", "secure": False}},
            "LITESESS_COOKIE: cookie samesite 'none' needs",
        ),
        ({"PERMANENT_SESSION_LIFETIME": "3600"}, "PERMANENT_SESSION_LIFETIME '3600' is neither"),
        ({"PERMANENT_SESSION_LIFETIME": 10**15}, "PERMANENT_SESSION_LIFETIME 10{15} is neither"),
        ({"PERMANENT_SESSION_LIFETIME": None}, "PERMANENT_SESSION_LIFETIME is of type NoneType"),
        ({"PERMANENT_SESSION_LIFETIME": -5}, "PERMANENT_SESSION_LIFETIME -5.0 s is not"),
        ({"PERMANENT_SESSION_LIFETIME": 0}, "PERMANENT_SESSION_LIFETIME 0 s is not"),
        ({"SESSION_COOKIE_SECURE": 1}, "SESSION_COOKIE_SECURE 1 is not True, False"),
        ({"SESSION_COOKIE_NAME": "a b"}, "SESSION_COOKIE_NAME: cookie_name 'a b'"),
        ({"SESSION_COOKIE_NAME": None}, "SESSION_COOKIE_NAME is of type NoneType"),
        (
            {"LITESESS_COOKIE_NAME": "__Host-x", "LITESESS_COOKIE": {"secure": False}},
            "LITESESS_COOKIE_NAME: cookie_name '__Host-x' needs",
        ),
    ],
)
def test_a_config_that_cant_be_meant_is_refused_under_the_keys_name(config, message):
    with pytest.raises(ConfigError, match=message):
        make_app(**config)


def test_a_short_secret_is_warned_of_once_under_the_keys_name(caplog):
    make_app(SECRET_KEY=SECRET[:20])
    assert [record.getMessage()[:32] for record in caplog.records] == [
        "SECRET_KEY has 20 bytes, better "
    ]


def test_every_option_of_the_store_and_of_the_middleware_is_a_key(tmp_path):
    defaults = {
        f"LITESESS_{name.upper()}": item.default
        for cls in (ManagerOptions, WALOptions)
        for name, item in cls.__dataclass_fields__.items()
        if f"LITESESS_{name.upper()}" not in {"LITESESS_SECRET", "LITESESS_STORE"}
    }
    assert len(defaults) == len([*rows(ManagerOptions), *rows(WALOptions)]) - 3
    app = make_app(LITESESS_PATH=tmp_path / "data", **defaults)
    app.test_client().get("/set/a/1")
    assert data(app) == [{"a": "1"}]
    app.extension.close()


def test_options_may_be_text_as_an_environment_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASK_LITESESS_TTL", "60")
    monkeypatch.setenv("FLASK_LITESESS_PATH", str(tmp_path / "data"))
    monkeypatch.setenv("FLASK_LITESESS_GC_INTERVAL", "none")
    monkeypatch.setenv("FLASK_LITESESS_DURABLE", "off")
    app = Flask("shop")
    app.config["SECRET_KEY"] = SECRET
    app.config.from_prefixed_env()
    store = Litesess(app).store
    assert (store.ttl, store.gc_interval, store.path) == (60, None, str(tmp_path / "data"))


def test_a_key_encrypts_what_is_stored(tmp_path):
    app = make_app(LITESESS_PATH=tmp_path / "data", LITESESS_ENCRYPTION_KEY=bytes(range(32)))
    app.test_client().get("/set/needle/haystack")
    assert data(app) == [{"needle": "haystack"}]
    app.extension.close()
    files = [path.read_bytes() for path in (tmp_path / "data").iterdir()]
    assert not any(b"haystack" in content for content in files)


def test_a_session_taken_out_of_the_environ_is_destroyed_if_the_config_says_so():
    app = make_app(LITESESS_UNSET="destroy", LITESESS_ENVIRON_KEY="kept")

    @app.route("/unset")
    def unset():
        assert flask.request.environ["kept"]["a"] == "1"
        assert flask.request.environ["litesess.store"] is app.store
        del flask.request.environ["kept"]
        return "unset"

    client = app.test_client()
    client.get("/set/a/1")
    assert said(client.get("/unset"))["max-age"] == "0"
    assert data(app) == []


def test_an_event_is_told_and_the_client_known():
    told = []
    app = make_app(
        LITESESS_ON_EVENT=lambda event: told.append(event.name), LITESESS_CLIENT_INFO=True
    )
    client = app.test_client()
    client.get("/set/a/1", headers={"User-Agent": "Mosaic"})
    assert told == ["created"]
    assert only(app).client == {"user_agent": "Mosaic", "address": "127.0.0.1"}


# Several apps.


def test_one_extension_serves_several_apps_each_with_its_own_store():
    extension = Litesess()

    def create(name):
        app = Flask(name)
        app.config.update(SECRET_KEY=SECRET, LITESESS_STORE=MemoryStore())
        extension.init_app(app)
        app.add_url_rule(
            "/set/<value>", "/set/<value>", lambda value: session.update(a=value) or "set"
        )
        app.add_url_rule("/look", "/look", lambda: dict(session))
        app.add_url_rule("/boom", "/boom", lambda: session.update(a="boom") or 1 / 0)
        return app

    first, second = create("first"), create("second")
    one, two = first.test_client(), second.test_client()
    one.get("/set/1")
    two.get("/set/2")
    assert (one.get("/look").json, two.get("/look").json) == ({"a": "1"}, {"a": "2"})
    assert one.get("/boom").status_code == 500
    assert one.get("/look").json == {"a": "1"}
    with first.app_context():
        assert extension.store is first.config["LITESESS_STORE"]
    with second.app_context():
        assert extension.store is second.config["LITESESS_STORE"]
    with pytest.raises(RuntimeError, match="application context"):
        assert extension.store
    extension.close()


def test_two_apps_of_a_factory_may_share_a_directory(tmp_path):
    clock = FakeClock()
    first, second = (
        make_app(LITESESS_PATH=tmp_path / "data", LITESESS_CLOCK=clock) for _ in range(2)
    )
    client, other = first.test_client(), second.test_client()
    client.get("/set/a/1")
    other.set_cookie("session", client.get_cookie("session").value)
    assert other.get("/look").json == {"a": "1"}
    other.get("/clear")
    assert client.get("/look").json == {}
    first.extension.close()
    second.extension.close()


def test_a_middleware_of_ours_around_the_app_keeps_its_own_session():
    app = make_app()
    store = MemoryStore()
    app.wsgi_app = SessionMiddleware(app.wsgi_app, secret=SECRET, store=store, unset="destroy")

    @app.route("/both")
    def both():
        flask.request.environ["litesess.session"]["outer"] = 1
        session["inner"] = 1
        return "both"

    client = app.test_client()
    response = client.get("/both")
    assert said(response) is not None
    assert said(response, "litesess.sid") is not None
    assert client.get("/look").json == {"inner": 1}
    assert [record.data for _, record in store.records()] == [{"outer": 1}]


def test_importing_litesess_imports_no_framework():
    names = {"bottle", "click", "flask", "pyramid", "werkzeug"}
    code = f"import sys, litesess; print(sorted({names} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_address_of_redis_makes_a_store_there(monkeypatch):
    monkeypatch.setenv("FLASK_LITESESS_STORE", "redis://127.0.0.1:1/2?prefix=shop:")
    monkeypatch.setenv("FLASK_LITESESS_TIMEOUT", "0.2")
    monkeypatch.setenv("FLASK_SECRET_KEY", SECRET)
    app = Flask(__name__)
    app.config.from_prefixed_env()
    store = Litesess(app).store
    assert repr(store) == "<RedisStore redis://127.0.0.1:1/2 'shop:'>"
