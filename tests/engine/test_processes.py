"""Real processes on one directory of the real disk."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from litesess import Record, SessionMiddleware, StoreLocked, WALStore
from litesess.engine import Change, Delete, Put
from tests.tools.counters import COUNTERS, Writer, counter_in
from tests.tools.engines import FAR, content, key, make_engine, put
from tests.tools.linearizability import Operation, explains
from tests.tools.servers import SECRET, wait_until

#: How much is done (docs/testing.rst).
OPERATIONS = int(os.environ.get("LITESESS_OPERATIONS", "50000"))
KILLS = int(os.environ.get("LITESESS_KILLS", "50"))
SOAK_SECONDS = float(os.environ.get("LITESESS_SOAK_SECONDS", "5"))

pytestmark = pytest.mark.slow

# Threads of a test must not be there when it forks: it starts them in its children alone.
forking = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "data")


@contextlib.contextmanager
def running(*works: Callable[[], object]) -> Iterator[list[Any]]:
    """Do each of *works* in a process of its own; none is there afterwards."""
    processes = [forking.Process(target=work) for work in works]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()


def run(*works: Callable[[], object]) -> None:
    """Do each of *works* in a process of its own; all must succeed."""
    with running(*works) as processes:
        for process in processes:
            process.join(280)
        assert [process.exitcode for process in processes] == [0] * len(works)


# Linearizable: reads and writes of each session have one order that fits what everybody saw.

SESSIONS = 64


def step(state: bytes | None, what: tuple[Any, ...]) -> tuple[bytes | None, Any]:
    """What a dict of one session would do."""
    kind, *rest = what
    if kind == "get":
        return state, state
    if kind == "put":
        return rest[0], None
    is_there = state is not None
    if kind == "delete":
        return None, is_there
    return (rest[0] if is_there else None), state  # replace, if it is there


def ask(engine: Any, name: int, what: tuple[Any, ...]) -> Any:
    kind, *rest = what
    if kind == "get":
        entry = engine.get(key(name))
        return entry.value if entry else None

    def plan(stored: Any) -> tuple[list[Change], Any]:
        entry = stored.get(key(name))
        if kind == "put":
            return [Put(key(name), rest[0], FAR)], None
        if kind == "delete":
            return ([Delete(key(name))], True) if entry else ([], False)
        return ([Put(key(name), rest[0], FAR)], entry.value) if entry else ([], None)

    return engine.transact(plan, sync=True)[0]


def work_and_tell(path: str, seed: int, count: int, answers: Any) -> None:
    """In eight threads, do random things to random sessions; tell what came of them."""
    engine = make_engine(path=path, wal_limit=1 << 16, lock_timeout=30)
    told: list[tuple[int, tuple[Any, ...]]] = []

    def work(thread: int) -> None:
        rng = random.Random(f"{seed} {thread}")
        for number in range(count // 8):
            kind = rng.choices(["get", "put", "replace", "delete"], [6, 3, 3, 1])[0]
            value = f"{seed}/{thread}/{number}".encode() + bytes(rng.choice([0, 200, 2000]))
            what = (kind, value) if kind in ("put", "replace") else (kind,)
            name = rng.randrange(SESSIONS)
            began_at = time.monotonic_ns()
            result = ask(engine, name, what)
            told.append((name, ((seed, thread), what, result, began_at, time.monotonic_ns())))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    generation = engine._open.follower.current.log.header.generation
    engine.close()
    answers.put((generation, told))


def test_what_four_processes_of_eight_threads_do_has_one_order_for_each_session(path):
    answers = forking.Queue()
    histories: dict[int, list[Operation]] = defaultdict(list)
    works = [
        lambda seed=seed: work_and_tell(path, seed, OPERATIONS // 4, answers) for seed in range(4)
    ]
    generations = []
    with running(*works):
        for _ in works:
            generation, told = answers.get(timeout=280)
            generations.append(generation)
            for name, operation in told:
                histories[name].append(Operation(*operation))
    assert len(histories) == SESSIONS
    assert max(generations) > 5
    found = content(make_engine(path=path))
    for name, history in histories.items():
        last = max(operation.ended_at for operation in history) + 1
        stored = found.get(key(name), (None,))[0]
        history.append(Operation("end", ("get",), stored, last, last))
        assert explains(history, None, step), f"session {name}"
    print(f"{sum(map(len, histories.values()))} operations, {max(generations) - 1} compactions")


# Kills.


class Torn(logging.Handler):
    """Notes in a file, in any process, that a cut record was repaired."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def emit(self, record: logging.LogRecord) -> None:
        if "cut short" in record.msg:
            os.write(self._file, b"1")


@pytest.mark.parametrize("sizes", [(0, 300), (9_000, 1_000_000)], ids=["small", "large"])
def test_no_kill_of_a_worker_loses_what_it_acknowledged_or_turns_a_reader_back(
    path, tmp_path, sizes
):
    rng = random.Random(sum(sizes))
    repairs = Torn(tmp_path / "repairs")
    logging.getLogger("litesess.engine").addHandler(repairs)
    reader = make_engine(path=path, read_only=True)
    acknowledged = [0] * COUNTERS
    seen = [0] * COUNTERS
    writers = [Writer(path, sizes, seed) for seed in range(4)]
    reads = 0
    try:
        wait_until(lambda: _heard(writers, acknowledged), "somebody writes")
        for number in range(KILLS):
            until = time.monotonic() + rng.uniform(0.002, 0.02)
            while time.monotonic() < until:
                _heard(writers, acknowledged)
                name = rng.randrange(COUNTERS)
                value = counter_in(reader.get(key(name)))
                assert value >= max(seen[name], acknowledged[name]), f"kill {number}"
                seen[name] = value
                reads += 1
            at = rng.randrange(4)
            if number % 2:
                _wait_for_a_write(reader, until + 0.02)
            status = writers[at].kill(signal.SIGKILL)
            assert os.WIFSIGNALED(status), f"kill {number}: a writer failed by itself"
            acknowledged = list(map(max, acknowledged, writers[at].acknowledged))
            writers[at] = Writer(path, sizes, 4 + number)
    finally:
        for writer in writers:
            writer.kill(signal.SIGKILL)
        logging.getLogger("litesess.engine").removeHandler(repairs)
    acknowledged = [
        max([before, *(writer.acknowledged[at] for writer in writers)])
        for at, before in enumerate(acknowledged)
    ]
    reader.close()
    engine = make_engine(path=path)
    found = [counter_in(engine.get(key(name))) for name in range(COUNTERS)]
    engine.close()
    assert all(map(int.__le__, acknowledged, found)), f"{acknowledged} {found}"
    count = (tmp_path / "repairs").stat().st_size
    print(
        f"{KILLS} kills, {sum(acknowledged)} acknowledged writes, 0 lost;"
        f" {reads} reads, 0 non-monotonic; {count} torn ends repaired"
    )
    # Where a kill hits a write is a matter of chance: of some hundreds one does.
    assert count > 0 or sizes[1] < 1000 or KILLS < 500


def _wait_for_a_write(reader: Any, until: float) -> None:
    """Return as soon as somebody has begun to write a record."""
    current = reader._open.follower.catch_up()
    while not current.log.has_grown(current.table.end) and time.monotonic() < until:
        pass


def _heard(writers: list[Writer], acknowledged: list[int]) -> bool:
    for writer in writers:
        writer.listen()
        acknowledged[:] = map(max, acknowledged, writer.acknowledged)
    return any(acknowledged)


# Sessions.


def test_a_logout_in_one_process_sticks_whatever_the_other_is_doing(path):
    rounds = 1000
    store = WALStore(path)
    key_of = [key(number).hex() for number in range(rounds)]
    used, logged_out = forking.Value("i", 0), forking.Value("i", 0)

    def write_on() -> None:
        with WALStore(path) as mine:
            for round_key in key_of:
                while (record := mine.load(round_key)) is None:
                    time.sleep(0)
                used.value += 1
                for number in range(10_000):
                    if mine.update(round_key, {"n": number}, ()) is None:
                        break
                    mine.touch(round_key, record.expires_at + number)
                assert mine.load(round_key) is None
                logged_out.value += 1

    with running(write_on) as (writer,):
        rng = random.Random(1)
        for number, round_key in enumerate(key_of):
            now = time.time()
            assert store.create(round_key, Record({"user": "ada"}, now, now + 1000))
            wait_until(lambda number=number: used.value > number, f"round {number}")
            time.sleep(rng.uniform(0, 0.002))
            assert store.delete(round_key)
            assert store.load(round_key) is None
            wait_until(lambda number=number: logged_out.value > number, f"round {number}")
            assert store.load(round_key) is None, "resurrected"
        writer.join(30)
        assert writer.exitcode == 0
    assert len(store) == 0
    store.close()


def count_visits(environ, start_response):
    session = environ["litesess.session"]
    name = environ["QUERY_STRING"]
    session[name] = session.get(name, 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(session[name]).encode()]


def browser(path: str) -> TestApp:
    return TestApp(SessionMiddleware(count_visits, secret=SECRET, store=WALStore(path)))


def test_increments_of_different_keys_by_two_processes_are_all_there(path):
    visitor = browser(path)
    visitor.get("/?zero")
    cookie = visitor.cookies["litesess.sid"]

    def visit(name: str) -> None:
        mine = browser(path)
        mine.set_cookie("litesess.sid", cookie)
        for number in range(500):
            assert mine.get(f"/?{name}").body == str(number + 1).encode()

    run(lambda: visit("one"), lambda: visit("two"))
    assert visitor.get("/?one").body == b"501"
    assert visitor.get("/?two").body == b"501"


# Locks and forks.


def test_a_stopped_process_that_holds_the_log_makes_others_give_up_in_time(path):
    engine = make_engine(path=path, lock_timeout=0.2)
    put(engine, "first", b"1")
    entered = forking.Event()

    def hold() -> None:
        def plan(_stored: Any) -> tuple[list[Change], None]:
            entered.set()
            time.sleep(0.5)  # it is stopped in here, under the lock
            return [Put(key("held"), b"h", FAR)], None

        make_engine(path=path).transact(plan, sync=True)

    with running(hold) as (holder,):
        assert entered.wait(10)
        os.kill(holder.pid, signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(StoreLocked, match=r"within 0\.2 s"):
                put(engine, "second", b"2")
        assert engine.get(key("first")).value == b"1"  # who reads takes no lock
        os.kill(holder.pid, signal.SIGCONT)
        holder.join(10)
        assert holder.exitcode == 0
    put(engine, "second", b"2")
    assert set(content(engine)) == {key("first"), key("held"), key("second")}
    engine.close()


def test_a_stopped_process_that_opens_makes_others_give_up_in_time(path):
    entered = forking.Event()

    def open_slowly() -> None:
        engine = make_engine(path=path)
        engine._opener._lock = lambda _fd: (entered.set(), time.sleep(30))
        engine.get(key("first"))

    engine = make_engine(path=path)
    put(engine, "first", b"1")
    abandoned, engine._open = engine._open, None
    abandoned.forget()
    with running(open_slowly):
        assert entered.wait(10)
        late = make_engine(path=path, lock_timeout=0.2)
        with pytest.raises(StoreLocked, match="being opened by another process"):
            late.get(key("first"))
    assert late.get(key("first")).value == b"1"
    late.close()


def test_a_child_goes_on_when_its_parent_was_killed(path):
    waits, goes_on = os.pipe()
    parent = os.fork()
    if parent == 0:
        engine = make_engine(path=path)
        put(engine, "parent", b"1")
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            os.close(goes_on)
            os.read(waits, 1)  # until the test says so, or has ended
            put(engine, "child", b"2")
            engine.compact()
        finally:
            os._exit(0)
    _, status = os.waitpid(parent, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    # Neither lock is kept by the child's copies of its parent's descriptors.
    engine = make_engine(path=path, lock_timeout=0)
    try:
        put(engine, "other", b"3")
    finally:
        os.close(goes_on)
        os.close(waits)
    wait_until(lambda: engine.get(key("child")), "the child has written")
    assert set(content(engine)) == {key("parent"), key("child"), key("other")}
    engine.close()


def test_one_process_at_a_time_collects(path):
    past = time.time() - 10
    with WALStore(path) as store:
        for number in range(200):
            store.create(key(number).hex(), Record({"n": number}, past, past + 1))
        counts = forking.Queue()

        def collect() -> None:
            with WALStore(path) as mine:
                counts.put(mine.collect())

        run(collect, collect, collect, collect)
        found = [counts.get(timeout=10) for _ in range(4)]
        assert sum(found) == 200, found
        with store._engine.maintenance() as is_ours:
            assert is_ours
            run(collect)
            assert counts.get(timeout=10) == 0


# For a while.


def test_descriptors_and_disk_stay_bounded_while_all_write_collect_and_compact(path):
    stop = forking.Event()
    opened = forking.Barrier(7)

    def write(seed: int) -> None:
        rng = random.Random(seed)
        with WALStore(path, wal_limit=1 << 16, gc_interval=None) as store:
            len(store)
            opened.wait()
            while not stop.is_set():
                name = key(rng.randrange(500)).hex()
                now = time.time()
                record = Record({"data": "x" * rng.randrange(2000)}, now, now + rng.random())
                store.create(name, record) or store.update(name, dict(record.data), ())
                if rng.random() < 0.1:
                    store.collect()

    def read(seed: int) -> None:
        rng = random.Random(seed)
        with WALStore(path) as store:
            len(store)
            opened.wait()
            while not stop.is_set():
                store.load(key(rng.randrange(500)).hex())
                time.sleep(0.001)

    works = [*(lambda n=n: write(n) for n in range(4)), *(lambda n=n: read(n) for n in range(2))]
    descriptors, disk = [], []
    with running(*works) as processes:
        opened.wait(30)
        until = time.monotonic() + SOAK_SECONDS
        while time.monotonic() < until:
            time.sleep(0.1)
            assert all(process.is_alive() for process in processes)
            descriptors.append(max(_descriptors(it.pid, path) for it in processes))
            disk.append(_bytes_in(path))
        stop.set()
        for process in processes:
            process.join(30)
        assert [process.exitcode for process in processes] == [0] * 6
    generations = {name.split(".")[1] for name in os.listdir(path) if name.endswith(".wal")}
    print(
        f"{SOAK_SECONDS:g} s: at most {max(descriptors)} descriptors of the store in a process, and"
        f" {max(disk)} bytes on the disk; generation {int(max(generations), 16)}"
    )
    assert 3 < max(descriptors) < 30
    assert max(disk) < 8 << 20
    assert int(max(generations), 16) > 3


def _descriptors(pid: int, path: str) -> int:
    """Return how many descriptors of the store a process has open, deleted files' among them."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith(path)
    return count


def _bytes_in(path: str) -> int:
    total = 0
    for name in os.listdir(path):
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(f"{path}/{name}").st_size
    return total
