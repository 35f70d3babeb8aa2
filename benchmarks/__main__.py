"""Measures litesess against its alternatives: ``python -m benchmarks``.

All parts together take about three quarters of an hour.  Each table is kept in ``--results`` as
soon as it is measured; a part that is measured again replaces its old tables there.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from benchmarks.results import Results, machine, page, shown
from benchmarks.rounds import Table, ratio
from benchmarks.settings import Settings

#: The parts, each a module with ``measure(settings)``.
PARTS: Final = ("stores", "million", "middleware", "servers", "moving")


def measured(part: str, settings: Settings) -> Iterator[Table]:
    """Yield a part's tables, each when it is finished."""
    measure: Callable[[Settings], Iterator[Table]]
    measure = import_module(f"benchmarks.{part}").measure
    yield from measure(settings)


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
    """Write the page and the plots of the results."""
    plots: list[str] = []
    directory = docs / "benchmarks"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        plot = import_module("benchmarks.plots").plot
    except ModuleNotFoundError as error:
        print(f"no plots: {error}; pip install 'litesess[bench]'", file=sys.stderr)
    else:
        for old in (*directory.glob("*.svg"), *directory.glob("*.png")):
            old.unlink()
        plots = [name for table in results.tables for name in plot(table, directory)]
    (docs / "benchmarks.rst").write_text(page(results, plots))


def parse() -> Any:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--directory", help="on the disk to measure (a temporary one)")
    parser.add_argument("--rounds", type=int, default=Settings.rounds)
    parser.add_argument(
        "--seconds", type=float, default=Settings.seconds, help="of one measurement"
    )
    parser.add_argument(
        "--sessions", type=int, default=Settings.sessions, help="in the large stores"
    )
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--results", type=Path, help="a JSON file to keep what was measured in")
    parser.add_argument("--docs", type=Path, help="where the page and plots are written, if at all")
    parser.add_argument("--render", action="store_true", help="only write the page of --results")
    return parser.parse_args()


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
    try:
        for part in options.only:
            directory = base / part
            directory.mkdir()
            settings = Settings(
                directory=directory,
                rounds=options.rounds,
                seconds=options.seconds,
                sessions=options.sessions,
                seed=options.seed,
            )
            for table in measured(part, settings):
                print_table(table)
                results.put(table)
                if path is not None:
                    results.save(path)
            shutil.rmtree(directory)
    finally:
        shutil.rmtree(base)
    if options.docs is not None:
        write(results, options.docs)


if __name__ == "__main__":
    main()
