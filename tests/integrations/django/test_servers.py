"""A Django project that a real server serves, with four workers, to real clients."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from litesess import WALStore
from tests.tools.servers import (
    EXAMPLES,
    PATIENCE,
    SECRET,
    TOOLS,
    Server,
    gunicorn,
    wait_until,
)

pytestmark = pytest.mark.slow

#: So many threads that a worker which gets all requests that are held up has one left.
WORKERS = ("-w", "4", "--threads", "16")
MAKE_USERS = "import django_app; django_app.make_users()"


class Site(NamedTuple):
    """A project that is served, and its directory."""

    server: Server
    data: Path

    def get(self, browser: requests.Session, path: str) -> requests.Response:
        """Ask for a page."""
        return browser.get(self.server.url + path, timeout=PATIENCE)


@pytest.fixture(scope="module", params=["each worker for itself", "preload"])
def site(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serve the project by gunicorn with four workers."""
    data = tmp_path_factory.mktemp("django")
    environment = {"DJANGO_DATA": str(data)}
    make = [sys.executable, "-c", MAKE_USERS]
    subprocess.run(make, check=True, env=os.environ | environment, cwd=TOOLS, timeout=PATIENCE)
    options = ["--preload"] if request.param == "preload" else []
    command = gunicorn("django_app:application", TOOLS, *WORKERS, *options)
    with Server(command, data, environment) as server:
        yield Site(server, data)


@pytest.fixture
def browser() -> Iterator[requests.Session]:
    with requests.Session() as browser:
        browser.trust_env = False  # no proxy between
        yield browser


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def tab_of(browser: requests.Session) -> requests.Session:
    """Return another tab, which sends the cookie that the browser has now."""
    tab = requests.Session()
    tab.trust_env = False
    tab.cookies.update(browser.cookies)
    return tab


def hold(
    site: Site, pool: ThreadPoolExecutor, browser: requests.Session, name: str, rest: str
) -> Future[requests.Response]:
    """Send a request that has loaded its session when this returns, and waits."""
    answer = pool.submit(site.get, tab_of(browser), f"/held/{name}/{rest}")
    wait_until((site.data / f"{name}.arrived").exists, "the request is under way")
    return answer


def let_go(site: Site, *names: str) -> None:
    for name in names:
        (site.data / f"{name}.go").touch()


def test_overlapping_requests_that_change_different_keys_all_win(site, browser, pool):
    site.get(browser, "/set/a/0")
    names = [f"key{number}" for number in range(4)]
    answers = [hold(site, pool, browser, name, f"set/{name}/1") for name in names]
    site.get(browser, "/set/b/2")
    let_go(site, *names)
    assert {answer.result().status_code for answer in answers} == {200}
    held = site.get(browser, "/look").json()["values"]
    assert held == {"a": "0", "b": "2"} | dict.fromkeys(names, "1")


def test_a_logout_sticks_against_slow_requests(site, browser, pool):
    site.get(browser, "/login/ada")
    copy = tab_of(browser)
    slow = ["append/list/x", "set/a/1", "say/hello", "cycle"]
    answers = [hold(site, pool, browser, f"out{at}", rest) for at, rest in enumerate(slow)]
    assert site.get(browser, "/logout").json()["user"] is None
    let_go(site, *(f"out{at}" for at in range(len(slow))))
    for answer in answers:
        assert answer.result().status_code == 200
        assert "Set-Cookie" not in answer.result().headers
    assert site.get(copy, "/look").json() == {"user": None, "id": None, "values": {}}


def test_a_slow_request_from_before_a_login_changes_nothing_of_it(site, browser, pool):
    site.get(browser, "/set/a/0")
    answer = hold(site, pool, browser, "early", "set/a/planted")
    site.get(browser, "/login/alan")
    let_go(site, "early")
    assert answer.result().status_code == 200
    assert "Set-Cookie" not in answer.result().headers
    held = site.get(browser, "/look").json()
    assert (held["user"], held["values"]) == ("alan", {"a": "0"})


def test_messages_of_overlapping_requests_all_arrive(site, browser, pool):
    site.get(browser, "/set/a/0")
    names = [f"message{number}" for number in range(4)]
    answers = [hold(site, pool, browser, name, f"say/{name}") for name in names]
    let_go(site, *names)
    for answer in answers:
        answer.result().raise_for_status()
    assert sorted(site.get(browser, "/read").json()["said"]) == names


def test_a_count_by_atomic_is_right_whichever_worker_counts(site, browser, pool):
    site.get(browser, "/set/a/0")
    answers = [pool.submit(site.get, tab_of(browser), "/count") for _ in range(60)]
    counts = sorted(answer.result().json()["count"] for answer in answers)
    assert counts == [*range(1, 61)]


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Server]:
    """Serve the example as its docstring says."""
    environment = {"EXAMPLE_DATA": str(tmp_path / "data"), "SESSION_SECRET": SECRET}
    command = gunicorn("django_app", EXAMPLES, *WORKERS, "--preload")
    with Server(command, tmp_path, environment) as server:
        yield server


def send(browser: requests.Session, server: Server, **fields: str) -> str:
    """Send the form of the page; return the next page."""
    page = browser.get(server.url, timeout=PATIENCE).text
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    fields["csrfmiddlewaretoken"] = token
    answer = browser.post(server.url, data=fields, timeout=PATIENCE)
    answer.raise_for_status()
    return answer.text


def test_the_example_lists_devices_and_logs_out_the_others(example, tmp_path):
    browsers = {}
    for agent in "Mosaic", "Lynx <b>", "w3m":
        browsers[agent] = browser = requests.Session()
        browser.trust_env = False
        browser.headers["User-Agent"] = agent
        assert "Log in" in send(browser, example, username="ada", password="wrong")
        user = "alan" if agent == "w3m" else "ada"
        word = {"ada": "engine", "alan": "machine"}[user]
        page = send(browser, example, username=user, password=word)
        assert f"Devices of {user}" in page
    page = browsers["Lynx <b>"].get(example.url, timeout=PATIENCE).text
    found = re.findall(r"<li>(.*?), 127\.0\.0\.1, \w", page)
    assert sorted(found) == ["Lynx &lt;b&gt;", "Mosaic"]
    assert page.count("(this one)") == 1
    assert page.partition("(this one)")[0].rpartition("<li>")[2].startswith("Lynx")
    page = send(browsers["Lynx <b>"], example, others="")
    assert page.count("<li>") == 1
    titles = [browser.get(example.url, timeout=PATIENCE).text for browser in browsers.values()]
    assert ["Devices of" in title for title in titles] == [False, True, True]
    thief = tab_of(browsers["Lynx <b>"])
    assert "Log in" in send(browsers["Lynx <b>"], example, end="")
    assert "Log in" in thief.get(example.url, timeout=PATIENCE).text
    example.stop()
    with WALStore(tmp_path / "data") as store:
        assert [record.owner for _, record in store.records() if record.owner] == ["2"]
    for browser in browsers.values():
        browser.close()
