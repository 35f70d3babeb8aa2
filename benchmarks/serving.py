"""gunicorn with one of the apps on the loopback, and the clients that ask it."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from benchmarks.app_peers import CANDIDATES

ROOT: Final = Path(__file__).parents[1]
COOKIES_SCRIPT: Final = Path(__file__).with_name("cookies.lua")
CONNECTIONS: Final = 16
#: Fewer than cachelib keeps.
SESSIONS: Final = 256
PATIENCE: Final = 30.0  # seconds; a wait that takes longer has failed


@dataclass
class Jar:
    """The cookie that the tabs of a browser share, as ``name=value``; empty: none yet."""

    cookie: str = ""


class Client:
    """A connection to a server."""

    def __init__(self, port: int, jar: Jar | None = None) -> None:
        self.jar = jar or Jar()
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, str]:
        """Send a request, take the cookie it is answered with; return the status and the body."""
        headers = {"Cookie": f"theme=dark; {self.jar.cookie}; lang=en"} if self.jar.cookie else {}
        self._connection.request("GET", f"/{path}", headers=headers)
        response = self._connection.getresponse()
        body = response.read().decode()
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

    def __init__(self, name: str, directory: Path, options: tuple[str, ...]) -> None:
        """Start it, and wait until it answers.

        Args:
            name: of the candidate.
            directory: an empty one.
            options: gunicorn's.
        """
        self._candidate = CANDIDATES[name]
        self.port = _free_port()
        self._log = directory / "log"
        self._cookies = directory / "cookies"
        data = directory / "data"
        data.mkdir()
        command = [sys.executable, "-m", "gunicorn", "--preload", "--graceful-timeout=2"]
        command += [f"--bind=127.0.0.1:{self.port}", *options, "benchmarks.app_peers:application()"]
        # gunicorn's control socket, where it has one, goes beside the data.
        settings = {
            "BENCHMARK_APP": name,
            "BENCHMARK_DIR": str(data),
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
        """Begin the sessions that wrk's requests come with."""
        cookies = ["session=none"]
        if self._candidate.has_sessions:
            cookies = [self._new_session() for _ in range(SESSIONS)]
        self._cookies.write_text("\n".join(cookies) + "\n")

    def _new_session(self) -> str:
        client = self.client()
        client.need("login")
        client.close()
        return client.jar.cookie

    def rate(self, request: str, seconds: float) -> float:
        """Return how many requests a second wrk got answered.

        Args:
            request: a path; an app without sessions knows but one.
            seconds: how long; wrk takes whole ones.

        Raises:
            RuntimeError: one was answered with an error, or not at all.
        """
        path = request if self._candidate.has_sessions else "untouched"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{math.ceil(seconds)}s"]
        command += [f"--timeout={PATIENCE:.0f}s", "-s", str(COOKIES_SCRIPT)]
        command += [f"http://127.0.0.1:{self.port}/{path}", "--", str(self._cookies)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", output)}
        answered, microseconds = found.pop("requests"), found.pop("microseconds")
        if not answered or any(found.values()):
            raise RuntimeError(f"wrk found errors at /{path}: {output}{self.log}")
        return answered / microseconds * 1e6


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
