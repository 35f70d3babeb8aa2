"""Counts the calls of a request: Python functions, functions in C, and the operating system.

    python -m benchmarks.calls [--record]

Under a server with many threads the cost of a request depends on the code that it touches rather
than on the time of a hot loop: on the number of function calls, and of different functions.  A call
of the system gives the interpreter to another thread.  Functions are counted by ``sys.setprofile``,
in this package and outside; calls of the system by ``strace -c``, where it is installed.  The
counts of a Python hardly vary, so ``python -m benchmarks.gate`` fails where one has risen.
``--record`` writes those of this Python anew: do so in the commit that changes them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.gate_paths import REQUESTS, WARM_UP, Work, temporary

RECORDED: Final = Path(__file__).with_name("calls.json")
PACKAGE: Final = str(Path(__file__).parent.parent / "litesess")
#: So many requests are looked at; the count that most of them have is taken.
LOOKS: Final = 21
TRACED: Final = 100
#: Patch releases of Python differ by a call or two.
TOLERANCE: Final = 1.02
#: Whether a file's presence is looked at depends on when it was looked at last: so many calls of
#: the system come and go.
TIMED: Final = 2
KINDS: Final = ("Python", "ours", "different", "C", "system")


def functions(work: Work) -> Counter[str]:
    """Return how many functions a call of *work* calls, by kind."""
    counts: Counter[str] = Counter()
    different = set()

    def note(frame: Any, event: str, _argument: object) -> None:
        if event == "c_call":
            counts["C"] += 1
        elif event == "call":
            counts["Python"] += 1
            counts["ours"] += frame.f_code.co_filename.startswith(PACKAGE)
            different.add(frame.f_code)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    counts["C"] -= 1  # of setprofile
    counts["different"] = len(different)
    return counts


def usual(work: Work) -> dict[str, int]:
    """Return the counts that most calls of *work* have, by kind."""
    for _ in range(WARM_UP):
        work()
    seen = [functions(work) for _ in range(LOOKS)]
    return {kind: Counter(one[kind] for one in seen).most_common(1)[0][0] for kind in KINDS[:-1]}


def system_calls(name: str, requests: int) -> int:
    """Return how many calls of the system a process that sends so many requests makes."""
    with temporary() as directory:
        summary = directory / "summary"
        command = ["strace", "-f", "-c", "-o", str(summary), sys.executable, "-m", __spec__.name]
        subprocess.run(  # this file and this interpreter
            [*command, "--inside", str(directory), name, str(requests)], check=True
        )
        total = re.search(r"^100\.00 +[\d.]+ +\d+ +(\d+)\b.* total$", summary.read_text(), re.M)
        assert total is not None, "strace prints another table"
        return int(total[1])


def counted() -> dict[str, dict[str, int]]:
    """Return the counts of each request, by kind."""
    found = {}
    for name, make in REQUESTS.items():
        with temporary() as directory:
            found[name] = usual(make(directory))
        if shutil.which("strace") is not None:
            few, many = (system_calls(name, count) for count in (TRACED, 2 * TRACED))
            found[name]["system"] = round((many - few) / TRACED)
    return found


def compared(found: dict[str, dict[str, int]], recorded: dict[str, dict[str, int]]) -> bool:
    """Print the counts of each request; say whether none has risen."""
    good = True
    print(f"{'calls of a request':32}" + "".join(f"{kind:>12}" for kind in KINDS))
    for name, counts in found.items():
        before = recorded.get(name, {})
        risen = [kind for kind, count in counts.items() if count > limit(before, kind, count)]
        cells = (f"{counts.get(kind, '-'):>12}" for kind in KINDS)
        verdict = f"  more than before: {', '.join(risen)}" if risen else ""
        print(f"{name:32}" + "".join(cells) + verdict)
        good = good and not risen
    return good


def limit(before: dict[str, int], kind: str, count: int) -> float:
    """Return how many calls of a kind a request may make."""
    return before.get(kind, count) * TOLERANCE + (TIMED if kind == "system" else 0)


def is_held(*, record: bool) -> bool:
    """Count, print and compare; say whether no count has risen, or write the counts down."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    kept = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    found = counted()
    good = compared(found, kept.get(python, {}))
    if record:
        kept[python] = found
        RECORDED.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return record or good


def main() -> None:
    """Count, compare or record; or be the process that strace looks at."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="write this Python's counts")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        directory, name, requests = options.inside
        work = REQUESTS[name](Path(directory))
        for _ in range(int(requests)):
            work()
    elif not is_held(record=options.record):
        sys.exit("a request calls more than before")


if __name__ == "__main__":
    main()
