"""gunicorn with several workers on one directory, against a model of every session."""

from __future__ import annotations

import copy
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.tools.servers import SECRET, TOOLS, Client, Server, gunicorn, wait_until

#: LITESESS_REQUESTS sets how many are sent in each test (docs/testing.rst).
REQUESTS = int(os.environ.get("LITESESS_REQUESTS", "1000"))
CLIENTS = 8
CUT_OFF = requests.ConnectionError, requests.exceptions.ChunkedEncodingError

pytestmark = pytest.mark.slow


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Server]:
    """Return what starts gunicorn with so many workers."""

    def serve(workers: int, *options: str) -> Server:
        command = gunicorn("worker_app:application", TOOLS, "--threads", "4", *options)
        command[command.index("-w") + 1] = str(workers)
        environment = {"EXAMPLE_DATA": str(tmp_path / "data"), "SESSION_SECRET": SECRET}
        return Server(command, tmp_path, environment)

    return serve


class Visitor:
    """A client that knows what its session must hold; after a lost answer, what it may."""

    def __init__(self, server: Server, number: int) -> None:
        self.client = Client(server)
        # So that each request may meet another worker.
        self.client.http.headers["Connection"] = "close"
        self.rng = random.Random(number)
        self.name = f"visitor{number}"
        self.may_hold: list[dict[str, Any]] = [{}]
        self.sent = self.resets = 0
        self.is_stopped = False
        #: A login was perhaps done whose answer was lost: by the former id nothing is kept.
        self.may_be_late = False
        self.pids: set[int] = set()
        self.wrong: list[str] = []

    def visit(self) -> None:
        """Send one request; compare the answer with the model."""
        action = self._choose()
        self.sent += 1
        try:
            response = self.client.request("POST", "/" + action)
        except CUT_OFF:  # its worker was killed: it was done or not
            self.resets += 1
            self.may_hold += [after(held, action) for held in self.may_hold]
            if action.startswith("login"):
                # Perhaps under an id that this client was never told.
                self.may_hold.append({})
                self.may_be_late = True
            return
        if response.status_code != 200:
            self.wrong.append(f"{action}: {response.status_code} {response.text[:200]}")
            return
        answer = response.json()
        self.pids.add(answer["pid"])
        fits = [
            held
            for held in (after(it, action) for it in self.may_hold)
            if told(held, action) == answer["data"]
        ]
        if not fits:
            self.wrong.append(f"{action}: {answer}, not one of {self.may_hold}")
        self.may_hold = fits[:1] or [answer["data"] or {}]
        if "Set-Cookie" in response.headers:
            self.may_be_late = False  # it knows its id again
        if self.may_be_late:
            self.may_hold.append({})

    def _choose(self) -> str:
        rng = self.rng
        kind = rng.choices(
            ["read", "set", "append", "forget", "login", "logout"], [8, 8, 4, 2, 1, 1]
        )[0]
        if kind == "set":
            return f"set/k{rng.randrange(4)}/{self.sent}" + "x" * rng.randrange(100)
        if kind == "append":
            return f"append/{self.sent}"
        if kind == "forget":
            return f"forget/k{rng.randrange(4)}"
        return f"login/{self.name}" if kind == "login" else kind


def after(held: dict[str, Any], action: str) -> dict[str, Any]:
    """Return what a session holds after *action*."""
    held = copy.deepcopy(held)
    kind, *rest = action.split("/")
    if kind == "set":
        held[rest[0]] = rest[1]
    elif kind == "append":
        held.setdefault("list", {"items": []})["items"].append(rest[0])
    elif kind == "forget":
        held.pop(rest[0], None)
    elif kind == "login":
        held["user"] = rest[0]
    elif kind == "logout":
        held.clear()
    return held


def told(held: dict[str, Any], action: str) -> dict[str, Any] | None:
    """Return what the app says of it."""
    return None if action == "logout" else held


def let_visit(visitors: list[Visitor], requests_each: int) -> list[threading.Thread]:
    """Let each visitor send so many requests, or until it is told to stop."""

    def work(visitor: Visitor) -> None:
        for _ in range(requests_each):
            if visitor.is_stopped or len(visitor.wrong) > 2:
                return
            visitor.visit()

    threads = [threading.Thread(target=work, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    return threads


def check(visitors: list[Visitor], what: str) -> None:
    assert [wrong for visitor in visitors for wrong in visitor.wrong] == []
    pids = set().union(*(visitor.pids for visitor in visitors))
    sent, resets = (sum(getattr(it, name) for it in visitors) for name in ("sent", "resets"))
    print(f"{what}: {sent} requests, {len(pids)} workers answered, {resets} answers were lost")


@contextmanager
def visiting(server: Server, number: int) -> Iterator[list[Visitor]]:
    visitors = [Visitor(server, at) for at in range(number)]
    try:
        yield visitors
    finally:
        for visitor in visitors:
            visitor.client.http.close()


def workers_of(server: Server) -> list[int]:
    """Return the process ids of the workers there are."""
    with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children") as children:
        return [int(pid) for pid in children.read().split()]


EACH_LOADS = pytest.param([], id="each loads")
PRELOAD = pytest.param(["--preload"], marks=pytest.mark.long, id="preload")


@pytest.mark.parametrize("options", [EACH_LOADS, PRELOAD])
def test_each_answer_of_four_workers_agrees_with_the_model(serve, options):
    with serve(4, *options) as server, visiting(server, CLIENTS) as visitors:
        wait_until(lambda: len(workers_of(server)) == 4, "all workers are there")
        pids = set(workers_of(server))
        for thread in let_visit(visitors, REQUESTS // CLIENTS):
            thread.join()
        check(visitors, "quiet")
        assert sum(visitor.resets for visitor in visitors) == 0
        assert set().union(*(visitor.pids for visitor in visitors)) == pids
        assert server.stop() == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.long), 4])
@pytest.mark.parametrize("options", [EACH_LOADS, PRELOAD])
def test_a_reload_loses_nothing(serve, options, workers):
    """HUP: new workers start before the old ones end."""
    with serve(workers, *options) as server, visiting(server, CLIENTS) as visitors:
        threads = let_visit(visitors, REQUESTS // CLIENTS // 10)
        reloads = 0
        while any(thread.is_alive() for thread in threads):
            before = set(workers_of(server))
            server.process.send_signal(signal.SIGHUP)
            reloads += 1
            # Not only begun: each reload would stop them before they can answer anybody.
            wait_until(
                lambda before=before: (
                    len(new := set(workers_of(server)) - before) == workers
                    and new == set(workers_of(server))
                    and (
                        any(new & visitor.pids for visitor in visitors)
                        or not any(thread.is_alive() for thread in threads)
                    )
                ),
                "new workers have taken over",
            )
        for thread in threads:
            thread.join()
        check(visitors, f"{reloads} reloads")
        assert sum(visitor.resets for visitor in visitors) == 0
        assert server.stop() == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize("options", [EACH_LOADS, PRELOAD])
def test_a_worker_killed_every_200_ms_costs_only_its_own_answers(serve, options):
    with serve(4, *options) as server, visiting(server, CLIENTS) as visitors:
        threads = let_visit(visitors, REQUESTS // CLIENTS // 2)
        rng = random.Random(1)
        kills = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.2)
            pids = workers_of(server)
            # One that has answered: on a slow machine none would live for long enough.
            answered = set().union(*(visitor.pids for visitor in visitors))
            known = [pid for pid in pids if pid in answered]
            if len(pids) == 4 and known:
                os.kill(rng.choice(known), signal.SIGKILL)
                kills += 1
        for thread in threads:
            thread.join()
        # Nothing is killed any more: what was acknowledged is there.
        for thread in let_visit(visitors, 5):
            thread.join()
        check(visitors, f"{kills} kills")
        assert kills > 3
        assert server.stop() == 0
    assert "Traceback" not in server.output


def test_a_stop_in_the_middle_of_requests_loses_nothing_that_was_answered(serve):
    with serve(4) as server, visiting(server, CLIENTS) as visitors:
        threads = let_visit(visitors, 10**9)
        wait_until(lambda: sum(visitor.sent for visitor in visitors) > 200, "they visit")
        server.stop(signal.SIGTERM)
        for visitor in visitors:
            visitor.is_stopped = True
        for thread in threads:
            thread.join()
        check(visitors, "stopped")
        # The same sessions, from new servers.
        with serve(4) as again:
            for visitor in visitors:
                visitor.client.server = again
                visitor.is_stopped = False
            for thread in let_visit(visitors, 20):
                thread.join()
            check(visitors, "started again")
