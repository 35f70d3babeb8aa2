"""A suite is run in a process of its own, and each of its outcomes comes back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.peers import runs
from tests.peers.sources import INSIDE
from tests.peers.tables import Outcomes

pytestmark = pytest.mark.slow

SUITE = """
import os, pytest
from swaps import opened

@pytest.fixture
def broken_at_the_end():
    yield
    assert False, "too late"

def test_passes():
    opened.counted(int)()
    opened.counted(int)()

def test_fails():
    os.environ.clear()
    assert 1 == 2

def test_is_broken_at_the_end(broken_at_the_end): ...
def test_is_skipped(): pytest.skip("not here")

@pytest.mark.xfail(strict=True)
def test_is_expected_to_fail(): assert False

@pytest.mark.xfail(strict=True)
def test_unexpectedly_passes(): ...

@pytest.mark.parametrize("value", ["a b", "c=d"])
def test_of(value): ...
"""


def run(tree: Path, *tests: str) -> tuple[Outcomes, str]:
    command = runs.pytest_command(tests, None, ())
    return runs.run(Path(sys.executable), tree, [INSIDE], command)


def test_each_test_has_an_outcome_and_a_failed_one_says_why(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    outcomes, _ = run(tmp_path, "test_it.py")
    assert outcomes.tests == {
        "test_it.py::test_passes": "passed",
        "test_it.py::test_fails": "failed",
        "test_it.py::test_is_broken_at_the_end": "failed",
        "test_it.py::test_is_skipped": "skipped",
        "test_it.py::test_is_expected_to_fail": "skipped",
        "test_it.py::test_unexpectedly_passes": "failed",
        "test_it.py::test_of[a b]": "passed",
        "test_it.py::test_of[c=d]": "passed",
    }
    assert outcomes.sessions == 2
    assert "assert 1 == 2" in outcomes.texts["test_it.py::test_fails"]
    assert "too late" in outcomes.texts["test_it.py::test_is_broken_at_the_end"]


@pytest.mark.parametrize(
    "suite",
    [
        "import nowhere",
        "import os\ndef test_one(): ...\ndef test_two(): os._exit(0)",
        "import pytest\ndef test_one(): ...\ndef test_two(): raise KeyboardInterrupt",
        "",
    ],
    ids=["can't be loaded", "exits", "is interrupted", "is empty"],
)
def test_a_suite_that_does_not_come_to_its_end_has_no_count(tmp_path: Path, suite: str) -> None:
    (tmp_path / "test_it.py").write_text(suite)
    outcomes, output = run(tmp_path, "test_it.py")
    assert outcomes.sessions is None
    assert "test_two" not in "".join(outcomes.tests)
    assert suite == "import nowhere" or output or outcomes.tests


def test_tests_that_are_not_there_are_no_success(tmp_path: Path) -> None:
    outcomes, output = run(tmp_path, "test_nowhere.py")
    assert outcomes.sessions is None
    assert "test_nowhere.py" in output


def test_a_suite_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_it.py").write_text(
        "import threading\ndef test_hangs(): threading.Event().wait()"
    )
    monkeypatch.setattr(runs, "LIMIT", 1.5)
    outcomes, output = run(tmp_path)
    assert outcomes.sessions is None
    assert output == "took more than 1 s"
