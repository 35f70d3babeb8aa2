"""Apps whose tests freeze time or move it, with freezegun or time-machine."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
import time_machine
from freezegun import freeze_time

from litesess import MemoryStore, SessionMiddleware, Store, WALStore
from litesess.clocks import JumpGuard, wall_time
from litesess.engine.lock import FileLock
from tests.tools.apps import SECRET, Browser

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
STOPPED = {
    "freezegun": lambda: freeze_time(START),
    "time-machine": lambda: time_machine.travel(START, tick=False),
}
#: freezegun makes of litesess' own modules what it makes of the app's, when it begins.
pytestmark = pytest.mark.parametrize("stopped", STOPPED.values(), ids=STOPPED)


@pytest.fixture(params=["memory", "wal"])
def store(request, tmp_path):
    """A store that was made before time was stopped, as an app's is."""
    options = {"ttl": 3600, "gc_interval": None}
    if request.param == "wal":
        options["durable"] = False
    made = MemoryStore(**options) if request.param == "memory" else WALStore(tmp_path, **options)
    with made:
        yield made


def shop(store, **options):
    """Return a browser at a site by the clock that apps have unless they choose one."""

    def app(environ, start_response):
        session = environ["litesess.session"]
        if environ["PATH_INFO"] == "/in":
            session["user"] = "ada"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [session.get("user", "nobody").encode()]

    return Browser(SessionMiddleware(app, secret=SECRET, store=store, **options))


def test_a_session_expires_when_a_test_moves_time(stopped, store):
    browser = shop(store)
    with stopped() as moved:
        browser.get("/in")
        moved.move_to(START + timedelta(minutes=59))
        assert browser.get().body == b"ada"
        moved.move_to(START + timedelta(hours=3))
        assert browser.get().body == b"nobody"


def test_the_cookie_carries_the_time_of_the_test(stopped, store):
    with stopped():
        response = shop(store, cookie={"max_age": 3600}).get("/in")
        ((_, record),) = store.records()
    ends_at = parsedate_to_datetime(response.attributes["expires"])
    assert ends_at == START + timedelta(hours=1)
    assert record.created_at == START.timestamp()


def test_a_store_of_another_class_goes_by_the_time_of_the_test(stopped):
    class Own(MemoryStore):
        clock = Store.clock

    with stopped() as moved:
        assert Own().clock() == Store.clock() == START.timestamp()
        moved.move_to(START + timedelta(hours=1))
        assert Own().clock() == START.timestamp() + 3600


def test_a_wait_for_a_lock_ends_while_time_stands_still(stopped, tmp_path):
    path = tmp_path / "lock"
    first, second = (os.open(path, os.O_CREAT | os.O_RDWR) for _ in range(2))
    try:
        assert FileLock().take(first)
        with stopped():
            assert not FileLock().acquire(second, 0.05)
    finally:
        os.close(first)
        os.close(second)


def test_a_clock_that_a_test_moves_has_not_jumped(stopped):
    with stopped() as moved:
        guard = JumpGuard(wall_time)
        moved.move_to(START + timedelta(hours=3))
        # time-machine leaves the monotonic clock alone.
        assert guard.is_steady() == (stopped is STOPPED["freezegun"])
