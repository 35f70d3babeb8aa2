"""Real servers for tests: started on a free port of the loopback, ended by their process ids."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import requests

from litesess.engine.format import HEADER_BYTES, SLOT_BYTES, decode_slot

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tests" / "tools"
EXAMPLES = ROOT / "examples"
SECRET = "".join(map(chr, range(33, 73)))
CHANCE = random.SystemRandom()
PATIENCE = 30.0  # seconds; a wait that takes longer has failed

LOGIN_APP = str(EXAMPLES / "login" / "app.py")
LOGIN = [sys.executable, LOGIN_APP]
WITHOUT_WAITRESS = f"""
import runpy, sys
sys.modules["waitress"] = None
runpy.run_path({LOGIN_APP!r}, run_name="__main__")
"""
LOGIN_WITHOUT_WAITRESS = [sys.executable, "-c", WITHOUT_WAITRESS]


def gunicorn(app: str, directory: Path, *options: str) -> list[str]:
    """Return the command that serves *app* by one worker with eight threads."""
    command = [sys.executable, "-m", "gunicorn", "-w", "1", "--threads", "8"]
    return [*command, "--chdir", str(directory), "--bind", "127.0.0.1:{port}", *options, app]


LOGIN_BY_GUNICORN = gunicorn("app:application", EXAMPLES / "login")


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Ask *condition* again and again until it holds; fail when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {PATIENCE:g} s: {what}"
        time.sleep(0.001)


class Server:
    """A server process; it is gone at the end of the ``with`` block, its output is shown."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        umask: int = -1,
    ) -> None:
        """Name the server.

        Args:
            command: starts it; ``{port}`` stands for the port.
            directory: where it runs and where its output goes.
            environment: on top of this process's.
            umask: of the server; -1: as here.
        """
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._directory = directory
        self._umask = umask
        # Nothing of the caller's, and nothing written beside the code under test.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EXAMPLE_", "GUNICORN_", "SESSION_SECRET"))
        }
        self._environment = {
            **inherited,
            "EXAMPLE_PORT": str(self.port),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "XDG_RUNTIME_DIR": str(directory),
            **(environment or {}),
        }
        self._log = directory / f"server-{self.port}.log"

    def __enter__(self) -> Server:
        with self._log.open("wb") as log:
            # A group of its own: gunicorn's workers die with their master, and nothing else does.
            self.process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=self._umask,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self._listens() or self._has_ended(), f"{self.url} answers")
            assert not self._has_ended(), "the server ended at once"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        if not self._has_ended():
            self.kill()
        print(f"--- {' '.join(self._command)}\n{self.output}")

    @property
    def output(self) -> str:
        """Its output so far."""
        return self._log.read_text(errors="replace")

    @property
    def worker(self) -> int:
        """The process id of gunicorn's latest worker."""
        return int(self.output.rpartition("Booting worker with pid: ")[2].split()[0])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the process a signal; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        wait_until(lambda: not self._listens(), "the port is free")

    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def free_port(beside: int = 0) -> int:
    """Return a port that no connection and no other worker of pytest-xdist takes meanwhile.

    Args:
        beside: the port so far above it is free, too.
    """
    # Linux and macOS give connections ports above 32 767: in between they would take this one.
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = CHANCE.randrange(11_000 + worker, 21_000, count)
        with socket.socket() as one, socket.socket() as other, suppress(OSError):
            one.bind(("127.0.0.1", port))
            if beside:
                other.bind(("127.0.0.1", port + beside))
            return port


class Client:
    """A client of the login example, with its cookie jar."""

    def __init__(self, server: Server, cookie: str | None = None) -> None:
        self.http = requests.Session()
        self.http.trust_env = False  # no proxy between
        self.server = server
        if cookie is not None:
            self.http.cookies.set("litesess.sid", cookie)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.http.close()

    @property
    def cookie(self) -> str | None:
        """The session cookie's value."""
        return self.http.cookies.get("litesess.sid")

    def request(self, method: str, path: str, **options: object) -> requests.Response:
        """Send a request to the server."""
        return self.http.request(method, self.server.url + path, timeout=PATIENCE, **options)

    def log_in(self, name: str = "ada", password: str = "engine") -> dict[str, str]:
        """Log in; return the server's answer."""
        response = self.request("POST", "/login", json={"name": name, "password": password})
        response.raise_for_status()
        return response.json()

    def me(self) -> dict[str, str | None]:
        """Return the user, as the server sees it."""
        response = self.request("GET", "/me")
        response.raise_for_status()
        return response.json()

    def log_out(self) -> None:
        """Log out."""
        self.request("POST", "/logout").raise_for_status()


def ask(server: Server, cookie: str | None) -> str | None:
    """Return the user that the server recognises by *cookie*; None: none."""
    with Client(server, cookie) as client:
        return client.me()["user"]


def id_in(cookie: str) -> bytes:
    """Return the session id that a cookie carries, after 32 bytes of HMAC-SHA-256."""
    return urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))[32:]


def is_closed_cleanly(data: Path) -> bool:
    """Return whether the last process to close the store left a slot at the end of the last log."""
    decoded = decode_slot((data / "sessions.live").read_bytes()[:SLOT_BYTES])
    log = max(data.glob("sessions.*.wal"))
    records = log.read_bytes()
    end = HEADER_BYTES
    while records.startswith(b"\xa1\x5c", end):
        end += 2 + 1 + 1 + 4 + 8 + 8 + 4 + struct.unpack_from("<I", records, end + 4)[0]
    return decoded is not None and (log.name, decoded[0].length) == (
        f"sessions.{decoded[0].generation:016x}.wal",
        end,
    )
