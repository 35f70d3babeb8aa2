"""What a project's settings say, what is wrong with them, and its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client, override_settings

from litesess import MemoryStore
from litesess.integrations.django import SessionMiddleware, SessionStore
from litesess.integrations.django import store as named_store
from litesess.stores.wal import WALOptions, WALStore
from litesess.web import ManagerOptions
from tests.tools.django_app import DJANGOS_MIDDLEWARE, middleware
from tests.tools.servers import ROOT


def found():
    """Return what the system checks say of litesess."""
    return {item.id: item.msg for item in run_checks() if item.id.startswith("litesess.")}


def test_right_settings_have_no_complaints(in_files):
    assert found() == {}
    assert not in_files.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"LITESESS_ABSOLUTE_TIMOUT": 5},
            ["LITESESS_ABSOLUTE_TIMOUT", "LITESESS_ABSOLUTE_TIMEOUT"],
        ),
        ({"LITESESS_ABSOLUTE_TIMEOUT": "soon"}, ["LITESESS_ABSOLUTE_TIMEOUT"]),
        ({"LITESESS_DURABLE": "perhaps"}, ["LITESESS_DURABLE", "perhaps"]),
        ({"LITESESS_PATH": None}, ["LITESESS_PATH is not set"]),
        ({"LITESESS_PATH": ""}, ["LITESESS_PATH"]),
        ({"LITESESS_STORE": 5, "LITESESS_PATH": None}, ["LITESESS_STORE", "int"]),
        (
            {"LITESESS_STORE": "mongodb://host", "LITESESS_PATH": None},
            ["LITESESS_STORE", "mongodb"],
        ),
        ({"LITESESS_STORE": "/elsewhere"}, ["LITESESS_PATH and LITESESS_STORE"]),
        ({"LITESESS_TTL": 60}, ["LITESESS_TTL", "SESSION_COOKIE_AGE"]),
        ({"LITESESS_SECRET": "x"}, ["LITESESS_SECRET", "not signed"]),
        ({"LITESESS_COOKIE_NAME": "x"}, ["LITESESS_COOKIE_NAME", "SESSION_COOKIE_NAME"]),
        ({"LITESESS_ENCRYPTION_KEY": "short"}, ["LITESESS_ENCRYPTION_KEY"]),
    ],
)
def test_what_is_wrong_is_named_with_its_cure(in_files, settings, words):
    with override_settings(**settings):
        assert found().keys() == {"litesess.E001"}
        for word in words:
            assert word in found()["litesess.E001"]
        with pytest.raises(ImproperlyConfigured) as caught:
            SessionMiddleware(lambda _request: None)
        for word in words:
            assert word in str(caught.value)
        assert "short" not in str(caught.value)


def test_each_wrong_setting_is_told(in_files):
    with override_settings(LITESESS_TTL=5, LITESESS_DURABEL=True, LITESESS_MAX_PER_OWNER="many"):
        complaints = [item.msg for item in run_checks() if item.id == "litesess.E001"]
    assert len(complaints) == 3


def test_an_option_of_another_kind_of_store_is_refused(in_files):
    with override_settings(LITESESS_STORE=MemoryStore(), LITESESS_PATH=None, LITESESS_DURABLE=True):
        assert "LITESESS_DURABLE" in found()["litesess.E001"]


@pytest.mark.parametrize("declaration", [WALOptions, ManagerOptions])
def test_each_option_is_a_setting_or_is_told_what_decides_instead(in_files, declaration):
    for name in declaration.__dataclass_fields__:
        if name in ("store", "clock"):
            continue
        with override_settings(**{f"LITESESS_{name.upper()}": object()}):
            (complaint,) = found().values()
        assert "unknown" not in complaint, name


def test_a_damaged_store_is_told_by_the_check(in_files):
    with WALStore(in_files) as store:
        store.clear()
    (file,) = [each for each in in_files.iterdir() if each.suffix == ".wal"]
    file.write_bytes(b"not a log at all" * 100)
    assert file.name in found()["litesess.E001"]


def test_what_has_no_effect_is_warned_of(in_files):
    with override_settings(
        SESSION_SERIALIZER="django.core.signing.JSONSerializer",
        MIDDLEWARE=middleware(DJANGOS_MIDDLEWARE),
    ):
        assert found().keys() == {"litesess.W002", "litesess.W003"}
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        assert found().keys() == {"litesess.W001"}


def test_a_directory_has_an_address_too(tmp_path):
    with override_settings(
        LITESESS_STORE=f"wal:{tmp_path / 'data'}?collection=shop", LITESESS_PATH=None
    ):
        SessionStore().save()
        assert [each.name.split(".")[0] for each in (tmp_path / "data").glob("shop*")]
        assert len(named_store) == 1
        assert named_store


def test_redis_has_one():
    with override_settings(
        LITESESS_STORE="redis://127.0.0.1:1/0?prefix=shop:", LITESESS_TIMEOUT=0.1
    ):
        assert found() == {}
        browser = Client(raise_request_exception=False)
        for page in "/set/a/1", "/look":  # at the end of the request, and in the view
            response = browser.get(page)
            assert response.status_code == 503
            assert response["Retry-After"] == "5"
            browser.cookies["sessionid"] = "a" * 32
        assert browser.get("/bare").status_code == 200
    with override_settings(
        LITESESS_STORE="redis://127.0.0.1:1/0",
        LITESESS_TIMEOUT=0.1,
        LITESESS_IF_UNAVAILABLE="anonymous",
    ):
        response = Client().get("/set/a/1")
        assert response.status_code == 200
        assert not response.cookies


@pytest.mark.parametrize("words", [["list"], ["stats"], ["gc"]])
def test_the_commands_are_those_of_the_command_line(in_files, words, capfd):
    Client().get("/login/ada")
    call_command("litesess", *words)
    assert capfd.readouterr().out


def test_the_operator_lists_and_ends_a_users_sessions(in_files, capfd):
    Client().get("/login/ada")
    Client().get("/login/alan")
    call_command("litesess", "list", "--json", "--owner", "1")
    (line,) = capfd.readouterr().out.splitlines()
    call_command("litesess", "revoke", json.loads(line)["handle"])
    assert [record.owner for _, record in named_store.records()] == ["2"]


def test_a_command_that_fails_ends_with_its_status(in_files):
    with pytest.raises(SystemExit) as caught:
        call_command("litesess", "show", "0123456789abcdef")
    assert caught.value.code not in (0, None)


@pytest.mark.slow
def test_the_command_line_takes_djangos_own_options(tmp_path):
    (tmp_path / "shop.py").write_text(
        "INSTALLED_APPS = ['litesess.integrations.django']\n"
        "SESSION_ENGINE = 'litesess.integrations.django'\n"
        f"SECRET_KEY = LITESESS_PATH = {str(tmp_path / 'data')!r}\n"
    )
    words = ["litesess", "stats", "--settings", "shop", "--json", f"--pythonpath={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "django", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout)["live"] == 0
    done = subprocess.run(
        [sys.executable, "-m", "django", "litesess", "show", "0123456789abcdef", *words[2:4]],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr


def test_the_name_stands_for_the_store(in_files):
    assert isinstance(named_store, WALStore)
    assert named_store.path == str(in_files)


def test_the_package_needs_no_app_to_be_found():
    """Django imports it for INSTALLED_APPS before any model may be imported."""
    code = (
        "import sys, litesess.integrations.django as door\n"
        "print('django' in sys.modules, *door.__all__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == ["False", "SessionMiddleware", "SessionStore", "store"]
