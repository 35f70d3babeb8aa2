"""The quick tests of a part of the package where Python lacks what another system lacks.

All of that part is run with ``LITESESS_SYSTEMS=all``; else some of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.tools.servers import ROOT

pytestmark = pytest.mark.long

SOME = {
    "windows": (
        "web",
        ["test_session.py", "test_middleware.py", "test_lists.py", "test_atomic.py"],
    ),
    "macos": ("engine", ["test_db.py", "test_compaction.py", "test_follow.py", "test_backup.py"]),
}


@pytest.mark.parametrize(("system", "least"), [("windows", 200), ("macos", 140)])
def test_the_tests_pass_without_what_another_system_lacks(system: str, least: int) -> None:
    folder, files = SOME[system]
    chosen = [f"tests/{folder}/{file}" for file in files]
    if os.environ.get("LITESESS_SYSTEMS") == "all":
        chosen = [f"tests/{folder}"]
    # Not by xdist's environment: this is a run of its own.
    inherited = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-p", "tests.tools.elsewhere", "-m", "not slow", *chosen],
        cwd=ROOT,
        env={**inherited, "LITESESS_TESTS_AS": system},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= least
