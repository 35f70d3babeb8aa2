"""The costs of very many sessions in use: restart, reload, memory, compaction, bytes written.

A site that mostly reads writes touches.  So 87 of 100 sessions of a snapshot are touched, each by a
record of its own.  Then all costs that grow with such a log are measured, beside the same store at
rest.  A fixed computation is measured in each case, too: if it differs, so did the machine.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from benchmarks.disk import by_hand
from benchmarks.peers import RECORD_BYTES
from benchmarks.rounds import Table
from benchmarks.settings import Settings
from litesess import Record, StoreLocked, WALStore
from litesess.ids import key_of

AT_REST: Final = "at rest"
IN_USE: Final = "in use"
CONTROL: Final = "fixed computation"

#: The number of touched ones among 100 sessions.
_TOUCHED: Final = 87
_VALUE: Final = "x" * 300
_CREATED: Final = 1.7e9
_EXPIRES: Final = 4e9
_RESTARTED: Final = 4
_RELOADED: Final = 8
#: One round takes minutes.
_ROUNDS: Final = 3
_FORKING: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Opened:
    """The opening of one worker.

    Attributes:
        seconds: until it has answered its first request.
        memory: private to it, in MiB.
        refused: how many requests got ``StoreLocked`` before.
    """

    seconds: float
    memory: float
    refused: int


def measure(settings: Settings) -> Iterator[Table]:
    """Yield each table when it is finished."""
    count = settings.sessions
    shown = f"{count:,}".replace(",", " ")
    waiting = Table("very many sessions, waiting", "seconds", more_is_better=False)
    waiting.notes = {
        AT_REST: f"{shown} sessions in a snapshot, and an empty log.",
        IN_USE: f"The same, and {_TOUCHED} of 100 sessions were touched after the snapshot.",
        CONTROL: "SHA-256 of 256 MiB.  If it differs between two cases, so did the machine.",
    }
    memory = Table("very many sessions, memory", "private MiB of a worker", more_is_better=False)
    refused = Table("very many sessions, refused", "requests refused", more_is_better=False)
    written = Table(
        "very many sessions, written", "bytes for each byte of log", more_is_better=False
    )
    at_rest, in_use = settings.directory / "at rest", settings.directory / "in use"
    _alone(_fill, at_rest, count)
    shutil.copytree(at_rest, in_use)
    log_bytes, touching = _alone(_touch, in_use, count)
    stores = {AT_REST: at_rest, IN_USE: in_use}
    probe = by_hand(str(settings.directory), RECORD_BYTES)
    rounds = min(settings.rounds, _ROUNDS)
    opened: dict[str, list[Opened]] = {}
    refusals: dict[str, list[int]] = {}

    last_ones: dict[str, list[float]] = {}

    def first_restarted(name: str) -> float:
        found = _together(_fresh(stores[name]), _RESTARTED, count)
        opened.setdefault(name, []).extend(found)
        last_ones.setdefault(name, []).append(max(each.seconds for each in found))
        return min(each.seconds for each in found)

    def last_restarted(name: str) -> float:
        return last_ones[name].pop(0)  # of the same restart, as one more would tell no more

    def reloaded(name: str) -> float:
        path = _fresh(stores[name])
        with_old, leave = _FORKING.Event(), _FORKING.Event()
        old = _FORKING.Process(target=_serve, args=(path, with_old, leave))
        old.start()
        with_old.wait()
        found = _together(path, _RELOADED, count)
        leave.set()
        old.join()
        refusals.setdefault(name, []).append(sum(each.refused for each in found))
        return max(each.seconds for each in found)

    def compacted(name: str) -> float:
        seconds: float = _alone(_compact, _fresh(stores[name]))[0]
        return seconds

    cases: dict[str, Callable[[str], float]] = {
        f"restart after a kill, first of {_RESTARTED}": first_restarted,
        f"restart after a kill, last of {_RESTARTED}": last_restarted,
        f"reload, last of {_RELOADED}": reloaded,
        "compaction": compacted,
    }
    for case, work in cases.items():
        works: dict[str, Callable[[], float]] = {name: partial(work, name) for name in stores}
        waiting.measure(case, {**works, CONTROL: _compute}, rounds, probe)
    yield waiting
    case = f"{shown} sessions"
    memory.measure(
        case,
        {name: partial(max, [each.memory for each in found]) for name, found in opened.items()},
        1,
        probe,
    )
    yield memory
    case = f"reload of {_RELOADED}"
    refused.measure(case, {name: partial(max, it) for name, it in refusals.items()}, 1, probe)
    yield refused
    # Both the records of the log and the zeros that it reserves count.
    written.measure(
        f"{shown} sessions",
        {IN_USE: lambda: (touching + _alone(_compact, _fresh(in_use))[1]) / log_bytes},
        1,
        probe,
    )
    yield written


def _fill(path: Path, count: int) -> None:
    store = WALStore(path, durable=False, gc_interval=None, wal_limit=1 << 26)
    for number in range(count):
        data = {"user": number, "data": _VALUE}
        store.create(key_of(str(number)), Record(data, _CREATED, _EXPIRES))
    store.compact()  # all in one snapshot
    store.close()


def _touch(path: Path, count: int) -> tuple[int, int]:
    """Touch sessions and stop as a kill would; return the bytes of log, and those written."""
    store = _open(path)
    before = _bytes_written()
    for number in range(count * _TOUCHED // 100):
        store.touch(key_of(str(number)), _EXPIRES + number)
    return store.stats().log_bytes, _bytes_written() - before


def _compact(path: Path) -> tuple[float, int]:
    """Return how many seconds a compaction took, and how many bytes it wrote."""
    store = _open(path)
    store.load(key_of("0"))
    before, began = _bytes_written(), time.perf_counter()
    store.compact()
    return time.perf_counter() - began, _bytes_written() - before


def _serve(path: Path, serves: Any, leave: Any) -> None:
    store = _open(path)
    store.load(key_of("0"))
    serves.set()
    leave.wait()


def _open(path: Path) -> WALStore:
    return WALStore(path, gc_interval=None, wal_limit=1 << 26)


def _together(path: Path, workers: int, count: int) -> list[Opened]:
    """Let so many processes open the store at once; return the cost of each."""
    start, leave = _FORKING.Barrier(workers), _FORKING.Barrier(workers)

    def work() -> Opened:
        store, number = _open(path), str(count // 2)
        start.wait()
        before, began = _private(), time.perf_counter()
        refused = 0
        while True:
            try:
                if store.load(key_of(number)) is None:
                    raise LookupError(number)
                break
            except StoreLocked:
                refused += 1
        found = Opened(time.perf_counter() - began, _private() - before, refused)
        leave.wait()  # the store stays in use meanwhile
        return found

    pipes = [_begin(work) for _ in range(workers)]
    return [pipe() for pipe in pipes]


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of *work* in a process of its own, which then stops as a kill would."""
    return _begin(partial(work, *arguments))()


def _begin(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin *work* in a forked process; return a function that waits for its result.

    That function raises the error of *work*, too.
    """
    ours, theirs = _FORKING.Pipe(duplex=False)
    process = _FORKING.Process(target=_answer, args=(theirs, work))
    process.start()
    theirs.close()

    def result() -> Any:
        found = ours.recv()
        process.join()
        if isinstance(found, Exception):
            raise found
        return found

    return result


def _answer(pipe: Connection, work: Callable[[], Any]) -> None:
    try:
        pipe.send(work())
    except Exception as error:  # noqa: BLE001  # the waiting process raises it
        pipe.send(RuntimeError(repr(error)))  # some errors can't be pickled
    os._exit(0)


def _fresh(path: Path) -> Path:
    """Return a copy of the store, written to the disk."""
    copy = path.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy)
    os.sync()
    return copy


def _compute() -> float:
    began = time.perf_counter()
    piece, digest = bytes(1 << 20), sha256()
    for _ in range(256):
        digest.update(piece)
    return time.perf_counter() - began


def _private() -> float:
    """Return the private memory of this process in MiB; source: proc_pid_smaps(5).

    Without clean pages: those of a file that it alone has mapped so far count as private, too.
    """
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


def _bytes_written() -> int:
    """Return the bytes that this process has written so far; source: proc_pid_io(5)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])
