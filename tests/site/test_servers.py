"""The login example on real servers: restarts, kills, umasks, a second server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from tests.tools.servers import (
    LOGIN,
    LOGIN_BY_GUNICORN,
    LOGIN_WITHOUT_WAITRESS,
    SECRET,
    Client,
    Server,
    ask,
    id_in,
    is_closed_cleanly,
    wait_until,
)

pytestmark = pytest.mark.slow

PASSWORDS = {"ada": "engine", "alan": "machine", "grace": "compiler"}

StartServer = Callable[..., Server]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(tmp_path: Path, data: Path) -> StartServer:
    """Return what starts a server of the login example; all of them share one directory."""

    def start(command: list[str] = LOGIN_BY_GUNICORN, **options: object) -> Server:
        environment = {"EXAMPLE_DATA": str(data), "SESSION_SECRET": SECRET}
        return Server(command, tmp_path, environment, **options)

    return start


class TestRestart:
    def test_a_login_outlives_a_restart(self, start: StartServer) -> None:
        with start() as server, Client(server) as client:
            told = client.log_in()
            assert server.stop() == 0
        with start() as client.server:
            assert client.me() == told == {"user": "ada", "handle": told["handle"]}

    def test_a_login_outlives_a_change_of_workers(self, start: StartServer) -> None:
        with start() as server, Client(server) as client:
            told = client.log_in()
            before = server.worker
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: f"Worker exiting (pid: {before})" in server.output, "it has left")
            assert server.worker != before
            assert client.me() == told

    def test_an_acknowledged_login_outlives_sigkill(self, start: StartServer) -> None:
        with start() as server, Client(server) as client:
            told = client.log_in()
            server.kill()
        with start() as client.server:
            assert client.me() == told

    def test_an_acknowledged_logout_outlives_sigkill(self, start: StartServer) -> None:
        with start() as server, Client(server) as client:
            client.log_in()
            cookie = client.cookie
            client.log_out()
            server.kill()
        with start() as server:
            assert ask(server, cookie) is None

    def test_500_concurrent_logins_outlive_sigkill(self, start: StartServer) -> None:
        names = [*PASSWORDS] * 167

        def log_in(name: str) -> tuple[str, dict[str, str]]:
            with Client(server) as client:
                told = client.log_in(name, PASSWORDS[name])
                return client.cookie, told

        def ask_again(acknowledged: tuple[str, dict[str, str]]) -> dict[str, str | None]:
            with Client(server, acknowledged[0]) as client:
                return client.me()

        with ThreadPoolExecutor(8) as pool:
            with start() as server:
                acknowledged = [*pool.map(log_in, names[:500])]
                server.kill()
            with start() as server:
                seen = [*pool.map(ask_again, acknowledged)]
        assert seen == [told for _, told in acknowledged]
        assert [answer["user"] for answer in seen] == names[:500]
        assert len({answer["handle"] for answer in seen}) == 500

    def test_what_was_acknowledged_outlives_a_sigkill_in_the_middle(
        self, start: StartServer
    ) -> None:
        acknowledged: list[str] = []

        def log_in_again_and_again() -> None:
            with suppress(requests.RequestException):
                while True:
                    with Client(server) as client:
                        client.log_in()
                        acknowledged.append(client.cookie)

        with ThreadPoolExecutor(8) as pool:
            with start() as server:
                threads = [pool.submit(log_in_again_and_again) for _ in range(8)]
                wait_until(lambda: len(acknowledged) > 100, "100 are logged in")
                server.kill()
            for thread in threads:
                thread.result()
            with start() as server:
                assert {*pool.map(partial(ask, server), acknowledged)} == {"ada"}


class TestSecrecy:
    def test_a_replayed_cookie_is_a_stranger_after_logout(self, start: StartServer) -> None:
        with start() as server, Client(server) as client:
            client.log_in()
            cookie = client.cookie
            assert ask(server, cookie) == "ada"
            client.log_out()
            assert client.cookie is None
            assert ask(server, cookie) is None

    def test_the_id_from_before_the_login_is_dead(self, start: StartServer) -> None:
        with start() as server, Client(server) as client:
            client.log_in()
            before = client.cookie
            client.log_in("grace", "compiler")
            assert ask(server, before) is None
            assert client.me()["user"] == "grace"

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
    def test_what_is_on_the_disk_is_private_whatever_the_umask(
        self, start: StartServer, data: Path, umask: int
    ) -> None:
        with start(LOGIN, umask=umask) as server, Client(server) as client:
            client.log_in()
            assert {data: 0o700} | dict.fromkeys(data.iterdir(), 0o600) == {
                path: path.stat().st_mode & 0o7777 for path in [data, *data.iterdir()]
            }

    def test_no_file_holds_a_session_id_or_a_cookie(self, start: StartServer, data: Path) -> None:
        with start() as server, Client(server) as client:
            client.log_in()
            rotated = client.cookie
            client.log_in("grace", "compiler")
            live = client.cookie
            self.check(data, rotated, live)
            assert server.stop() == 0
        self.check(data, rotated, live)

    @staticmethod
    def check(data: Path, rotated: str, live: str) -> None:
        files = b"".join(path.read_bytes() for path in data.iterdir())
        for cookie in rotated, live:
            assert cookie.encode() not in files
            assert id_in(cookie) not in files
        # It is the right place to look: what a session is stored under is there.
        assert sha256(id_in(live)).digest() in files


class TestSecondServer:
    def test_two_servers_on_one_directory_know_the_same_sessions(self, start: StartServer) -> None:
        with start() as first, start(LOGIN) as second, Client(first) as client:
            told = client.log_in()
            assert ask(second, client.cookie) == "ada"
            client.server = second
            assert client.me() == told
            cookie = client.cookie
            client.log_out()
            assert ask(first, cookie) is None
            client.log_in("grace", "compiler")
            assert second.stop() == 0
            assert ask(first, client.cookie) == "grace"
        with start() as third:
            assert ask(third, client.cookie) == "grace"


class TestShutdown:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda it: it.name)
    @pytest.mark.parametrize(
        "command",
        [LOGIN, LOGIN_WITHOUT_WAITRESS, LOGIN_BY_GUNICORN],
        ids=["waitress", "wsgiref", "gunicorn"],
    )
    def test_a_signal_closes_the_store(
        self, start: StartServer, data: Path, command: list[str], number: signal.Signals
    ) -> None:
        with start(command) as server, Client(server) as client:
            client.log_in()
            assert not is_closed_cleanly(data)
            assert server.stop(number) == 0
            assert is_closed_cleanly(data)
            assert "Traceback" not in server.output

    def test_ctrl_c_reaches_gunicorn_and_its_worker_at_once(
        self, start: StartServer, data: Path
    ) -> None:
        """A terminal sends SIGINT to the whole group."""
        with start() as server, Client(server) as client:
            client.log_in()
            os.killpg(server.process.pid, signal.SIGINT)
            assert server.process.wait(30) == 0
            assert is_closed_cleanly(data)

    def test_a_killed_store_does_not_look_closed(self, start: StartServer, data: Path) -> None:
        with start() as server, Client(server) as client:
            client.log_in()
            server.kill()
            assert not is_closed_cleanly(data)
