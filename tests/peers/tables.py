"""A peer's table: the tests to run, their number, and those that differ, with the reason.

::

    [suite]
    sdist = flask                  whose tests; requirements.txt says which version
    swap = swaps.flask             the plugin that puts litesess in
    tests = tests/test_basic.py    the tests to run, relative to the sdist
    runner = pytest                or django
    options = -W ...               further options of pytest
    count = 480                    tests that have run at least, skipped ones not counted
    sessions = 300                 sessions that litesess has opened at least

    [smoke]                        the part that .ci/run runs; without, all of it
    tests = ...
    count = ...
    sessions = ...

    [differs]                      tests that fail with litesess alone
    tests/test_basic.py::test_x = the reason

    [fails anyway]                 tests that fail without it, too
    tests/test_basic.py::test_y = the reason
"""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser, SectionProxy
from dataclasses import dataclass, field
from pathlib import Path

SUITES = Path(__file__).with_name("suites")


@dataclass(frozen=True)
class Part:
    """The tests of a suite to run, and the least numbers of tests and sessions."""

    tests: list[str]
    count: int
    sessions: int


@dataclass(frozen=True)
class Table:
    """One peer's suite, and the outcomes that are known."""

    name: str
    sdist: str
    swap: str
    runner: str
    options: list[str]
    whole: Part
    smoke: Part
    differs: Mapping[str, str]
    fails_anyway: Mapping[str, str]

    def part(self, *, smoke: bool) -> Part:
        """Return all of the suite, or the part that is run each time."""
        return self.smoke if smoke else self.whole


@dataclass
class Outcomes:
    """The outcomes of a run."""

    #: Each test's outcome: passed, failed or skipped.
    tests: dict[str, str] = field(default_factory=dict)
    #: The output of each failed test.
    texts: dict[str, str] = field(default_factory=dict)
    #: How many sessions litesess has opened; None: the run did not come to its end.
    sessions: int | None = None

    def named(self, outcome: str) -> set[str]:
        """Return the tests of that outcome."""
        return {test for test, each in self.tests.items() if each == outcome}


def read(path: Path) -> Table:
    """Return the table in a file.

    Raises:
        ValueError: the file is no table, or lists a test without a reason, or twice.
    """
    parser = ConfigParser(delimiters=("=",), comment_prefixes=("#",), interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names of tests
    parser.read_string(path.read_text(encoding="utf-8"), str(path))
    suite = parser["suite"]
    exceptions = {
        kind: {name: " ".join(reason.split()) for name, reason in parser[kind].items()}
        if kind in parser
        else {}
        for kind in ("differs", "fails anyway")
    }
    for kind, listed in exceptions.items():
        for name, reason in listed.items():
            if not reason:
                raise ValueError(f"{path.name}: [{kind}] {name} has no reason")
    both = exceptions["differs"].keys() & exceptions["fails anyway"]
    if both:
        raise ValueError(f"{path.name}: {min(both)} is listed twice")
    return Table(
        name=path.stem,
        sdist=suite["sdist"],
        swap=suite["swap"],
        runner=suite.get("runner", "pytest"),
        options=suite.get("options", "").split(),
        whole=_part(suite),
        smoke=_part(parser["smoke" if "smoke" in parser else "suite"]),
        differs=exceptions["differs"],
        fails_anyway=exceptions["fails anyway"],
    )


def _part(section: SectionProxy) -> Part:
    return Part(section["tests"].split(), int(section["count"]), int(section["sessions"]))


def tables() -> dict[str, Table]:
    """Return each peer's table by its name."""
    return {path.stem: read(path) for path in sorted(SUITES.glob("*.ini"))}


def complaints(
    table: Table, outcomes: Outcomes, *, smoke: bool = False, baseline: bool = False
) -> list[str]:
    """Return the differences between a run and its table, a line each.

    Args:
        table: the outcomes that are expected.
        outcomes: those of the run.
        smoke: only a part was run.
        baseline: it was run without litesess.
    """
    if outcomes.sessions is None:
        return ["the run did not come to its end"]
    listed = {**table.fails_anyway, **({} if baseline else table.differs)}
    failed, passed = outcomes.named("failed"), outcomes.named("passed")
    part = table.part(smoke=smoke)
    found = [f"fails and is not listed: {test}" for test in sorted(failed - listed.keys())]
    found += [
        f"passes and is listed as one that fails: {test}" for test in sorted(passed & listed.keys())
    ]
    if part == table.whole:
        known = outcomes.tests.keys()
        found += [f"is listed and was not run: {test}" for test in sorted(listed.keys() - known)]
        skipped = outcomes.named("skipped") & listed.keys()
        found += [f"is listed and was skipped: {test}" for test in sorted(skipped)]
    ran = len(failed | passed)
    # Without litesess those that we add to Django's are not run.
    wanted = 1 if baseline else part.count
    if ran < wanted:
        found.append(f"{ran} tests were run, at least {wanted} are to be")
    if not baseline and outcomes.sessions < part.sessions:
        found.append(
            f"litesess has opened {outcomes.sessions} sessions, at least {part.sessions} are to be"
        )
    return found
