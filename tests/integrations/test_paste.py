"""PasteDeploy's two entry points, and gunicorn that serves an ini file."""

from __future__ import annotations

import sys

import pytest
from paste.deploy import loadapp
from webtest import TestApp

from litesess import ConfigError
from tests.tools.apps import SECRET
from tests.tools.servers import EXAMPLES, Client, Server

INI = """
[{kind}:main]
{use}

[filter:sessions]
use = egg:litesess
secret = {secret}
path = %(here)s/data
cookie.max_age = 600
{more}

[app:counter]
paste.app_factory = paste_app:counter
"""
PIPELINE = {"kind": "pipeline", "use": "pipeline = sessions counter"}
FILTER_APP = """
[filter-app:main]
use = egg:litesess
next = counter
secret = {secret}
path = %(here)s/data

[app:counter]
paste.app_factory = paste_app:counter
"""


@pytest.fixture(autouse=True)
def _examples_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))


def load(tmp_path, text):
    (tmp_path / "app.ini").write_text(text)
    return loadapp("config:app.ini", relative_to=str(tmp_path))


def visits(app):
    browser = TestApp(app)
    return [browser.get("/").text for _ in range(2)]


def test_a_pipeline_has_sessions(tmp_path):
    app = load(tmp_path, INI.format(secret=SECRET, more="", **PIPELINE))
    assert visits(app) == ["visit 1\n", "visit 2\n"]
    cookie = TestApp(app).get("/").headers["Set-Cookie"]
    assert "Max-Age=600" in cookie
    app.close()
    assert list((tmp_path / "data").glob("*.wal"))


def test_a_filter_around_one_app_has_sessions(tmp_path):
    app = load(tmp_path, FILTER_APP.format(secret=SECRET))
    assert visits(app) == ["visit 1\n", "visit 2\n"]
    app.close()


def test_a_mistyped_setting_is_refused_when_the_app_is_loaded(tmp_path):
    text = INI.format(secret=SECRET, more="rollling = true", **PIPELINE)
    with pytest.raises(ConfigError, match="unknown setting rollling; did you mean 'rolling'"):
        load(tmp_path, text)


@pytest.mark.slow
def test_gunicorn_serves_the_example_by_paste_and_sessions_outlive_it(tmp_path):
    ini = tmp_path / "app.ini"
    ini.write_text((EXAMPLES / "paste.ini").read_text())
    command = [
        sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "-w", "2",
        "--pythonpath", str(EXAMPLES), "--paste", str(ini),
        "--paste-global", f"session_secret={SECRET}",
    ]  # fmt: skip
    with Server(command, tmp_path) as server, Client(server) as client:
        assert client.request("GET", "/").text == "visit 1\n"
        assert client.request("GET", "/").text == "visit 2\n"
        server.stop()
    with Server(command, tmp_path) as client.server:
        assert client.request("GET", "/").text == "visit 3\n"
