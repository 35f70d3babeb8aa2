"""Counts instructions of the hot paths, and fails where one has become much more work.

    python -m benchmarks.gate [--record] [--only PATH ...]

Times on a shared machine vary by half; the number of instructions that valgrind counts for a path
hardly does, whatever else the machine is doing.  Each is divided by that of a reference kernel
(JSON, HMAC and dicts, which is what requests are made of) in the same run, so that one baseline
holds for other builds of the same Python.  ``--record`` writes the baseline of this Python anew:
do so in the commit that changes the figures, and say there why.

What the kernel of the operating system does is not counted: how often it is asked to sync is what
tests hold.
"""

from __future__ import annotations

import argparse
import gc
import hmac
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.app_peers import ours
from benchmarks.middleware import Client, session_cookie
from litesess import Record, WALStore
from litesess.ids import key_of

BASELINE: Final = Path(__file__).with_name("instructions.json")
#: A path may take so many times its baseline.  Two runs differ by 0.2 %, two builds of Python 3.11
#: by 3 %.
TOLERANCE: Final = 1.1
KERNEL: Final = "reference kernel"
WARM_UP: Final = 20
CALLS: Final = 200
LATER: Final = 4e9
DATA: Final = {"user": "ada", "count": 0, "cart": ["x" * 60] * 5}

Work = Callable[[], object]


def kernel(_directory: Path) -> Work:
    """Return what all others are compared with."""

    def work() -> None:
        for _ in range(10):
            text = json.dumps(DATA, separators=(",", ":"))
            found = {**json.loads(text), "count": 1}
            hmac.digest(b"k" * 32, text.encode(), "sha256").hex()
            dict(sorted(found.items(), key=lambda item: item[0]))

    return work


def a_request(path: str, directory: Path, *, durable: bool = False) -> Work:
    """Return a request to an app of ours."""
    make = ours(lambda place: WALStore(place, durable=durable, gc_interval=None))
    app = make(directory).serve
    return Client(app, path, "" if path == "login" else session_cookie(app)).request


def filled(directory: Path, count: int) -> tuple[WALStore, list[str]]:
    """Return a store of so many sessions, and their keys."""
    store = WALStore(directory, durable=False, gc_interval=None)
    keys = [key_of(str(number)) for number in range(count)]
    for key in keys:
        store.create(key, Record(DATA, 1.0, LATER))
    return store, keys


def loading(directory: Path) -> Work:
    """Return the load of a session out of a snapshot."""
    store, keys = filled(directory, 300)
    store.compact()
    turns = itertools.cycle(keys)
    return lambda: store.load(next(turns))


def updating(directory: Path) -> Work:
    """Return the change of one key of a session."""
    store, keys = filled(directory, 50)
    turns, numbers = itertools.cycle(keys), itertools.count(1)
    return lambda: store.update(next(turns), {"count": next(numbers)}, ())


def touching(directory: Path) -> Work:
    """Return a change of expiry."""
    store, keys = filled(directory, 50)
    turns, numbers = itertools.cycle(keys), itertools.count(1)
    return lambda: store.touch(next(turns), LATER + next(numbers))


def replaying(directory: Path) -> Work:
    """Return the opening of a store with a log of 100 records, up to the first answer."""
    store, keys = filled(directory, 100)
    store.close()

    def work() -> None:
        with WALStore(directory, durable=False, gc_interval=None) as again:
            again.load(keys[0])

    return work


def compacting(directory: Path) -> Work:
    """Return the compaction of 100 sessions."""
    store, _ = filled(directory, 100)
    return store.compact


#: The hot paths: what makes each, and how often it is called; the long ones seldom.
PATHS: Final[dict[str, tuple[Callable[[Path], Work], int]]] = {
    KERNEL: (kernel, CALLS),
    "untouched request": (partial(a_request, "untouched"), CALLS),
    "read request": (partial(a_request, "read"), CALLS),
    "increment request": (partial(a_request, "increment"), CALLS),
    "durable increment request": (partial(a_request, "increment", durable=True), CALLS),
    "login request": (partial(a_request, "login"), CALLS),
    "load": (loading, CALLS),
    "update": (updating, CALLS),
    "touch": (touching, CALLS),
    "open, log of 100 records": (replaying, 10),
    "compaction of 100 sessions": (compacting, 10),
}


def run_in_child(make: Callable[[Path], Work], directory: Path, count: int) -> int:
    """Fork a process that calls the path so often; return its id when it has ended well."""
    process = os.fork()
    if process:
        _, status = os.waitpid(process, 0)
        assert status == 0, f"the process of a path ended with {status}"
        return process
    status = 1
    try:
        work = make(directory)
        for _ in range(count):
            work()
        status = 0
    finally:
        # Without the interpreter's own end, which is as long as its start.
        sys.stderr.flush()
        os._exit(status)


def run_paths(names: list[str], directory: Path) -> None:
    """Run each path in two processes, one calling it oftener; print their ids.

    The difference between the two is that of the calls, whatever was counted before.
    """
    # Collections come where they come; without them two runs count the same.
    gc.disable()
    for name in names:
        make, calls = PATHS[name]
        pair = [
            run_in_child(make, directory / f"{name} {count}", count)
            for count in (min(calls, WARM_UP), min(calls, WARM_UP) + calls)
        ]
        print(json.dumps([name, *pair, calls]), flush=True)


@contextmanager
def temporary() -> Iterator[Path]:
    """Yield a directory that is gone afterwards."""
    directory = Path(tempfile.mkdtemp())
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def counted(names: list[str]) -> dict[str, float]:
    """Return how many instructions a call of each path takes."""
    with temporary() as directory:
        counts = directory / "counts"
        counts.mkdir()
        command = [
            "valgrind", "--quiet", "--tool=cachegrind", "--cache-sim=no", "--branch-sim=no",
            f"--cachegrind-out-file={counts}/%p",
            sys.executable, "-m", "benchmarks.gate", "--inside", str(directory), "--only", *names,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run(  # this file and this interpreter
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        found = {}
        for line in run.stdout.splitlines():
            name, fewer, more, calls = json.loads(line)
            found[name] = (
                instructions(counts / str(more)) - instructions(counts / str(fewer))
            ) / calls
    return found


def instructions(path: Path) -> int:
    """Return what a process has executed; source: valgrind's manual, "Cachegrind file format"."""
    *_, summary = path.read_text().splitlines()
    name, _, count = summary.partition(": ")
    assert name == "summary", path
    return int(count)


def compared(found: dict[str, float], baseline: dict[str, float]) -> bool:
    """Print each path's figures; say whether none has become much more work."""
    good = True
    print(f"{'path':32} {'instructions':>12} {'of kernel':>10} {'baseline':>10} {'change':>8}")
    for name, count in found.items():
        ratio = count / found[KERNEL]
        before = baseline.get(name)
        change, verdict = "", ""
        if before is not None and name != KERNEL:
            change = f"{(ratio / before - 1) * 100:+.1f} %"
            if ratio > before * TOLERANCE:
                good, verdict = False, "much more work than before"
            elif ratio < before / TOLERANCE:
                verdict = "less work: --record it"
        shown = "" if before is None else f"{before:.4f}"
        print(f"{name:32} {count:12,.0f} {ratio:10.4f} {shown:>10} {change:>8}  {verdict}".rstrip())
    return good


def main() -> None:
    """Count, compare or record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--record", action="store_true", help="write this Python's baseline")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_paths(options.only, options.inside)
        return
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed, which counts the instructions")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    baselines = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    found = counted(list(dict.fromkeys([KERNEL, *options.only])))
    good = compared(found, baselines.get(python, {}))
    if options.record:
        kept = {name: round(count / found[KERNEL], 4) for name, count in found.items()}
        baselines[python] = {**baselines.get(python, {}), **kept}
        BASELINE.write_text(json.dumps(baselines, indent=1, sort_keys=True) + "\n")
    elif python not in baselines:
        print(f"no baseline for Python {python}; --record writes one")
    elif not good:
        sys.exit("a hot path takes much more work than its baseline says")


if __name__ == "__main__":
    main()
