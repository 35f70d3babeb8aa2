"""Measures litesess against its alternatives: ``python -m benchmarks``.

At the defaults, on a machine with 2 cores, the parts take about this long:

{parts}

All of them together take about {total} minutes.  Each table is kept in ``--results`` as soon as it
is measured.  A part that is measured again replaces its old tables there.  If a part fails, the
rest is measured and the page is written, and the command then exits with 1.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from benchmarks import pictures
from benchmarks.page import page
from benchmarks.results import Results, machine, shown
from benchmarks.rounds import Table, ratio
from benchmarks.settings import Settings

#: The parts, each a module with ``measure(settings)``: minutes at the defaults, and the subject.
PARTS: Final = {
    "servers": (10, "requests a second under gunicorn, as shares of the bare app"),
    "middleware": (4, "the time of one request, without a server"),
    "stores": (20, "reads and writes of stores, their memory, opening and latency"),
    "million": (8, "very many sessions in use: restarts, reloads, compaction"),
    "moving": (3, "copying a store to another kind while it is used"),
}


def measured(part: str, settings: Settings) -> Iterator[Table]:
    """Yield a part's tables, each when it is finished."""
    measure: Callable[[Settings], Iterator[Table]]
    measure = import_module(f"benchmarks.{part}").measure
    for table in measure(settings):
        table.part = part
        yield table


def print_table(table: Table) -> None:
    """Print a table for people."""
    print(f"\n{table.name}, {table.unit}")
    for case in table.cases():
        cells = [cell for cell in table.cells if cell.case == case]
        for cell in cells:
            times = ratio(cells[0], cell, more_is_better=table.more_is_better)
            print(f"  {case:20} {cell.candidate:36} {shown(cell.median):>12} {shown(times):>8}")
    sys.stdout.flush()


def write(results: Results, docs: Path) -> None:
    """Write the page and the pictures of the results."""
    directory = docs / "benchmarks"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        plot = import_module("benchmarks.plots").plot
    except ModuleNotFoundError as error:
        sys.exit(f"the pictures can't be drawn: {error}; pip install 'litesess[bench]'")
    for old in (*directory.glob("*.svg"), *directory.glob("*.png")):
        old.unlink()
    names = [plot(picture, directory) for picture in pictures.every(results.tables)]
    (docs / "benchmarks.rst").write_text(page(results, names), encoding="utf-8")


def parse() -> Any:
    """Return the options of the command line."""
    width = max(map(len, PARTS))
    parts = (f"  {name:{width}}  {took:2} min  {what}" for name, (took, what) in PARTS.items())
    total = sum(took for took, _what in PARTS.values())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").format(parts="\n".join(parts), total=total),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--directory", help="on the disk to measure (a temporary one)")
    parser.add_argument("--rounds", type=int, default=Settings.rounds, help="default: %(default)s")
    parser.add_argument(
        "--seconds",
        type=float,
        default=Settings.seconds,
        help="of one measurement (default: %(default)s; wrk takes whole seconds)",
    )
    parser.add_argument(
        "--sessions",
        type=int,
        default=Settings.sessions,
        help="in the large stores (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=Settings.seed, help="of the random numbers")
    parser.add_argument("--results", type=Path, help="a JSON file that keeps the results")
    parser.add_argument("--docs", type=Path, help="the directory for the page and its pictures")
    parser.add_argument("--render", action="store_true", help="only write the page of --results")
    return parser.parse_args()


def measure_part(part: str, base: Path, options: Any, results: Results) -> None:
    """Measure a part, and keep each of its tables."""
    directory = base / part
    directory.mkdir()
    settings = Settings(
        directory=directory,
        rounds=options.rounds,
        seconds=options.seconds,
        sessions=options.sessions,
        seed=options.seed,
    )
    path: Path | None = options.results
    began = time.monotonic()
    names = []
    for table in measured(part, settings):
        print_table(table)
        names.append(table.name)
        results.put(table)
        if path is not None:
            results.save(path)
    results.drop_old(part, names)
    if path is not None:
        results.save(path)
    print(f"\n{part} took {(time.monotonic() - began) / 60:.1f} minutes", flush=True)


def main() -> None:
    """Measure, print, keep and write."""
    options = parse()
    path: Path | None = options.results
    if options.render:
        if path is None:
            sys.exit("--render needs --results")
        write(Results.load(path), options.docs or Path("docs"))
        return
    base = Path(tempfile.mkdtemp(dir=options.directory))
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    results = Results(command, machine(base))
    if path is not None and path.exists():
        results.tables = Results.load(path).tables
    failed = []
    try:
        for part in options.only:
            try:
                measure_part(part, base, options, results)
            except Exception:  # noqa: BLE001  # the other parts must not fail with it
                traceback.print_exc()
                failed.append(part)
            shutil.rmtree(base / part, ignore_errors=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if options.docs is not None:
        write(results, options.docs)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
