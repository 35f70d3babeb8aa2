"""``python -m tests.peers [NAME ...]``: run other projects' test suites over litesess."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.peers.runs import django_command, pytest_command, run
from tests.peers.sources import ROOT, Cache, FetchError, pinned
from tests.peers.tables import Table, complaints, tables

COMMANDS = {"pytest": pytest_command, "django": django_command}


def main(arguments: list[str] | None = None) -> int:
    """Run the suites; return 0 if each did as its table says, 1 if not, 2 if one can't be had."""
    known = tables()
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(known)}")
    parser.add_argument("--smoke", action="store_true", help="only a part of each, as .ci/run does")
    parser.add_argument("--baseline", action="store_true", help="without litesess, to compare")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / "build" / "peers", help="what was fetched is kept here"
    )
    given = parser.parse_args(arguments)
    unknown = sorted({*given.names} - {*known})
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(known)}")
    cache = Cache(given.cache)
    try:
        results = [
            check(known[name], cache, smoke=given.smoke, baseline=given.baseline)
            for name in given.names or known
        ]
    except FetchError as error:
        print(error)
        return 2
    return 0 if all(results) else 1


def check(table: Table, cache: Cache, *, smoke: bool, baseline: bool) -> bool:
    """Run one suite and say how it went; return whether that is as its table says."""
    python, tree, path = cache.python(), cache.sdist(table.sdist), cache.path()
    swap = None if baseline else table.swap
    command = COMMANDS[table.runner](table.part(smoke=smoke).tests, swap, table.options)
    started_at = time.monotonic()
    outcomes, output = run(python, tree, path, command)
    seconds = time.monotonic() - started_at
    found = complaints(table, outcomes, smoke=smoke, baseline=baseline)
    passed, failed, skipped = (
        len(outcomes.named(outcome)) for outcome in ("passed", "failed", "skipped")
    )
    print(
        f"{'FAILED' if found else 'ok':<6} {seconds:4.0f} s  {table.name}"
        f" ({table.sdist} {pinned()[table.sdist]}): {passed} tests pass, {failed} fail,"
        f" {skipped} are skipped; {outcomes.sessions or 0} sessions"
    )
    for complaint in found:
        print(f"    {complaint}")
        text = outcomes.texts.get(complaint.partition(": ")[2])
        if text:
            print("        " + "\n        ".join(text.strip().splitlines()[-12:]))
    if outcomes.sessions is None:
        print(output[-4000:])
    sys.stdout.flush()
    return not found


if __name__ == "__main__":
    sys.exit(main())
