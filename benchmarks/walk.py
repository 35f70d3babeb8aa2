"""Follows one request through the package: which functions it calls, and in which modules.

    python -m benchmarks.walk [--steps]

Of each kind of request it prints how many calls of the package's functions it makes, to how many
different ones, in how many modules, and how often the way changes from one module to another.

Of a changed key it prints the way from the assignment to the write: the calls that the new value is
an argument of, plain or encoded, by how many stays in a module they come, and how many of the steps
between two stays climb, that is, go to a module that lies higher.  How high a module lies follows
from the layers in setup.cfg, and within a layer from the imports: one floor above the highest
module that it imports.  A straight way is easier to read, and takes fewer calls.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import grimp

import litesess
from benchmarks.gate_paths import WARM_UP, a_request
from litesess import SessionMiddleware, WALStore
from litesess.codec import Encoded

PACKAGE: Final = Path(litesess.__file__).parent
REQUESTS: Final = ("untouched", "read", "increment", "login")
#: The module that writes to the disk.
WRITER: Final = "litesess.engine.fs"
#: The new value of the changed key.
MARKER: Final = "7b1c0e2d-marker"


class Step(NamedTuple):
    """A call of one of the package's functions."""

    module: str
    function: str
    #: Whether the new value is in an argument.
    carries: bool = False


def steps_of(work: Callable[[], object], *, marker: str = "") -> list[Step]:
    """Return the calls of the package's functions that *work* makes, in their order."""
    found: list[Step] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            module = ".".join(part for part in parts if part != "__init__")
            carries = bool(marker) and any(holds(each, marker) for each in arguments(frame))
            found.append(Step(module, frame.f_code.co_name, carries))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def arguments(frame: FrameType) -> Iterator[object]:
    """Yield the arguments of a call, without ``self`` and ``cls``."""
    code = frame.f_code
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        if name not in {"self", "cls"} and name in frame.f_locals:
            yield frame.f_locals[name]


def holds(value: object, marker: str) -> bool:
    """Return whether *marker* is a part of *value*, or of an item in it."""
    if isinstance(value, str):
        return marker in value
    if isinstance(value, (bytes, bytearray)):
        return marker.encode() in value
    if isinstance(value, (dict, Encoded)):
        return any(holds(each, marker) for each in [*value.values()])
    if isinstance(value, (list, tuple)):
        return any(holds(each, marker) for each in value)
    return False


def heights() -> dict[str, tuple[int, int]]:
    """Return the height of each module: its layer, then the longest chain of its imports."""
    config = ConfigParser()
    config.read(PACKAGE.parent / "setup.cfg")
    lines = config["importlinter:contract:layers"]["layers"].split("\n")
    layers = [line.split(" | ") for line in lines if line]
    graph = grimp.build_graph("litesess", exclude_type_checking_imports=True)
    depths: dict[str, int] = {}

    def depth(module: str) -> int:
        if module not in depths:
            below = graph.find_modules_directly_imported_by(module)
            depths[module] = 1 + max(map(depth, below), default=-1)
        return depths[module]

    found = {}
    for module in graph.modules:
        top = module.removeprefix("litesess.").partition(".")[0]
        below = next((at for at, names in enumerate(layers) if top in names), 0)
        found[module] = (-below, depth(module))
    return found


def stays_of(steps: list[Step]) -> list[list[Step]]:
    """Return the steps, those that follow each other in one module together."""
    return [list(stay) for _, stay in itertools.groupby(steps, key=lambda step: step.module)]


def way_of_a_changed_key(directory: Path) -> list[Step]:
    """Return the calls that carry a new value of a stored session, up to the write."""
    values = iter([*(f"value {turn}" for turn in range(WARM_UP + 1)), MARKER])

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        environ["litesess.session"]["key"] = next(values)
        start_response("200 OK", [])
        return []

    told: list[str] = []

    def start(
        _status: str, headers: list[tuple[str, str]], _exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        told.extend(value for name, value in headers if name == "Set-Cookie")
        return print

    with WALStore(directory, gc_interval=None) as store:
        site = SessionMiddleware(app, secret="0123456789abcdef" * 2, store=store)
        environ: dict[str, Any] = {"PATH_INFO": "/", "wsgi.url_scheme": "http"}
        site(dict(environ), start)
        environ["HTTP_COOKIE"] = told[0].partition(";")[0]
        for _ in range(WARM_UP):
            site(dict(environ), start)
        steps = steps_of(lambda: site(dict(environ), start), marker=MARKER)
    carrying = [step for step in steps if step.carries]
    written = next(at for at, step in enumerate(carrying) if step.module == WRITER)
    return carrying[: written + 1]


def climbs(stays: list[list[Step]]) -> int:
    """Return how many steps between stays go to a module that lies higher."""
    height = heights()
    ways = [height[stay[0].module] for stay in stays]
    return sum(after > before for before, after in itertools.pairwise(ways))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", action="store_true", help="print each stay of the changed key")
    options = parser.parse_args()
    print(f"{'request':12} {'calls':>6} {'functions':>10} {'modules':>8} {'changes of module':>18}")
    with tempfile.TemporaryDirectory() as directory:
        for name in REQUESTS:
            work = a_request(name, Path(directory) / name)
            for _ in range(WARM_UP):
                work()
            steps = steps_of(work)
            modules = {step.module for step in steps}
            functions = {(step.module, step.function) for step in steps}
            changes = len(stays_of(steps)) - 1
            print(f"{name:12} {len(steps):6} {len(functions):10} {len(modules):8} {changes:18}")
        way = stays_of(way_of_a_changed_key(Path(directory) / "key"))
    print(f"changed key: {len(way)} stays, {climbs(way)} climbs")
    if options.steps:
        height = heights()
        for stay in way:
            layer, depth = height[stay[0].module]
            names = " ".join(step.function for step in stay)
            print(f"{-layer} {depth:3} {stay[0].module:30} {names}")


if __name__ == "__main__":
    main()
