"""Counts instructions of the hot paths, and fails where one has become much more work.

    python -m benchmarks.gate [--record] [--only PATH ...]

Times on a shared machine vary by half; the number of instructions that valgrind counts for a path
hardly varies under any load of the machine.  Each is divided by that of a reference kernel
(JSON, HMAC and dicts, as requests use them) in the same run, so that one baseline
holds for other builds of the same Python.  ``--record`` writes the baseline of this Python anew:
do so in the commit that changes the figures, and say there why.

Work of the operating system's kernel is not counted: tests hold the number of syncs.
``benchmarks.calls`` counts the calls of a request.
"""

from __future__ import annotations

import argparse
import compileall
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import litesess
from benchmarks import calls
from benchmarks.gate_paths import KERNEL, PATHS, WARM_UP, Work, temporary

BASELINE: Final = Path(__file__).with_name("instructions.json")
#: A path may take so many times its baseline.  Two runs differ by 0.2 %, two builds of Python 3.11
#: by 3 %.
TOLERANCE: Final = 1.1


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

    The difference between the two is the cost of the calls alone, without the start.
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


def counted(names: list[str]) -> dict[str, float]:
    """Return how many instructions a call of each path takes."""
    # A module that a path imports late may be compiled by another program between the two
    # processes of the path; the first alone would pay for it.
    compileall.compile_dir(Path(litesess.__file__).parent, quiet=2)
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
    """Return the instructions of a process; source: valgrind's manual, "Cachegrind file format"."""
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
    good = calls.is_held(record=options.record) and good
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
