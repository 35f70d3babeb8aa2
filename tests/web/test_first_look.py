"""The first look at a session, by several threads and greenlets of one request."""

from __future__ import annotations

import sys
import threading

import flask
import greenlet
import pytest

from litesess import MemoryStore
from litesess.integrations.flask import Litesess
from litesess.testing import FakeClock
from litesess.web import visit_of
from tests.tools.apps import SECRET, Site, WatchedMemoryStore, look, write

THREADS = 4


@pytest.fixture(autouse=True)
def _often():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class SlowStore(WatchedMemoryStore):
    """A store whose look-ups wait until they are told to go on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.at_load = threading.Event()
        self.go_on = threading.Event()

    def load(self, key):
        record = super().load(key)
        self.at_load.set()
        assert self.go_on.wait(60)
        return record


def in_threads(*works):
    failures = []

    def run(work):
        try:
            work()
        except BaseException as failure:  # noqa: BLE001  # told below
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    return threads, failures


def test_threads_of_a_request_load_its_session_once_and_lose_no_write():
    clock = FakeClock()
    store = SlowStore(clock=clock)
    store.go_on.set()
    site = Site(store, clock=clock)
    site.visit(write(cart=[]))
    store.go_on.clear()
    store.at_load.clear()
    store.calls.clear()

    def act(session):
        def set_own(number):
            session[f"part{number}"] = "yes"
            session["cart"].append(number)

        works = [lambda number=number: set_own(number) for number in range(THREADS)]
        threads, failures = in_threads(*works)
        assert store.at_load.wait(60)
        store.go_on.set()
        for thread in threads:
            thread.join(60)
        assert not failures
        return store.calls["load"]

    assert site.visit(act).value == 1
    found = site.visit(look).value
    assert {key for key in found if key != "cart"} == {f"part{n}" for n in range(THREADS)}
    assert sorted(found["cart"]) == [*range(THREADS)]


def test_threads_that_read_at_once_get_the_same_objects():
    site = Site()
    site.visit(write(**{f"k{number}": [{"n": number}] * 100 for number in range(20)}))

    def act(session):
        assert len(session) == 20  # loaded, and nothing decoded
        start = threading.Barrier(THREADS)
        seen = []

        def read():
            start.wait(60)
            seen.append([session[f"k{number}"] for number in range(20)])

        threads, failures = in_threads(*[read] * THREADS)
        for thread in threads:
            thread.join(60)
        assert not failures
        return all(each is first for one in seen for each, first in zip(one, seen[0], strict=True))

    for _ in range(30):
        assert site.visit(act).value is True  # the same objects, so that changes in place meet


def test_a_request_has_the_lock_that_gevent_has_put_in_place_since_the_import(monkeypatch):
    """``gunicorn --preload`` makes the app before its gevent workers replace the locks."""
    site = Site()
    monkeypatch.setattr(threading, "_CRLock", None)  # as gevent.monkey does
    lock = site.visit(lambda session: visit_of(session).lock).value
    assert type(lock) is threading._RLock


class SwitchingStore(WatchedMemoryStore):
    """A store that lets another greenlet run before it answers, as one behind a network would."""

    def load(self, key):
        record = super().load(key)
        parent = greenlet.getcurrent().parent
        if parent is not None:
            parent.switch()
        return record


def test_greenlets_of_a_request_lose_no_write():
    clock = FakeClock()
    site = Site(SwitchingStore(clock=clock), clock=clock)
    site.visit(write(user="ada"))

    def act(session):
        def set_own(number):
            session[f"part{number}"] = "yes"

        running = [greenlet.greenlet(lambda number=number: set_own(number)) for number in range(3)]
        while running:
            for each in running:
                each.switch()
            running = [each for each in running if not each.dead]

    site.visit(act)
    assert site.visit(look).value == {"user": "ada", "part0": "yes", "part1": "yes", "part2": "yes"}


def test_threads_with_a_copy_of_flasks_context_lose_no_write():
    app = flask.Flask("threads")
    app.config.update(SECRET_KEY=SECRET, LITESESS_STORE=MemoryStore())
    Litesess(app)

    @app.get("/")
    def page():
        start = threading.Barrier(THREADS)

        def set_own(number):
            start.wait(60)
            flask.session[f"part{number}"] = "yes"

        works = []
        for number in range(THREADS):
            work = flask.copy_current_request_context(set_own)
            works.append(lambda work=work, number=number: work(number))
        threads, failures = in_threads(*works)
        for thread in threads:
            thread.join(60)
        return {"failed": len(failures)}

    @app.get("/look")
    def look_at_it():
        return dict(flask.session)

    for _ in range(20):
        client = app.test_client()
        assert client.get("/").json == {"failed": 0}
        assert client.get("/look").json == {f"part{number}": "yes" for number in range(THREADS)}


def test_threads_of_a_new_session_make_one_token_and_lose_no_message():
    def act(session):
        start = threading.Barrier(THREADS)
        tokens = []

        def work(number):
            start.wait(60)
            session.flash(number)
            tokens.append((session.id, session.get_csrf_token()))

        works = [lambda number=number: work(number) for number in range(THREADS)]
        threads, failures = in_threads(*works)
        for thread in threads:
            thread.join(60)
        assert not failures
        return len(set(tokens)), sorted(session.pop_flash())

    for _ in range(40):
        assert Site().visit(act).value == (1, [*range(THREADS)])
