"""The verdict on a peer's suite: nothing that differs goes by unseen."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from tests.peers.sources import ROOT, pinned
from tests.peers.tables import Outcomes, Table, complaints, read, tables

TABLE = """\
[suite]
sdist = flask
swap = swaps.flask
tests = tests
count = 3
sessions = 2

[smoke]
tests = tests/test_one.py
count = 1
sessions = 1

[differs]
test_one.py::test_a[x: y] =
    a reason
    of two lines

[fails anyway]
test_one.py::test_b = it does
"""
DIFFERS, ANYWAY = "test_one.py::test_a[x: y]", "test_one.py::test_b"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "peer.ini"
    path.write_text(TABLE)
    return read(path)


def outcomes(**changes: str) -> Outcomes:
    """Return the outcomes that the table expects, except for *changes*."""
    expected = {DIFFERS: "failed", ANYWAY: "failed", "test_c": "passed"}
    return Outcomes({**expected, **changes}, sessions=2)


def test_a_run_that_is_as_the_table_says_has_no_complaint(table: Table) -> None:
    assert table.differs == {DIFFERS: "a reason of two lines"}
    assert complaints(table, outcomes()) == []
    assert complaints(table, outcomes(test_d="passed", test_e="skipped")) == []


def test_a_test_that_fails_is_to_be_listed(table: Table) -> None:
    assert complaints(table, outcomes(test_c="failed")) == ["fails and is not listed: test_c"]


@pytest.mark.parametrize("name", [DIFFERS, ANYWAY])
def test_a_listed_test_is_to_fail(table: Table, name: str) -> None:
    passes = complaints(table, outcomes(**{name: "passed"}))
    assert passes == [f"passes and is listed as one that fails: {name}"]
    skipped = complaints(table, outcomes(**{name: "skipped", "test_d": "passed"}))
    assert skipped == [f"is listed and was skipped: {name}"]
    found = outcomes(test_d="passed")
    del found.tests[name]
    assert complaints(table, found) == [f"is listed and was not run: {name}"]


def test_fewer_tests_than_the_table_says_are_too_few(table: Table) -> None:
    found = complaints(table, outcomes(test_c="skipped"))
    assert found == ["2 tests were run, at least 3 are to be"]


def test_a_suite_that_does_without_litesess_shows_nothing(table: Table) -> None:
    found = outcomes()
    found.sessions = 1
    assert complaints(table, found) == [
        "litesess has opened 1 sessions, at least 2 are to be",
    ]


def test_a_run_that_did_not_come_to_its_end_shows_nothing(table: Table) -> None:
    assert complaints(table, Outcomes(outcomes().tests)) == ["the run did not come to its end"]


def test_without_litesess_only_what_fails_anyway_is_to_fail(table: Table) -> None:
    found = outcomes(**{DIFFERS: "passed"})
    found.sessions = 0
    assert complaints(table, found, baseline=True) == []
    assert complaints(table, outcomes(), baseline=True) == [f"fails and is not listed: {DIFFERS}"]


def test_a_part_has_counts_of_its_own(table: Table) -> None:
    found = Outcomes({DIFFERS: "failed"}, sessions=1)
    assert complaints(table, found, smoke=True) == []
    assert complaints(table, Outcomes({}, sessions=0), smoke=True) == [
        "0 tests were run, at least 1 are to be",
        "litesess has opened 0 sessions, at least 1 are to be",
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("test_x =", "peer.ini: [fails anyway] test_x has no reason"),
        (f"{DIFFERS} = again", f"peer.ini: {DIFFERS} is listed twice"),
        (f"{ANYWAY} = again", "already exists"),
        ("test_x", "parsing errors"),
    ],
)
def test_a_table_gives_each_exception_one_reason(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "peer.ini"
    path.write_text(TABLE + line)
    with pytest.raises((ValueError, configparser.Error), match=re.escape(complaint)):
        read(path)


def test_the_document_says_how_many_tests_of_each_suite_differ() -> None:
    page = (ROOT / "docs" / "testing.rst").read_text()
    rows = re.findall(r"^``(\w+)`` .* (\d+)$", page, re.MULTILINE)
    assert {name: int(count) for name, count in rows} == {
        name: len(table.differs) for name, table in tables().items()
    }


@pytest.mark.parametrize("name", tables())
def test_the_table_of_each_peer_is_of_a_version_and_runs_something(name: str) -> None:
    table = tables()[name]
    assert table.sdist in pinned()
    for part in table.whole, table.smoke:
        assert part.tests
        assert part.count > len(table.differs)
        assert part.sessions > 0
