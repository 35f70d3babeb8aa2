"""One run of a peer's tests, in a process of its own, and its outcomes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.peers.tables import Outcomes

#: No suite takes a minute; one that waits for something is not to wait for ever.
LIMIT = 900.0


def run(
    python: Path, tree: Path, path: Sequence[Path], command: Sequence[str]
) -> tuple[Outcomes, str]:
    """Run ``python *command*`` in a copy of *tree*; return the outcomes and the output."""
    with tempfile.TemporaryDirectory(prefix="litesess-peer-") as work:
        report = Path(work, "report")
        report.touch()
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LITESESS_PEERS_REPORT": str(report),
            "TMPDIR": work,
        }
        with subprocess.Popen(
            [str(python), *command],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=LIMIT)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                output = b"took more than %d s" % LIMIT
        return outcomes(report.read_text()), output.decode(errors="replace")


def outcomes(report: str) -> Outcomes:
    """Return the outcomes in a report of :mod:`swaps.recorder`."""
    found = Outcomes()
    for line in report.splitlines():
        facts = json.loads(line)
        if "sessions" in facts:
            found.sessions = facts["sessions"]
        elif found.tests.get(facts["test"]) != "failed":
            found.tests[facts["test"]] = facts["outcome"]
            found.texts[facts["test"]] = facts["text"]
    return found


def pytest_command(tests: Sequence[str], swap: str | None, further: Sequence[str]) -> list[str]:
    """Return the arguments of Python that run *tests* by pytest, with the plugin *swap* or none."""
    plugins = ["swaps.recorder", *([swap] if swap else [])]
    options = [option for plugin in plugins for option in ("-p", plugin)]
    return [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        *options,
        *further,
        *tests,
    ]


def django_command(tests: Sequence[str], swap: str | None, further: Sequence[str]) -> list[str]:
    """Return the arguments of Python that run *tests* by Django's own runner."""
    settings = f"--settings={swap or 'swaps.django_baseline'}"
    # Ours make no sense without litesess.
    labels = [label for label in tests if swap or not label.startswith("swaps.")]
    options = ["--parallel=1", "--verbosity=0", *further]
    return ["tests/runtests.py", settings, *options, *labels]
