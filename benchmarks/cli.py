"""Measures the time that a request waits for a command: ``python -m benchmarks.cli``.

One process commits durably, as a worker does, while another runs each command over and over; each
line is that command's, and the first is of the machine alone.  The figure is how much later than
without it a commit ended, at worst: a command should cost none more than 50 ms.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

from litesess import Record, WALStore
from litesess.ids import key_of

LATER = 4e9


def fill(data: Path, count: int) -> None:
    """Make a store of so many sessions, some of them expired."""
    with WALStore(data, durable=False) as store:
        for at in range(count):
            expires_at = LATER if at % 10 else time.time() + 1
            record = Record({"filler": "x" * 300}, 1.0, expires_at, owner=f"user{at % 1000}")
            store.create(key_of(str(at)), record)
        store.compact()


def work(data: Path, seconds: float, ready: Event) -> list[float]:
    """Commit for so long; return how long each commit took, in milliseconds."""
    taken = []
    with WALStore(data) as store:
        key = key_of("worker")
        store.create(key, Record({"n": 0}, 1.0, LATER))
        ready.set()
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            store.update(key, {"n": began}, ())
            taken.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.002)  # as a worker that has other things to do, too
    return taken


def run(arguments: list[str]) -> None:
    """Run a command."""
    command = [sys.executable, "-m", "litesess", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def measure(data: Path, seconds: float, commands: list[list[str]]) -> tuple[list[float], int]:
    """Return how long commits took beside the commands, and how many of these were run."""
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(1) as pool:
        ready = manager.Event()
        result = pool.apply_async(work, (data, seconds, ready))
        ready.wait()
        count = 0
        while not result.ready():
            if commands:
                run(commands[count % len(commands)])
                count += 1
            else:
                result.wait(0.1)
        return sorted(result.get()), count


def commands_on(data: Path, place: Path) -> dict[str, list[list[str]]]:
    """Return the commands that are run for each line."""
    store, lines = str(data), str(place / "lines")
    run(["export", store, lines])
    copies = [["backup", store, str(place / f"copy{at}")] for at in range(100)]
    return {
        "nothing": [],
        "stats": [["stats", store]],
        "list": [["list", store]],
        "verify": [["verify", store]],
        "export": [["export", store]],
        "revoke": [["revoke", store, "--owner", f"user{at}"] for at in range(1, 200)],
        "gc": [["gc", store]],
        "compact": [["compact", store]],
        "backup": copies,
        "import": [
            ["import", store, "--collection", "new", "--create", lines],
            ["import", store, lines],
        ],
        "import, all new": [["import", store, lines]],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as directory:
        place = Path(directory)
        data = place / "data"
        fill(data, options.sessions)
        print(f"{'beside':16} {'runs':>5} {'commits':>8} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
        for name, commands in commands_on(data, place).items():
            if name == "import, all new":
                run(["revoke", str(data), "--all"])
            taken, count = measure(data, options.seconds, commands)
            p50, p99 = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
            print(
                f"{name:16} {count:5} {len(taken):8} {p50:8.2f} {p99:8.2f} {taken[-1]:8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
