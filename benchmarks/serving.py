"""gunicorn with one of the apps on the loopback, and its clients.

A bare app can answer with the headers of another app, so that the cost of headers in gunicorn and
in wrk does not count as a cost of sessions.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
COOKIES_SCRIPT: Final = Path(__file__).with_name("cookies.lua")
CONNECTIONS: Final = 16
#: Fewer than cachelib keeps.
SESSIONS: Final = 256
PATIENCE: Final = 30.0  # seconds; a wait that takes longer has failed
#: Each app answers with these headers, and gunicorn adds some of them.
COMMON: Final = (
    "connection", "content-length", "content-type", "date", "server", "transfer-encoding",
)  # fmt: skip
#: wrk tries so often: one broken connection in half an hour must not end the run.
ATTEMPTS: Final = 3

Headers = Sequence[tuple[str, str]]


@dataclass
class Jar:
    """The cookie that the tabs of a browser share, as ``name=value``; empty: none yet."""

    cookie: str = ""


class Client:
    """A connection to a server."""

    def __init__(self, port: int, jar: Jar | None = None) -> None:
        self.jar = jar or Jar()
        self.headers: Headers = ()
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, str]:
        """Send a request, keep the answer's headers and cookie; return its status and body."""
        headers = {"Cookie": f"theme=dark; {self.jar.cookie}; lang=en"} if self.jar.cookie else {}
        self._connection.request("GET", f"/{path}", headers=headers)
        response = self._connection.getresponse()
        body = response.read().decode()
        self.headers = response.getheaders()
        new = response.getheader("Set-Cookie")
        if new is not None:
            self.jar.cookie = new.partition(";")[0].strip()
        return response.status, body

    def need(self, path: str) -> str:
        """Send a request; return the body.

        Raises:
            RuntimeError: it was answered with an error.
        """
        status, body = self.get(path)
        if status != 200:
            raise RuntimeError(f"/{path} was answered with {status}: {body}")
        return body

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Server:
    """gunicorn with one of the apps, in processes of its own."""

    def __init__(
        self,
        name: str,
        directory: Path,
        options: tuple[str, ...],
        headers: Mapping[str, Headers] | None = None,
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            name: of the candidate.
            directory: an empty one.
            options: gunicorn's.
            headers: of a bare app, by the query of the request.
        """
        self.name = name
        self.port = _free_port()
        self._log = directory / "log"
        self.cookies = directory / "cookies"
        data = directory / "data"
        data.mkdir()
        command = [sys.executable, "-m", "gunicorn", "--preload", "--graceful-timeout=2"]
        command += [f"--bind=127.0.0.1:{self.port}", *options, "benchmarks.served:application()"]
        # gunicorn's control socket, where it has one, goes beside the data.
        settings = {
            "BENCHMARK_APP": name,
            "BENCHMARK_DIR": str(data),
            "BENCHMARK_HEADERS": json.dumps(headers or {}),
            "XDG_RUNTIME_DIR": str(directory),
        }
        with self._log.open("wb") as log:
            # A group of its own: Ctrl-C reaches only this process, which then ends the server.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        """Return when it answers; raise RuntimeError if it does not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not answer; its log:\n{self.log}")
            client = self.client()
            try:
                status, _body = client.get("untouched")
            except ConnectionError:
                time.sleep(0.02)
            else:
                if status != 200:
                    raise RuntimeError(f"the server answers with {status}; its log:\n{self.log}")
                return
            finally:
                client.close()

    @property
    def log(self) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """End all its processes."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def client(self, jar: Jar | None = None) -> Client:
        """Return a client."""
        return Client(self.port, jar)

    def log_in(self) -> None:
        """Begin the sessions of wrk's requests."""
        cookies = [self._new_session() for _ in range(SESSIONS)]
        self.cookies.write_text("\n".join(cookies) + "\n")

    def _new_session(self) -> str:
        client = self.client()
        client.need("login")
        client.close()
        return client.jar.cookie

    def headers(self, path: str) -> list[tuple[str, str]]:
        """Return the headers that wrk is answered with, without those that every app has."""
        cookie, _, _rest = self.cookies.read_text().partition("\n")
        client = self.client(Jar(cookie))
        client.need(path)
        client.close()
        return [(name, value) for name, value in client.headers if name.lower() not in COMMON]

    def rate(self, path: str, seconds: float, cookies: Path | None = None) -> float:
        """Return how many requests a second wrk got answered.

        Args:
            path: with its query, if it has one.
            seconds: how long; wrk takes whole ones.
            cookies: the file of the requests' cookies, if they are those of another server.

        Raises:
            RuntimeError: some requests of each attempt had an error, or no answer.
        """
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{math.ceil(seconds)}s"]
        command += [f"--timeout={PATIENCE:.0f}s", "-s", str(COOKIES_SCRIPT)]
        command += [f"http://127.0.0.1:{self.port}/{path}", "--", str(cookies or self.cookies)]
        for _ in range(ATTEMPTS):
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", output)}
            answered, microseconds = found.pop("requests"), found.pop("microseconds")
            if answered and not any(found.values()):
                return answered / microseconds * 1e6
            print(f"wrk found errors at /{path} of {self.name}: {found}", file=sys.stderr)
        raise RuntimeError(f"wrk found errors at /{path} of {self.name}: {output}{self.log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
