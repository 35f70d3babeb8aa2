"""A pytest plugin that writes each test's outcome to the file ``LITESESS_PEERS_REPORT`` names.

One JSON object on a line: ``{"test": name, "outcome": ...}``, in the end ``{"sessions": count}``.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from swaps import opened

# Read at once: some suites empty the environment.
_REPORT = os.environ["LITESESS_PEERS_REPORT"]


def write(**facts: Any) -> None:
    """Append one line to the report."""
    with open(_REPORT, "a", encoding="utf-8") as report:
        report.write(json.dumps(facts) + "\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a test that passed, or that failed or was skipped in any phase."""
    if hasattr(report, "wasxfail"):
        outcome = "passed" if report.passed else "skipped"  # the peer's own exceptions
    else:
        outcome = report.outcome
    if report.when == "call" or outcome != "passed":
        write(test=report.nodeid, outcome=outcome, text=_reason(report))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that could not be loaded."""
    if report.failed:
        write(test=report.nodeid, outcome="failed", text=_reason(report))


def pytest_sessionfinish(exitstatus: int) -> None:
    """Note that the suite was run to its end, if it was."""
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        write(sessions=opened.count())


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longreprtext if report.failed else ""
