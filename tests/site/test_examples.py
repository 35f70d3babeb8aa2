"""Each example, started as its docstring says and walked by a real client."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from litesess import WALStore
from tests.tools.servers import EXAMPLES, LOGIN, SECRET, Client, Server, ask, gunicorn

pytestmark = pytest.mark.slow

FLASK = [sys.executable, "-m", "flask", "--app", "flask_app", "run", "--port", "{port}"]
WAITRESS = [sys.executable, "-m", "waitress", "--listen", "127.0.0.1:{port}"]
BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("login") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Server]:
    environment = {"EXAMPLE_DATA": str(data), "SESSION_SECRET": SECRET}
    with Server(LOGIN, data.parent, environment) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client


class TestLogin:
    def test_nothing_is_stored_for_a_visitor(self, client: Client, data: Path) -> None:
        for path in "/", "/me", "/nowhere":
            assert "Set-Cookie" not in client.request("GET", path).headers
        assert client.request("POST", "/login").status_code == 403
        assert client.cookie is None
        # The store opens at its first operation, and there was none.
        assert not data.exists()

    def test_a_browser_logs_in_and_out_by_forms(self, client: Client) -> None:
        page = client.request("GET", "/", headers=BROWSER)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<h1>Hello stranger</h1>" in page.text
        assert '<form method="post" action="login">' in page.text
        fields = {"name": "grace", "password": "compiler"}
        page = client.request("POST", "/login", data=fields, headers=BROWSER)
        assert [answer.status_code for answer in page.history] == [303]
        assert page.url == f"{client.server.url}/"
        assert "<h1>Hello grace</h1>" in page.text
        assert "&quot;user&quot;: &quot;grace&quot;" in page.text
        page = client.request("POST", "/logout", headers=BROWSER)
        assert page.url == f"{client.server.url}/"
        assert "<h1>Hello stranger</h1>" in page.text
        assert client.cookie is None

    @pytest.mark.parametrize("kind", ["json", "data"])
    def test_a_program_logs_in_and_out_by(self, client: Client, kind: str) -> None:
        fields = {"name": "alan", "password": "machine"}
        answer = client.request("POST", "/login", **{kind: fields}).json()
        assert answer == client.me() == {"user": "alan", "handle": answer["handle"]}
        assert client.request("POST", "/logout").json() == client.me() == {"user": None}

    def test_the_cookie_is_hidden_from_scripts_and_other_sites(self, client: Client) -> None:
        fields = {"name": "ada", "password": "engine"}
        response = client.request("POST", "/login", json=fields)
        _, *attributes = response.headers["Set-Cookie"].split("; ")
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax"]
        assert response.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        "fields",
        [
            {"name": "ada", "password": "wrong"},
            {"name": "ada", "password": ""},
            {"name": "ada", "password": "\ud800"},
            {"name": "ada"},
            {"name": "nobody", "password": ""},
            {"name": ["ada"], "password": {"engine": 1}},
            {"name": "<script>", "password": None},
            {},
        ],
    )
    def test_who_gives_no_right_password_stays_a_stranger(
        self, client: Client, fields: dict[str, object]
    ) -> None:
        response = client.request("POST", "/login", json=fields)
        assert (response.status_code, response.json()) == (403, {"error": "403 Forbidden"})
        response = client.request("POST", "/login", json=fields, headers=BROWSER)
        assert "<h1>403 Forbidden</h1>" in response.text
        assert "<script>" not in response.text
        assert client.cookie is None

    @pytest.mark.parametrize("body", ["{", "[1]", "1", "[" * 1024, b"\xff", "null"])
    def test_a_body_that_is_no_object_is_refused(self, client: Client, body: str | bytes) -> None:
        headers = {"Content-Type": "application/json"}
        response = client.request("POST", "/login", data=body, headers=headers)
        assert response.status_code == 400

    def test_a_large_body_is_refused(self, client: Client) -> None:
        assert client.request("POST", "/login", data="a" * 1025).status_code == 413

    def test_a_link_changes_nothing(self, client: Client) -> None:
        client.log_in()
        assert client.request("GET", "/logout").status_code == 404
        assert client.me()["user"] == "ada"

    def test_a_secret_is_made_once_and_kept_private(self, tmp_path: Path) -> None:
        data = tmp_path / "above" / "data"
        environment = {"EXAMPLE_DATA": str(data)}
        with Server(LOGIN, tmp_path, environment, umask=0) as server, Client(server) as client:
            client.log_in()
            cookie = client.cookie
            server.stop()
        assert (data / "secret").stat().st_mode & 0o7777 == 0o600
        assert data.stat().st_mode & 0o7777 == 0o700
        with Server(LOGIN, tmp_path, environment) as server:
            assert ask(server, cookie) == "ada"


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the example by gunicorn with two workers."""
    directory = tmp_path_factory.mktemp("devices")
    command = gunicorn("devices:application", EXAMPLES / "devices", "-w", "2")
    environment = {"EXAMPLE_DATA": str(directory / "data"), "SESSION_SECRET": SECRET}
    with Server(command, directory, environment) as server:
        yield server


@pytest.fixture
def browsers(devices: Server) -> Iterator[list[Client]]:
    with ExitStack() as clients:
        yield [clients.enter_context(Client(devices)) for _ in range(3)]


class TestDevices:
    @staticmethod
    def log_in(client: Client, agent: str, name: str = "ada") -> str:
        password = {"ada": "engine", "alan": "machine"}[name]
        client.request("POST", "/logout")
        page = client.request(
            "POST",
            "/login",
            data={"name": name, "password": password},
            headers={"User-Agent": agent},
        )
        assert page.url.endswith("/"), page.text
        return page.text

    @staticmethod
    def token_in(page: str) -> str:
        return page.partition('name="token" value="')[2].partition('"')[0]

    def end_all(self, client: Client, page: str) -> None:
        data = {"token": self.token_in(page)}
        client.request("POST", "/devices/sign-out-others", data=data)

    def test_each_device_is_listed_with_its_browser_address_and_times(
        self, browsers: list[Client]
    ) -> None:
        self.end_all(browsers[0], self.log_in(browsers[0], "Mosaic/1.0"))
        self.log_in(browsers[1], "Lynx <script>")
        page = browsers[0].request("GET", "/").text
        assert page.count("<tr><td>") == 2
        assert "Mosaic/1.0" in page
        assert "Lynx &lt;script&gt;" in page
        assert page.count("127.0.0.1") == 2
        assert page.count("this one") == 1
        assert len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", page)) == 4

    def test_one_device_is_signed_out(self, browsers: list[Client]) -> None:
        for client, agent in zip(browsers, ["one", "two", "three"], strict=True):
            page = self.log_in(client, agent)
        row = next(row for row in page.split("<tr>") if "<td>two" in row)
        handle = row.partition("/devices/")[2].partition("/")[0]
        data = {"token": self.token_in(page)}
        page = browsers[2].request("POST", f"/devices/{handle}/sign-out", data=data).text
        assert "<td>two" not in page
        assert "<h1>Log in</h1>" in browsers[1].request("GET", "/").text
        assert "Your devices, ada" in browsers[0].request("GET", "/").text

    def test_all_others_are_signed_out_and_nobody_else(self, browsers: list[Client]) -> None:
        self.log_in(browsers[0], "ada's first")
        self.log_in(browsers[1], "alan's", "alan")
        page = self.log_in(browsers[2], "ada's second")
        self.end_all(browsers[2], page)
        pages = [client.request("GET", "/").text for client in browsers]
        assert "<h1>Log in</h1>" in pages[0]
        assert "Your devices, alan" in pages[1]
        assert pages[2].count("<tr><td>") == 1

    def test_nobody_signs_out_somebody_elses_device(self, browsers: list[Client]) -> None:
        self.log_in(browsers[0], "alan's", "alan")
        alan = browsers[1]
        self.log_in(alan, "alan's second", "alan")
        row = next(row for row in alan.request("GET", "/").text.split("<tr>") if "sign-out" in row)
        handle = row.partition("/devices/")[2].partition("/")[0]
        data = {"token": self.token_in(self.log_in(browsers[2], "ada's"))}
        browsers[2].request("POST", f"/devices/{handle}/sign-out", data=data)
        assert all("alan" in client.request("GET", "/").text for client in browsers[:2])

    def test_a_form_of_another_site_or_from_before_the_login_does_nothing(
        self, browsers: list[Client]
    ) -> None:
        client = browsers[0]
        before = self.token_in(self.log_in(client, "one"))
        for data in {}, {"token": "forged"}, {"token": "\u00e9"}:
            answer = client.request("POST", "/devices/sign-out-others", data=data)
            assert answer.status_code == 403
        self.log_in(client, "two", "alan")  # another owner
        answer = client.request("POST", "/logout", data={"token": before})
        assert answer.status_code == 403
        assert "Your devices, alan" in client.request("GET", "/").text


def test_each_example_of_one_file_is_short() -> None:
    lengths = {file.name: len(file.read_text().splitlines()) for file in EXAMPLES.glob("*.py")}
    assert len(lengths) >= 8
    assert lengths.pop("django_app.py") < 80  # with the settings of a project
    assert {name: length for name, length in lengths.items() if length >= 60} == {}


@pytest.mark.parametrize("name", ["raw_wsgi", "bottle_app", "pyramid_app"])
def test_each_client_has_its_own_count_which_outlives_the_server(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    with Server(command, tmp_path, {"SESSION_SECRET": SECRET}) as server, Client(server) as client:
        assert client.request("GET", "/").text == "visit 1\n"
        assert client.request("GET", "/").text == "visit 2\n"
        with Client(server) as other:
            assert other.request("GET", "/").text == "visit 1\n"
        server.stop()
    with Server(command, tmp_path, {"SESSION_SECRET": SECRET}) as client.server:
        assert client.request("GET", "/").text == "visit 3\n"


def test_who_wants_to_be_remembered_gets_a_cookie_that_lasts(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "remember_me.py")]
    with Server(command, tmp_path, {"SESSION_SECRET": SECRET}) as server:
        with Client(server) as client:
            assert "Remember me" in client.request("GET", "/").text
            assert client.cookie is None
            fields = {"name": "ada", "remember": "on"}
            response = client.request("POST", "/", data=fields)
            assert response.text == "ada, page 1\n"
            assert "Max-Age=1209600" in response.headers["Set-Cookie"]
            assert client.request("GET", "/").text == "ada, page 2\n"
        with Client(server) as client:
            response = client.request("POST", "/", data={"name": "<b>"})
            assert response.text == "&lt;b&gt;, page 1\n"
            response = client.request("POST", "/", data={"name": "alan"})
            assert "Max-Age" not in response.headers["Set-Cookie"]
            assert client.request("GET", "/").text == "alan, page 2\n"


def test_a_session_is_changed_while_its_page_is_sent(tmp_path: Path) -> None:
    command = gunicorn("streaming:application", EXAMPLES)
    with (
        Server([*command, "--chdir", str(tmp_path), "--pythonpath", str(EXAMPLES)], tmp_path,
               {"SESSION_SECRET": SECRET}) as server,
        Client(server) as client,
    ):  # fmt: skip
        pages = [client.request("GET", "/").text for _ in range(2)]
        server.stop()
    parts = "part 0\npart 1\npart 2\nanother id can't be announced any more\n"
    assert pages == [f"download {number}\n{parts}" for number in (1, 2)]
    with WALStore(tmp_path / "data") as store:
        assert [record.data for _, record in store.records()] == [{"downloads": 2, "parts": 3}]


def test_several_workers_count_the_visits_of_one_client_together(tmp_path: Path) -> None:
    command = gunicorn("workers:application", EXAMPLES, "-w", "4", "--preload")
    environment = {"EXAMPLE_DATA": str(tmp_path / "data"), "SESSION_SECRET": SECRET}
    with Server(command, tmp_path, environment) as server, Client(server) as client:
        client.request("GET", "/")
        cookies = client.http.cookies.get_dict()

        def visit(_: int) -> str:
            return requests.get(server.url, cookies=cookies, timeout=30).text

        with ThreadPoolExecutor(8) as pool:
            pages = [*pool.map(visit, range(200))]
        assert "visit 202," in client.request("GET", "/").text
    visits, workers = zip(*(re.findall(r"\d+", page) for page in pages), strict=True)
    assert sorted(map(int, visits)) == [*range(2, 202)]
    assert len(set(workers)) > 1


@pytest.mark.parametrize(
    "command",
    [
        gunicorn("flask_app:app", EXAMPLES, "-w", "2", "--preload"),
        [*FLASK, "--debug"],  # with the reloader: a parent that only watches, and a child
        [*WAITRESS, "flask_app:app"],
    ],
    ids=["gunicorn", "flask run", "waitress"],
)
def test_flask_lets_users_in_and_out_also_after_a_restart(
    command: list[str], tmp_path: Path
) -> None:
    environment = {"EXAMPLE_DATA": str(tmp_path / "data"), "SESSION_SECRET": SECRET}
    environment["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES), *sys.path])
    ada = {"name": "ada", "password": "engine"}
    with Server(command, tmp_path, environment) as server, Client(server) as client:
        assert "<h1>Hello stranger</h1>" in client.request("GET", "/").text
        assert "session" not in client.http.cookies
        assert not (tmp_path / "data").exists()
        page = client.request("POST", "/login", data=ada | {"password": "wrong"})
        assert "No such name and password." in page.text
        page = client.request("POST", "/login", data=ada)
        assert "<h1>Hello ada</h1>" in page.text
        assert "No such name" not in page.text
        server.kill()
    with Server(command, tmp_path, environment) as client.server, Client(client.server) as thief:
        assert "Visit 2" in client.request("GET", "/").text
        thief.http.cookies.update(client.http.cookies)
        assert "<h1>Hello stranger</h1>" in client.request("POST", "/logout").text
        assert "<h1>Hello stranger</h1>" in thief.request("GET", "/").text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the example of Flask-Login and Flask-WTF by gunicorn with two workers."""
    directory = tmp_path_factory.mktemp("flask_login")
    environment = {"EXAMPLE_DATA": str(directory / "data"), "SESSION_SECRET": SECRET}
    command = gunicorn("flask_login_app:app", EXAMPLES, "-w", "2")
    with Server(command, directory, environment) as server:
        yield server


@pytest.fixture
def clients(site: Server) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(site)) for _ in range(3)]
        yield clients
        for client in clients:
            TestFlaskLogin.send(client, client.request("GET", "/").text, end="Log out")


class TestFlaskLogin:
    @staticmethod
    def send(client: Client, page: str, **fields: str) -> requests.Response:
        """Send the form of *page* with these fields."""
        found = re.search(r'name="csrf_token" type="hidden" value="([^"]+)"', page)
        data = {**({"csrf_token": found[1]} if found else {}), **fields}
        return client.request("POST", "/", data=data)

    def log_in(self, client: Client, user: str, agent: str = "Lynx") -> str:
        client.http.headers["User-Agent"] = agent
        page = client.request("GET", "/").text
        password = {"ada": "engine", "alan": "machine"}[user]
        page = self.send(client, page, user=user, password=password, begin="Log in").text
        assert f"<h1>Devices of {user}</h1>" in page
        return page

    @staticmethod
    def users(clients: list[Client]) -> list[str]:
        pages = [client.request("GET", "/").text for client in clients]
        return ["".join(re.findall(r"<h1>Devices of (\w+)", page)) for page in pages]

    def test_all_other_devices_of_a_user_are_logged_out_and_nobody_elses(
        self, clients: list[Client]
    ) -> None:
        here, there, alan = clients
        page = self.log_in(here, "ada")
        self.log_in(there, "ada")
        self.log_in(alan, "alan")
        page = self.send(here, page, others="Log out all others").text
        assert page.count("<li>") == 1
        assert self.users(clients) == ["ada", "", "alan"]
        self.log_in(there, "ada")
        assert self.users(clients) == ["ada", "ada", "alan"]

    def test_each_device_is_listed_with_its_browser_address_and_time(
        self, clients: list[Client]
    ) -> None:
        self.log_in(clients[0], "ada", "Mosaic/1.0")
        page = self.log_in(clients[1], "ada", "Lynx <script>")
        assert page.count("<li>") == 2
        assert "<li>Mosaic/1.0, 127.0.0.1, " in page
        assert "<li>Lynx &lt;script&gt;, 127.0.0.1, " in page
        assert len(re.findall(r"\d\d:\d\d:\d\d 20\d\d", page)) == 2
        this = page.partition("(this one)")[0].rpartition("<li>")[2]
        assert this.startswith("Lynx")

    def test_the_old_cookie_is_no_login_after_the_logout(self, clients: list[Client]) -> None:
        client, thief, _ = clients
        page = self.log_in(client, "ada")
        thief.http.cookies.update(client.http.cookies)
        assert self.users(clients) == ["ada", "ada", ""]
        assert "<h1>Log in</h1>" in self.send(client, page, end="Log out").text
        assert self.users(clients) == ["", "", ""]

    def test_a_form_without_this_sessions_token_does_nothing(self, clients: list[Client]) -> None:
        client, other, _ = clients
        before = client.request("GET", "/").text
        foreign = other.request("GET", "/").text
        self.log_in(client, "ada")
        for page in "", before, foreign:
            for fields in {"end": "Log out"}, {"others": "Log out all others"}:
                answer = self.send(client, page, **fields)
                assert "<h1>Devices of ada</h1>" in answer.text
        login = {"user": "alan", "password": "machine", "begin": "Log in"}
        assert "<h1>Log in</h1>" in self.send(other, before, **login).text

    @pytest.mark.parametrize(
        ("user", "password"),
        [("ada", "wrong"), ("ada", ""), ("nobody", ""), ("", ""), ("ada", "\u00e9")],
    )
    def test_who_gives_no_right_password_stays_a_stranger(
        self, clients: list[Client], user: str, password: str
    ) -> None:
        page = clients[0].request("GET", "/").text
        page = self.send(clients[0], page, user=user, password=password, begin="Log in").text
        assert "<h1>Log in</h1>" in page

    def test_strangers_log_nobody_out(self, clients: list[Client]) -> None:
        self.log_in(clients[0], "ada")
        page = clients[1].request("GET", "/").text
        self.send(clients[1], page, others="Log out all others", user="ada")
        assert self.users(clients) == ["ada", "", ""]
